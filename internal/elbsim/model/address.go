package model

import (
	"net/netip"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// TargetRef is a target as a request names it.
type TargetRef struct {
	ID   string
	Port int    // 0: the group's port
	Zone string // empty: AWS finds it
}

// allowed are the ranges that a target outside the VPC's subnets may lie in.
var allowed = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
}

// key resolves the default port and checks that ref can be a target of g at all.
func (g *group) key(ref TargetRef) (target.Key, error) {
	if g.Type != target.TypeIP {
		return target.Key{}, g.wrongID(ref.ID)
	}
	addr, err := netip.ParseAddr(ref.ID)
	if err != nil || addr.Zone() != "" || target.FamilyOf(addr) != g.Family {
		return target.Key{}, invalid("The IP address '%s' is not a valid %s address", ref.ID, familyWords[g.Family])
	}
	port := ref.Port
	if port == 0 {
		port = int(g.Port)
	}
	if port < 1 || port > 65535 {
		return target.Key{}, invalid("Target port '%d' must be between 1 and 65535 inclusive", ref.Port)
	}
	return target.Key{Addr: addr.Unmap(), Port: uint16(port)}, nil
}

var familyWords = map[target.Family]string{target.IPv4: "IPv4", target.IPv6: "IPv6"}

func (g *group) wrongID(id string) error {
	if g.Type == target.TypeInstance {
		return invalid("Instance ID '%s' is not valid", id)
	}
	return invalid("'%s' is not a valid target for a target group of type '%s'", id, g.Type)
}

// place is where a target will stand: key and zone, or the refusal by address.
func (w *World) place(g *group, ref TargetRef) (target.Target, error) {
	key, err := g.key(ref)
	if err != nil {
		return target.Target{}, err
	}
	if !routable(key.Addr) {
		return target.Target{}, refuse("InvalidTarget", "The IP address '%s' cannot be used as a target", ref.ID)
	}
	zone, inside := w.zoneOf(g.VPCID, key.Addr)
	if !inside {
		return outside(key, ref)
	}
	if ref.Zone != "" && ref.Zone != zone {
		return target.Target{}, invalid("The IP address '%s' is within the VPC, and cannot have its Availability Zone overridden to '%s' from '%s'", ref.ID, ref.Zone, zone)
	}
	return target.Target{Key: key, Zone: zone}, nil
}

func routable(addr netip.Addr) bool {
	return !addr.IsLoopback() && !addr.IsUnspecified() && !addr.IsMulticast() && !addr.IsLinkLocalUnicast()
}

// outside judges an address that is in none of the VPC's subnets. AWS's words
// matter: they are the only mark by which the missing zone can be told apart.
func outside(key target.Key, ref TargetRef) (target.Target, error) {
	for _, prefix := range allowed {
		if !prefix.Contains(key.Addr) {
			continue
		}
		if ref.Zone == "" {
			return target.Target{}, invalid("You must specify a valid Availability Zone or select 'all' for all enabled Availability zones, since the IP address '%s' is outside the VPC", ref.ID)
		}
		return target.Target{Key: key, Zone: ref.Zone}, nil
	}
	return target.Target{}, refuse("InvalidTarget", "The IP address '%s' is neither in a subnet of the VPC nor in a private range", ref.ID)
}

// zoneOf finds the zone of an address that lies in one of the VPC's subnets.
func (w *World) zoneOf(vpc string, addr netip.Addr) (zone string, inside bool) {
	subnets, known := w.config.Subnets[vpc]
	if !known {
		subnets = w.config.Subnets[""]
	}
	for _, subnet := range subnets {
		if !subnet.CIDR.Contains(addr) {
			continue
		}
		if subnet.Zone != "" {
			return subnet.Zone, true
		}
		bytes := addr.AsSlice()
		return w.config.Region + string("abc"[bytes[len(bytes)-1]%3]), true
	}
	return "", false
}
