package elbtest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func groupsDescribed(t *testing.T, h suiteHarness) {
	used := h.NewGroup(t, Group{InUse: true, Port: 8443})
	idle := h.NewGroup(t, Group{Protocol: "TCP", Family: target.IPv6})
	queries := []elb.GroupQuery{
		{ARNs: []target.ARN{used, idle}},
		{Names: []string{used.Name, idle.Name}},
	}
	for _, query := range queries {
		groups, err := h.Client.TargetGroups(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		wantGroup(t, groups, target.Group{ARN: used, Type: target.TypeIP, Family: target.IPv4, Protocol: "HTTP", Port: 8443, Check: checkedOver("HTTP")}, true)
		wantGroup(t, groups, target.Group{ARN: idle, Type: target.TypeIP, Family: target.IPv6, Protocol: "TCP", Port: 80, Check: checkedOver("TCP")}, false)
		if len(groups) != 2 {
			t.Errorf("%d groups are described, want 2", len(groups))
		}
	}
}

// checkedOver is how AWS checks the targets of a group of a protocol by default.
func checkedOver(protocol string) target.HealthCheck {
	check := target.HealthCheck{Interval: 30 * time.Second, Timeout: 5 * time.Second, UnhealthyThreshold: 2}
	if protocol == "TCP" {
		check.Timeout = 10 * time.Second
	}
	return check
}

func wantGroup(t *testing.T, groups []target.Group, want target.Group, inUse bool) {
	t.Helper()
	i := slices.IndexFunc(groups, func(g target.Group) bool { return g.ARN == want.ARN })
	if i < 0 {
		t.Errorf("%v is not described", want.ARN)
		return
	}
	got := groups[i]
	if got.VPCID == "" || got.InUse() != inUse {
		t.Errorf("in use %v, VPC %q; want in use %v", got.InUse(), got.VPCID, inUse)
	}
	got.VPCID, got.LoadBalancers = "", nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// missing is the ARN of a group that does not exist.
func missing(arn target.ARN) target.ARN {
	arn.Name, arn.ID = "tgc-no-such-group", "0123456789abcdef"
	return arn
}

func groupMissing(t *testing.T, h suiteHarness) {
	there := h.NewGroup(t, Group{})
	gone := missing(there)
	for _, query := range []elb.GroupQuery{{ARNs: []target.ARN{there, gone}}, {Names: []string{there.Name, gone.Name}}} {
		_, err := h.Client.TargetGroups(t.Context(), query)
		wantKind(t, err, elb.GroupNotFound)
	}
}

func tooManyNamed(t *testing.T, h suiteHarness) {
	var query elb.GroupQuery
	for i := range 21 {
		query.Names = append(query.Names, fmt.Sprintf("tgc-no-such-group-%d", i))
	}
	_, err := h.Client.TargetGroups(t.Context(), query)
	wantKind(t, err, elb.InvalidRequest)
}

func callsOnMissingGroup(t *testing.T, h suiteHarness) {
	wantNotFound(t, h, missing(h.NewGroup(t, Group{})))
}

func groupVanishes(t *testing.T, h suiteHarness) {
	if h.DropGroup == nil {
		t.Skip("this harness cannot delete groups")
	}
	group := h.NewGroup(t, Group{InUse: true})
	h.register(t, group, h.target(1))
	h.DropGroup(t, group)
	wantNotFound(t, h, group)
}

func wantNotFound(t *testing.T, h suiteHarness, group target.ARN) {
	t.Helper()
	for _, call := range calls(h, group) {
		wantKind(t, call.make(t.Context()), elb.GroupNotFound)
	}
}

// AWS would list all groups of the account for a call that names none.
func emptyQuery(t *testing.T, h suiteHarness) {
	h.NewGroup(t, Group{})
	groups, err := h.Client.TargetGroups(t.Context(), elb.GroupQuery{})
	if err != nil || len(groups) > 0 {
		t.Errorf("an empty query gives %d groups and %v, want none and no error", len(groups), err)
	}
}

func delayIsTold(t *testing.T, h suiteHarness) {
	for _, want := range []time.Duration{0, 42 * time.Second} {
		for _, protocol := range []string{"HTTP", "TCP"} {
			attributes, err := h.Client.GroupAttributes(t.Context(), h.NewGroup(t, Group{Protocol: protocol, Drain: want}))
			if err != nil {
				t.Fatal(err)
			}
			if got, told := target.DelayOf(attributes); !told || got != want {
				t.Errorf("%s: the delay is %v, %v, want %v", protocol, got, told, want)
			}
		}
	}
}
