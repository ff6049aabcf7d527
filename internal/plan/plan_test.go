package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func key(host int) target.Key {
	return target.Key{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}), Port: 80}
}

func keys(hosts ...int) target.Set {
	var list []target.Key
	for _, host := range hosts {
		list = append(list, key(host))
	}
	return target.SetOf(list...)
}

var shop = []desired.BindingID{{Namespace: "shop", Name: "web"}}

func candidate(host int, verdict desired.Verdict, reason target.Reason) desired.Candidate {
	return desired.Candidate{
		Key: key(host), Verdict: verdict, Reason: reason, Bindings: shop,
		Pod: desired.PodRef{Namespace: "shop", Name: fmt.Sprint("pod-", host), UID: fmt.Sprint("uid-", host)},
	}
}

func wants(hosts ...int) desired.Wanted {
	var wanted desired.Wanted
	for _, host := range hosts {
		wanted.Candidates = append(wanted.Candidates, candidate(host, desired.Want, target.PodReady))
	}
	return wanted
}

// listed is an observation of targets that are all in one state.
func listed(state target.State, hosts ...int) []target.Observed {
	var list []target.Observed
	for _, host := range hosts {
		list = append(list, target.Observed{Target: target.Target{Key: key(host)}, Health: target.Health{State: state}})
	}
	return list
}

// spell writes a plan as op:host reason, op:host reason ...
func spell(p Plan) string {
	var words []string
	for _, part := range []struct {
		name    string
		changes []Change
	}{
		{"register", p.Register},
		{"announce", p.Announce},
		{"deregister", p.Deregister},
		{"stay", p.Stay},
		{"held", p.Held},
		{"foreign", p.Foreign},
		{"leftout", p.LeftOut},
	} {
		for _, c := range part.changes {
			words = append(words, fmt.Sprintf("%s:%d %s", part.name, c.Addr.As4()[3], c.Reason))
		}
	}
	return strings.Join(words, ", ")
}

func expect(t *testing.T, wanted desired.Wanted, have Observation, policy Policy, want string) Plan {
	t.Helper()
	got := Make(wanted, have, policy, t0)
	if spell(got) != want {
		t.Errorf("got  %s\nwant %s", spell(got), want)
	}
	return got
}

