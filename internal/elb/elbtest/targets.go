package elbtest

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func registeredAreListed(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{})
	h.lists(t, group)
	h.register(t, group, h.target(1), h.target(2))
	h.lists(t, group, h.target(1), h.target(2))
	if zone := h.observed(t, group)[h.target(1).Key].Zone; zone == "" {
		t.Error("the zone of an address inside the VPC is not told")
	}
}

func registerAgain(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{})
	h.register(t, group, h.target(1))
	h.register(t, group, h.target(1), h.target(2))
	h.lists(t, group, h.target(1), h.target(2))
}

func severalPorts(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{})
	one, other := h.target(1), h.target(1)
	other.Port++
	h.register(t, group, one, other)
	h.lists(t, group, one, other)
	h.deregister(t, group, other)
	h.lists(t, group, one)
}

func deregisterDrains(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{InUse: true, Drain: time.Hour})
	h.register(t, group, h.target(1), h.target(2))
	h.lists(t, group, h.target(1), h.target(2))
	h.deregister(t, group, h.target(1))
	h.turns(t, group, h.target(1).Key, target.Draining)
	if state := h.observed(t, group)[h.target(2).Key].Health.State; state.Leaving() || state == "" {
		t.Errorf("the other target is %q", state)
	}
	h.deregister(t, group, h.target(1)) // again
	h.turns(t, group, h.target(1).Key, target.Draining)
}

func deregisterGoes(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{InUse: true})
	h.register(t, group, h.target(1), h.target(2))
	h.deregister(t, group, h.target(1))
	h.lists(t, group, h.target(2))
}

func deregisterUnknown(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{})
	h.deregister(t, group, h.target(1))
	h.register(t, group, h.target(1))
	other := h.target(1)
	other.Port++
	h.deregister(t, group, other, h.target(2))
	h.lists(t, group, h.target(1))
}

func fullCall(t *testing.T, h suiteHarness) {
	if h.TargetsPerGroup > 0 && h.TargetsPerGroup < elb.MaxTargetsPerCall {
		t.Skip("the quota is smaller than a full call")
	}
	group := h.NewGroup(t, Group{})
	all := h.targets(elb.MaxTargetsPerCall)
	h.register(t, group, all...)
	h.lists(t, group, all...)
	h.deregister(t, group, all...)
	h.lists(t, group)
}

func concurrentCalls(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{})
	all := h.targets(8)
	var calls sync.WaitGroup
	for _, one := range all {
		calls.Go(func() {
			if err := h.Client.RegisterTargets(t.Context(), group, []target.Target{one}); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	h.lists(t, group, all...)
}

func inUseBegins(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{InUse: true})
	h.register(t, group, h.target(1))
	h.eventually(t, group, func(got map[target.Key]target.Observed) string {
		switch health := got[h.target(1).Key].Health; {
		case health.State == "":
			return "the target is not listed"
		case health.State == target.Unused:
			return "the target is unused although the group is in use"
		case health.Reason == "" || health.Description == "":
			return "AWS's reason or description is missing"
		}
		return ""
	})
}

func notInUse(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{})
	h.register(t, group, h.target(1))
	h.turns(t, group, h.target(1).Key, target.Unused)
	if reason := h.observed(t, group)[h.target(1).Key].Health.Reason; reason != "Target.NotInUse" {
		t.Errorf("the reason is %q", reason)
	}
}

func healthIsTold(t *testing.T, h suiteHarness) {
	if h.SetHealth == nil {
		t.Skip("this harness cannot set the health of targets")
	}
	group := h.NewGroup(t, Group{InUse: true})
	key := h.target(1).Key
	h.register(t, group, h.target(1))
	h.SetHealth(t, group, key, target.Healthy)
	h.turns(t, group, key, target.Healthy)
	if health := h.observed(t, group)[key].Health; health.Reason != "" {
		t.Errorf("a healthy target has the reason %q", health.Reason)
	}
	h.SetHealth(t, group, key, target.Unhealthy)
	h.turns(t, group, key, target.Unhealthy)
	if health := h.observed(t, group)[key].Health; health.Reason == "" || health.Description == "" {
		t.Errorf("an unhealthy target has no reason or description: %+v", health)
	}
}

func ipv6Targets(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{Family: target.IPv6})
	six := target.Target{Key: target.Key{Addr: h.Inside(target.IPv6, 1), Port: 8080}}
	h.register(t, group, six)
	h.lists(t, group, six)
	h.deregister(t, group, six)
	h.lists(t, group)
}

func otherFamily(t *testing.T, h suiteHarness) {
	for _, family := range []target.Family{target.IPv4, target.IPv6} {
		group := h.NewGroup(t, Group{Family: family})
		other := map[target.Family]target.Family{target.IPv4: target.IPv6, target.IPv6: target.IPv4}[family]
		wrong := target.Target{Key: target.Key{Addr: h.Inside(other, 1), Port: 8080}}
		err := h.Client.RegisterTargets(t.Context(), group, []target.Target{wrong})
		wantKind(t, err, elb.InvalidTarget, elb.InvalidRequest)
	}
}

func neverTargets(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{})
	for _, address := range []string{"8.8.8.8", "127.0.0.1", "169.254.169.254"} {
		never := target.Target{Key: target.Key{Addr: netip.MustParseAddr(address), Port: 8080}, Zone: target.ZoneAll}
		err := h.Client.RegisterTargets(t.Context(), group, []target.Target{never})
		wantKind(t, err, elb.InvalidTarget, elb.InvalidRequest)
	}
	h.lists(t, group)
}

func zoneRequired(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{})
	outside := target.Target{Key: target.Key{Addr: h.Outside, Port: 8080}}
	err := h.Client.RegisterTargets(t.Context(), group, []target.Target{outside})
	wantKind(t, err, elb.ZoneRequired)
	outside.Zone = target.ZoneAll
	h.register(t, group, outside)
	h.lists(t, group, outside)
	if zone := h.observed(t, group)[outside.Key].Zone; zone != target.ZoneAll {
		t.Errorf("the zone is %q", zone)
	}
	h.deregister(t, group, outside)
	h.lists(t, group)
}

func quotaIsTold(t *testing.T, h suiteHarness) {
	if h.TargetsPerGroup == 0 {
		t.Skip("this harness has no quota that could be reached")
	}
	group := h.NewGroup(t, Group{})
	all := h.targets(h.TargetsPerGroup + 1)
	h.register(t, group, all[1:]...)
	err := h.Client.RegisterTargets(t.Context(), group, all[:1])
	wantKind(t, err, elb.TooManyTargets)
	h.deregister(t, group, all[1])
	h.register(t, group, all[0])
}
