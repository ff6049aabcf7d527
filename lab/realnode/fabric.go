package realnode

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

const bridgeName = "nodes"

// APIServer is where the control plane of real nodes must listen: on the address
// of the Service kubernetes, at which programs in pods look for it. There is no
// kube-proxy that could lead them anywhere else.
func APIServer() netip.AddrPort { return netip.MustParseAddrPort("10.96.0.1:443") }

// programs is the range of addresses of [Program].
func programs() netip.Prefix { return netip.MustParsePrefix("10.127.0.0/16") }

// Program is an address, one of 65536, at which a program beside the nodes can listen
// and pods reach it.
func Program(n uint16) netip.Addr {
	first := programs().Addr().As4()
	return netip.AddrFrom4([4]byte{first[0], first[1], byte(n >> 8), byte(n)})
}

// buildFabric sets up the calling thread's network namespace: the loopback, the
// addresses of the API server and of programs and the bridge that nodes are connected
// to.
func buildFabric() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback: %w", err)
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make a bridge: %w", err)
	}
	return errors.Join(
		netlink.LinkSetUp(loopback),
		addAddress(loopback, netip.PrefixFrom(APIServer().Addr(), 32)),
		addAddress(bridge, netip.PrefixFrom(vpc.Real().Gateway(), 24)),
		netlink.LinkSetUp(bridge),
		netlink.RouteAdd(&netlink.Route{
			LinkIndex: loopback.Attrs().Index, Dst: ipNet(programs()),
			Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
		}),
		// Through thread-self: /proc/sys/net shows the network of the reader.
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644),
	)
}

// wiring is how one node is connected.
type wiring struct {
	index   byte
	address netip.Addr
	pods    netip.Prefix
}

// link is the fabric's end of the node's cable.
func (w wiring) link() string { return fmt.Sprintf("node%d", w.index) }

// mac is the address of the node's network card.
func (w wiring) mac() net.HardwareAddr {
	return append(net.HardwareAddr{0x02, 0x00}, w.address.AsSlice()...)
}

// plug connects the network namespace of a process, and sets it up as that of a
// machine.
func (w wiring) plug(pid int) error {
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("find the bridge: %w", err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MasterIndex = w.link(), bridge.Attrs().Index
	cable := &netlink.Veth{
		LinkAttrs: attributes, PeerName: "eth0", PeerHardwareAddr: w.mac(), PeerNamespace: netlink.NsPid(pid),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("make a cable: %w", err)
	}
	if err := netlink.LinkSetUp(cable); err != nil {
		return fmt.Errorf("connect the cable: %w", err)
	}
	if err := w.route(bridge); err != nil {
		return fmt.Errorf("route to the node: %w", err)
	}
	if err := w.setUpInside(pid); err != nil {
		return fmt.Errorf("set up the node's network: %w", err)
	}
	return nil
}

// route leads to the node and its pods. The card's address is known for good, so
// that a node without power does not answer, rather than be found missing.
func (w wiring) route(bridge netlink.Link) error {
	return errors.Join(
		netlink.NeighSet(&netlink.Neigh{
			LinkIndex: bridge.Attrs().Index, IP: w.address.AsSlice(), HardwareAddr: w.mac(), State: netlink.NUD_PERMANENT,
		}),
		netlink.RouteReplace(&netlink.Route{
			LinkIndex: bridge.Attrs().Index, Dst: ipNet(w.pods), Gw: w.address.AsSlice(),
		}),
	)
}

// setUpInside gives the node its addresses and the way out.
func (w wiring) setUpInside(pid int) error {
	namespace, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer namespace.Close()
	inside, err := netlink.NewHandleAt(namespace)
	if err != nil {
		return err
	}
	defer inside.Close()
	loopback, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	card, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	return errors.Join(
		inside.LinkSetUp(loopback),
		inside.AddrAdd(card, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(w.address, 24))}),
		inside.LinkSetUp(card),
		inside.RouteAdd(&netlink.Route{LinkIndex: card.Attrs().Index, Gw: vpc.Real().Gateway().AsSlice()}),
	)
}

// unplug cuts the cable. Nothing comes from the node any more, not even that its
// connections are closed. The way to it stays and leads nowhere.
func (w wiring) unplug() error {
	cable, err := netlink.LinkByName(w.link())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the cable of node %d: %w", w.index, err)
	}
	if err := netlink.LinkDel(cable); err != nil {
		return fmt.Errorf("cut the cable of node %d: %w", w.index, err)
	}
	return nil
}

func addAddress(link netlink.Link, address netip.Prefix) error {
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
		return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, address, err)
	}
	return nil
}

// ipNet keeps the host bits of an address in a range.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
