package vpc_test

import (
	"net/netip"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

func TestLoopback(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"10.1.2.3", "127.1.2.3"},
		{"fd00::10.1.2.3", "127.1.2.3"},
		{"10.96.0.1", "10.96.0.1"},
		{"10.0.0.1", "10.0.0.1"},
		{"127.0.0.1", "127.0.0.1"},
		{"192.0.2.1", "192.0.2.1"},
		{"fd01::10.1.2.3", "fd01::10.1.2.3"},
		{"2001:db8::1", "2001:db8::1"},
	} {
		if got := vpc.Loopback(netip.MustParseAddr(c.from)); got != netip.MustParseAddr(c.to) {
			t.Errorf("%s leads to %s, want %s", c.from, got, c.to)
		}
	}
	for from, to := range map[string]string{"10.1.2.3:80": "127.1.2.3:80", "example.com:80": "example.com:80", "nonsense": "nonsense"} {
		if got := vpc.LoopbackHostPort(from); got != to {
			t.Errorf("%s leads to %s, want %s", from, got, to)
		}
	}
}

func TestNetworksAreNotShared(t *testing.T) {
	one, err := vpc.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer one.Release()
	two, err := vpc.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer two.Release()
	if one.Prefix().Overlaps(two.Prefix()) {
		t.Errorf("%s and %s overlap", one.Prefix(), two.Prefix())
	}
	if n := one.Node(7); !one.Prefix().Contains(n) || one.Pods(7).Contains(n) {
		t.Errorf("node address %s is not beside its pods in %s", n, one.Pods(7))
	}
}