// The table at the head of the package, line by line.
func TestBehaviour11_TableOfThePlan(t *testing.T) {
	// Two wanted targets that are in keep a single stranger in the minority.
	const rest = "stay:8 PodReady, stay:9 PodReady"
	for _, c := range []struct {
		name    string
		verdict desired.Verdict
		reason  target.Reason
		state   target.State // empty: absent
		ours    target.Set
		unsure  target.Set
		want    string
	}{
		{"want, absent", desired.Want, target.PodReady, "", keys(), keys(), "register:1 PodReady, " + rest},
		{"want, absent, was ours", desired.Want, target.PodReady, "", keys(1), keys(), "register:1 Drift, " + rest},
		{"want, draining", desired.Want, target.PodReady, target.Draining, keys(), keys(), "register:1 PodReady, " + rest},
		{"want, draining, was ours", desired.Want, target.PodReady, target.Draining, keys(1), keys(), "register:1 Drift, " + rest},
		{"want, present", desired.Want, target.PodReady, target.Healthy, keys(), keys(), "stay:1 PodReady, " + rest},
		{"want, present, unhealthy", desired.Want, target.PodReady, target.Unhealthy, keys(), keys(), "stay:1 PodReady, " + rest},
		{"want, uncertain, absent", desired.Want, target.PodReady, "", keys(), keys(1), "register:1 PodReady, " + rest},
		{"want, uncertain, present", desired.Want, target.PodReady, target.Healthy, keys(1), keys(1), "register:1 PodReady, " + rest},
		{"keep, present", desired.Keep, target.NoPodReady, target.Unhealthy, keys(1), keys(), rest + ", held:1 NoPodReady"},
		{"keep, absent", desired.Keep, target.NoPodReady, "", keys(1), keys(), rest},
		{"keep, draining", desired.Keep, target.NoPodReady, target.Draining, keys(1), keys(), rest},
		{"leave, present", desired.Leave, target.PodNotReady, target.Healthy, keys(1), keys(), "deregister:1 PodNotReady, " + rest},
		{"leave, present, not ours", desired.Leave, target.PodGone, target.Healthy, keys(), keys(), "deregister:1 PodGone, " + rest},
		{"leave, absent", desired.Leave, target.PodTerminating, "", keys(1), keys(), rest},
		{"leave, draining", desired.Leave, target.PodTerminating, target.Draining, keys(1), keys(), rest},
		{"leave, uncertain, absent", desired.Leave, target.PodTerminating, "", keys(), keys(1), "deregister:1 PodTerminating, " + rest},
		{"leave, uncertain, draining", desired.Leave, target.PodTerminating, target.Draining, keys(), keys(1), "deregister:1 PodTerminating, " + rest},
		{"nothing, ours", -1, "", target.Healthy, keys(1), keys(), "deregister:1 PodGone, " + rest},
		{"nothing, ours, draining", -1, "", target.Draining, keys(1), keys(), rest},
		{"nothing, uncertain, absent", -1, "", "", keys(), keys(1), "deregister:1 PodGone, " + rest},
		{"nothing, uncertain, draining", -1, "", target.Draining, keys(), keys(1), "deregister:1 PodGone, " + rest},
		{"nothing, not ours", -1, "", target.Healthy, keys(), keys(), "deregister:1 Unexplained, " + rest},
		{"nothing, not ours, draining", -1, "", target.Draining, keys(), keys(), rest},
	} {
		t.Run(c.name, func(t *testing.T) {
			wanted, have := wants(8, 9), Observation{Targets: listed(target.Healthy, 8, 9), Ours: c.ours, Uncertain: c.unsure}
			if c.verdict >= 0 {
				wanted.Candidates = append(wanted.Candidates, candidate(1, c.verdict, c.reason))
			}
			if c.state != "" {
				have.Targets = append(have.Targets, listed(c.state, 1)...)
			}
			expect(t, wanted, have, Policy{}, c.want)
		})
	}
}

func TestBehaviour12_DrainingAndUnwantedIsNotCalledAgain(t *testing.T) {
	wanted := desired.Wanted{Candidates: []desired.Candidate{candidate(1, desired.Leave, target.PodTerminating)}}
	p := expect(t, wanted, Observation{Targets: listed(target.Draining, 1), Ours: keys(1)}, Policy{}, "")
	if !p.Empty() {
		t.Error("the plan is not empty")
	}
}

func TestBehaviour08_UnreadableBindingHoldsWhatItMayWant(t *testing.T) {
	wanted := wants(1)
	wanted.HoldOthers = target.ServiceNotFound
	wanted.Candidates = append(wanted.Candidates, candidate(2, desired.Leave, target.PodTerminating))
	have := Observation{Targets: listed(target.Healthy, 1, 2, 3, 4), Ours: keys(1, 2, 3), Uncertain: keys(5)}
	expect(t, wanted, have, Policy{Takeover: Confirmed},
		"deregister:2 PodTerminating, stay:1 PodReady, held:3 ServiceNotFound, held:4 ServiceNotFound, held:5 ServiceNotFound")
}

func TestBehaviour08_TargetsOfADeletedServiceGo(t *testing.T) {
	wanted := desired.Wanted{Problems: []desired.Problem{{Binding: shop[0], Reason: target.ServiceDeleted}}}
	have := Observation{Targets: listed(target.Healthy, 1, 2, 3), Ours: keys(1, 2)}
	expect(t, wanted, have, Policy{}, "deregister:1 ServiceDeleted, deregister:2 ServiceDeleted, held:3 TakeoverUnconfirmed")
}

func TestBehaviour16_FullGroupLeavesOutAndStillDeregisters(t *testing.T) {
	wanted := wants(1, 2)
	wanted.Candidates = append(wanted.Candidates, candidate(3, desired.Leave, target.PodTerminating))
	have := Observation{Targets: listed(target.Healthy, 1, 3), Ours: keys(1, 3), FullUntil: t0.Add(time.Minute)}
	p := expect(t, wanted, have, Policy{}, "deregister:3 PodTerminating, stay:1 PodReady, leftout:2 TooManyTargets")
	if !p.Recheck.Equal(have.FullUntil) {
		t.Errorf("recheck at %v, want %v", p.Recheck, have.FullUntil)
	}
	have.FullUntil = t0
	expect(t, wanted, have, Policy{}, "register:2 PodReady, deregister:3 PodTerminating, stay:1 PodReady")
}

