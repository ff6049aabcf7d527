// Package vpc is the address plan of the lab: which addresses pods and nodes
// have in the cluster, and where on this machine somebody listens for them.
//
// In the cluster an address is 10.a.b.c, because neither EndpointSlices nor AWS
// take loopback addresses. The server behind it listens on 127.a.b.c: on Linux
// all of 127.0.0.0/8 can be used without root and without configuration. Who
// wants to reach a pod dials through [Loopback] or [DialContext].
package vpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// guardPort is where the owner of a network listens, so that two labs on one
// machine never share one. Pods cannot collide with it: the address is never
// given to a pod.
const guardPort = 24680

// lastOctet of the networks: up to 10.95.0.0/16, below the range of Services.
const lastOctet = 95

// Network is a range 10.a.0.0/16 of one lab. Node k (from 1) has the address
// 10.a.0.k and its pods have addresses of 10.a.k.0/24.
type Network struct {
	octet byte
	guard net.Listener
}

// Reserve takes the first network that no other lab on this machine uses. It is
// free again after Release or when the process ends.
func Reserve() (*Network, error) {
	var failures error
	for octet := byte(1); octet <= lastOctet; octet++ {
		guard, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.254:%d", octet, guardPort))
		if err == nil {
			return &Network{octet: octet, guard: guard}, nil
		}
		failures = err
	}
	return nil, errors.Join(errors.New("vpc: no free network"), failures)
}

// Release gives the network back.
func (n *Network) Release() { n.guard.Close() }

// Prefix is the whole network in cluster addresses.
func (n *Network) Prefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, n.octet, 0, 0}), 16)
}

// Node is the cluster address of node k, 1 to 250.
func (n *Network) Node(k byte) netip.Addr { return netip.AddrFrom4([4]byte{10, n.octet, 0, k}) }

// Pods is the range of the pods on node k, 1 to 250.
func (n *Network) Pods(k byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, n.octet, k, 0}), 24)
}

// IPv6 is the second address of a pod or node in a dual-stack lab: fd00::10.a.b.c.
func IPv6(v4 netip.Addr) netip.Addr {
	four := v4.As4()
	sixteen := [16]byte{0: 0xfd}
	copy(sixteen[12:], four[:])
	return netip.AddrFrom16(sixteen)
}

// Loopback translates an address of the cluster to the one that somebody listens
// on. IPv6 addresses lead to the same place as their IPv4 twin. Addresses that
// are not of the lab come back unchanged.
func Loopback(a netip.Addr) netip.Addr {
	if a.Is6() {
		sixteen := a.As16()
		v4 := netip.AddrFrom4([4]byte(sixteen[12:]))
		if v4.As4()[0] != 10 || IPv6(v4) != a {
			return a
		}
		a = v4
	}
	four := a.As4()
	if four[0] != 10 || four[1] == 0 || four[1] > lastOctet {
		return a
	}
	four[0] = 127
	return netip.AddrFrom4(four)
}

// LoopbackHostPort is [Loopback] for an address with a port, as dialers take it.
// Names and addresses that are not of the lab come back unchanged.
func LoopbackHostPort(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return address
	}
	return net.JoinHostPort(Loopback(ip).String(), port)
}

// DialContext connects to an address of the cluster. It fits an http.Transport.
func DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, LoopbackHostPort(address))
}
