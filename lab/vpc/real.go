package vpc

import "net/netip"

// realOctet is that of the network of real nodes. It is beyond those that
// [Loopback] translates.
const realOctet = 128

// Real is the network of real nodes, whose pods are where their addresses say. It
// exists only inside a program's own network namespace, so nobody has to share
// it and it need not be released.
func Real() *Network { return &Network{octet: realOctet} }

// Gateway is the cluster address of the machine that the nodes are on.
func (n *Network) Gateway() netip.Addr { return netip.AddrFrom4([4]byte{10, n.octet, 0, 254}) }