func TestBehaviour11_RefusedTargetWaitsAlone(t *testing.T) {
	refused := map[target.Key]Refusal{
		key(1): {target.InvalidTarget, t0.Add(time.Minute)},
		key(2): {target.InvalidTarget, t0.Add(30 * time.Second)},
		key(3): {target.InvalidTarget, t0},
		key(4): {target.InvalidTarget, t0.Add(time.Second)},
	}
	p := expect(t, wants(1, 2, 3, 4, 5), Observation{Refused: refused, Targets: listed(target.Healthy, 4)}, Policy{},
		"register:3 PodReady, register:5 PodReady, stay:4 PodReady, leftout:1 InvalidTarget, leftout:2 InvalidTarget")
	if want := t0.Add(30 * time.Second); !p.Recheck.Equal(want) {
		t.Errorf("recheck at %v, want the soonest, %v", p.Recheck, want)
	}
}

func TestBehaviour17_DriftIsRepaired(t *testing.T) {
	t.Run("a target of ours removed", func(t *testing.T) {
		expect(t, wants(1, 2), Observation{Targets: listed(target.Healthy, 2), Ours: keys(1, 2)}, Policy{},
			"register:1 Drift, stay:2 PodReady")
	})
	t.Run("a stranger added", func(t *testing.T) {
		expect(t, wants(1, 2), Observation{Targets: listed(target.Healthy, 1, 2, 3), Ours: keys(1, 2)}, Policy{},
			"deregister:3 Unexplained, stay:1 PodReady, stay:2 PodReady")
	})
}

func TestBehaviour19_RegistersWithTheZone(t *testing.T) {
	zones := map[netip.Addr]string{key(1).Addr: target.ZoneAll}
	p := Make(wants(1, 2), Observation{Zones: zones}, Policy{}, t0)
	if p.Register[0].Zone != target.ZoneAll || p.Register[1].Zone != "" {
		t.Errorf("zones are %q and %q, want all and none", p.Register[0].Zone, p.Register[1].Zone)
	}
	stays := Make(wants(1), Observation{Targets: []target.Observed{{Target: target.Target{Key: key(1), Zone: "eu-central-1a"}}}}, Policy{}, t0)
	if len(stays.Stay) != 1 || stays.Stay[0].Zone != "eu-central-1a" {
		t.Errorf("got %+v, want the target to stay with the zone that AWS filled in", stays)
	}
}

func TestRule7_TakeoverGuard(t *testing.T) {
	for _, c := range []struct {
		name     string
		wanted   desired.Wanted
		healthy  []int
		sick     []int
		takeover Takeover
		want     string
	}{
		{"a minority goes", wants(1, 2), []int{1, 2, 7}, nil, Guarded, "deregister:7 Unexplained, stay:1 PodReady, stay:2 PodReady"},
		{"half stays", wants(1), []int{1, 7}, nil, Guarded, "stay:1 PodReady, held:7 TakeoverUnconfirmed"},
		{"a majority stays", wants(1), []int{1, 7, 8}, nil, "", "stay:1 PodReady, held:7 TakeoverUnconfirmed, held:8 TakeoverUnconfirmed"},
		{"of a majority the unhealthy go", wants(1), []int{7, 8}, []int{9}, Guarded, "register:1 PodReady, deregister:9 Unexplained, held:7 TakeoverUnconfirmed, held:8 TakeoverUnconfirmed"},
		{"unhealthy strangers do not count", wants(1, 2), []int{7}, []int{8, 9}, Guarded, "register:1 PodReady, register:2 PodReady, deregister:7 Unexplained, deregister:8 Unexplained, deregister:9 Unexplained"},
		{"nothing is wanted", wants(), []int{7}, nil, Guarded, "held:7 TakeoverUnconfirmed"},
		{"confirmed", wants(1), []int{7, 8}, nil, Confirmed, "register:1 PodReady, deregister:7 Unexplained, deregister:8 Unexplained"},
		{"confirmed with nothing wanted", wants(), []int{7}, nil, Confirmed, "deregister:7 Unexplained"},
	} {
		t.Run(c.name, func(t *testing.T) {
			have := Observation{Targets: append(listed(target.Healthy, c.healthy...), listed(target.Unhealthy, c.sick...)...)}
			expect(t, c.wanted, have, Policy{Takeover: c.takeover}, c.want)
		})
	}
}

