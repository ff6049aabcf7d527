package elbtest

import (
	"fmt"
	"maps"
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
		if !call.unnamed {
			wantKind(t, call.make(t.Context()), elb.GroupNotFound)
		}
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

func allGroupsListed(t *testing.T, h suiteHarness) {
	made := []target.ARN{h.NewGroup(t, Group{InUse: true}), h.NewGroup(t, Group{Protocol: "TCP", Family: target.IPv6})}
	times := map[target.ARN]int{}
	for marker, page := "", 0; page == 0 || marker != ""; page++ {
		groups, next, err := h.Client.AllGroups(t.Context(), marker)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			times[g.ARN]++
			if g.ARN == made[0] {
				wantGroup(t, groups, target.Group{ARN: made[0], Type: target.TypeIP, Family: target.IPv4, Protocol: "HTTP", Port: 80, Check: checkedOver("HTTP")}, true)
			}
		}
		marker = next
	}
	for _, arn := range made {
		if times[arn] != 1 {
			t.Errorf("%v is listed %d times", arn, times[arn])
		}
	}
}

func groupsHaveTags(t *testing.T, h suiteHarness) {
	want := map[string]string{"team": "shop", "empty": "", "aws/is: fine=@": "so + is_this"}
	tagged, bare := h.NewGroup(t, Group{Tags: want}), h.NewGroup(t, Group{})
	tags, err := h.Client.GroupTags(t.Context(), []target.ARN{bare, tagged})
	if err != nil || len(tags) != 2 || !maps.Equal(tags[tagged], want) || len(tags[bare]) != 0 {
		t.Errorf("got %v, %v, want %v and none", tags, err, want)
	}
	if tags, err := h.Client.GroupTags(t.Context(), nil); err != nil || len(tags) != 0 {
		t.Errorf("no groups have the tags %v, %v", tags, err)
	}
}

func tagsOfMissing(t *testing.T, h suiteHarness) {
	there := h.NewGroup(t, Group{})
	_, err := h.Client.GroupTags(t.Context(), []target.ARN{there, missing(there)})
	wantKind(t, err, elb.GroupNotFound)
}

func tagsOfTooMany(t *testing.T, h suiteHarness) {
	var many []target.ARN
	for range elb.MaxTagsPerCall + 1 {
		many = append(many, h.NewGroup(t, Group{}))
	}
	if _, err := h.Client.GroupTags(t.Context(), many[1:]); err != nil {
		t.Errorf("as many as a call may name: %v", err)
	}
	_, err := h.Client.GroupTags(t.Context(), many)
	wantKind(t, err, elb.InvalidRequest)
}