// What is ours is never weighed as unexplained, be it the whole group.
func TestBehaviour31_DeletedBindingTakesItsTargetsAlong(t *testing.T) {
	gone := desired.Wanted{Candidates: []desired.Candidate{candidate(1, desired.Leave, target.BindingDeleted)}}
	have := Observation{Targets: listed(target.Healthy, 1, 2), Ours: keys(1, 2)}
	expect(t, gone, have, Policy{}, "deregister:1 BindingDeleted, deregister:2 PodGone")
}

func TestBehaviour03_LastHealthyTargetStaysWhileAnotherComes(t *testing.T) {
	leaver := func(host int, until time.Duration) desired.Candidate {
		c := candidate(host, desired.Leave, target.PodTerminating)
		if until != 0 {
			c.ServesUntil = t0.Add(until)
		}
		return c
	}
	healthy, initial := listed(target.Healthy, 1), listed(target.Initial, 2)
	for _, c := range []struct {
		name    string
		others  desired.Wanted
		leaving []desired.Candidate
		have    []target.Observed
		want    string
		recheck time.Time
	}{
		{
			"another is in but not healthy", wants(2),
			[]desired.Candidate{leaver(1, time.Minute)},
			append(healthy, initial...),
			"stay:2 PodReady, held:1 LastHealthyTarget", t0.Add(40 * time.Second),
		},
		{
			"another is to be registered", wants(2),
			[]desired.Candidate{leaver(1, time.Minute)},
			healthy,
			"register:2 PodReady, held:1 LastHealthyTarget", t0.Add(40 * time.Second),
		},
		{
			"another is healthy", wants(2),
			[]desired.Candidate{leaver(1, time.Minute)},
			listed(target.Healthy, 1, 2),
			"deregister:1 PodTerminating, stay:2 PodReady",
			time.Time{},
		},
		{
			"nothing is to be seen of another yet", wants(),
			[]desired.Candidate{leaver(1, time.Minute)},
			healthy,
			"held:1 LastHealthyTarget", t0.Add(40 * time.Second),
		},
		{
			"it may stop at any time", wants(2),
			[]desired.Candidate{leaver(1, 0)},
			healthy,
			"register:2 PodReady, deregister:1 PodTerminating",
			time.Time{},
		},
		{
			"just time enough to drain", wants(2),
			[]desired.Candidate{leaver(1, 20*time.Second)},
			healthy,
			"register:2 PodReady, deregister:1 PodTerminating",
			time.Time{},
		},
		{
			"it is not healthy itself", wants(2),
			[]desired.Candidate{leaver(1, time.Minute)},
			listed(target.Unhealthy, 1),
			"register:2 PodReady, deregister:1 PodTerminating",
			time.Time{},
		},
		{
			"two leave", wants(2),
			[]desired.Candidate{leaver(1, time.Minute), leaver(3, 30*time.Second)},
			listed(target.Healthy, 1, 3),
			"register:2 PodReady, held:1 LastHealthyTarget, held:3 LastHealthyTarget", t0.Add(10 * time.Second),
		},
		{
			"two leave, one may stop", wants(2),
			[]desired.Candidate{leaver(1, time.Minute), leaver(3, 0)},
			listed(target.Healthy, 1, 3),
			"register:2 PodReady, deregister:3 PodTerminating, held:1 LastHealthyTarget", t0.Add(40 * time.Second),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			wanted := c.others
			wanted.Candidates = append(wanted.Candidates, c.leaving...)
			p := expect(t, wanted, Observation{Targets: c.have, Ours: keys(1, 3)}, Policy{Drain: 20 * time.Second}, c.want)
			if !p.Recheck.Equal(c.recheck) {
				t.Errorf("recheck at %v, want %v", p.Recheck, c.recheck)
			}
		})
	}
}

// A pod that nobody is made to succeed is held no longer than it takes to see that: the
// rest of its time is for a deregistration that comes late.
func TestBehaviour03_LastHealthyTargetLeavesIfNobodyIsMadeToSucceedIt(t *testing.T) {
	for _, c := range []struct {
		name       string
		successors desired.Successors
		deleted    time.Duration
		serves     time.Duration
		want       string
		recheck    time.Time
	}{
		{"it is not known", desired.Unforeseen, -30 * time.Second, time.Minute, "held:1 LastHealthyTarget", t0.Add(40 * time.Second)},
		{"one is coming", desired.Coming, -30 * time.Second, time.Minute, "held:1 LastHealthyTarget", t0.Add(40 * time.Second)},
		{"one may be made yet", desired.NoneComing, -19 * time.Second, time.Minute, "held:1 LastHealthyTarget", t0.Add(time.Second)},
		{"none was made", desired.NoneComing, -20 * time.Second, time.Minute, "deregister:1 PodTerminating", time.Time{}},
		{"little time is left", desired.NoneComing, 0, 30 * time.Second, "held:1 LastHealthyTarget", t0.Add(10 * time.Second)},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaver := candidate(1, desired.Leave, target.PodTerminating)
			leaver.Since, leaver.ServesUntil = t0.Add(c.deleted), t0.Add(c.serves)
			wanted := desired.Wanted{Candidates: []desired.Candidate{leaver}, Successors: c.successors}
			p := expect(t, wanted, Observation{Targets: listed(target.Healthy, 1), Ours: keys(1)}, Policy{Drain: 20 * time.Second}, c.want)
			if !p.Recheck.Equal(c.recheck) {
				t.Errorf("recheck at %v, want %v", p.Recheck, c.recheck)
			}
		})
	}
}

// Where bindings give pods no time to drain, only another that comes is worth it.
func TestBehaviour03_LastHealthyTargetLeavesIfNoOtherComes(t *testing.T) {
	leaver := candidate(1, desired.Leave, target.PodTerminating)
	leaver.ServesUntil = t0.Add(time.Minute)
	for want, wanted := range map[string]desired.Wanted{
		"deregister:1 PodTerminating":                   wants(),
		"register:2 PodReady, held:1 LastHealthyTarget": wants(2),
	} {
		wanted.Candidates = append(wanted.Candidates, leaver)
		expect(t, wanted, Observation{Targets: listed(target.Healthy, 1), Ours: keys(1)}, Policy{}, want)
	}
}

func TestBehaviour38_UnchangedWorldNeedsNothing(t *testing.T) {
	wanted := wants(1, 2)
	wanted.Candidates = append(wanted.Candidates, candidate(3, desired.Keep, target.NodeNotReady))
	p := Make(wanted, Observation{Targets: listed(target.Healthy, 1, 2, 3), Ours: keys(1, 2, 3)}, Policy{}, t0)
	if !p.Empty() || !p.Recheck.IsZero() {
		t.Errorf("got %s, recheck %v, want nothing to do and nothing to wait for", spell(p), p.Recheck)
	}
}

func TestFailureSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		failure Failure
		want    string
	}{
		{
			Failure{Op: "RegisterTargets", Changes: make([]Change, 3), Reason: target.Throttled, Message: "Rate exceeded"},
			"RegisterTargets of 3 targets failed: Rate exceeded: the account's API budget is spent; the call is repeated by itself",
		},
		{
			Failure{Op: "RegisterTargets", Changes: make([]Change, 1), Reason: target.InvalidTarget, Message: "bad"},
			"RegisterTargets of 1 target failed: bad",
		},
		{
			Failure{Op: "DescribeTargetHealth", Reason: target.AccessDenied, Message: "no"},
			"DescribeTargetHealth failed: no: allow the action on this target group in the IAM policy of that user or role",
		},
	} {
		if got := c.failure.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
