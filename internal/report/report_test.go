package report_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

var (
	web   = desired.BindingID{Namespace: "shop", Name: "web"}
	other = desired.BindingID{Namespace: "shop", Name: "other"}
)

func key(host int) target.Key {
	return target.Key{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}), Port: 80}
}

func change(host int, reason target.Reason, bindings ...desired.BindingID) plan.Change {
	return plan.Change{Target: target.Target{Key: key(host)}, Reason: reason, Bindings: bindings}
}

func candidate(host int, verdict desired.Verdict, bindings ...desired.BindingID) desired.Candidate {
	return desired.Candidate{Key: key(host), Verdict: verdict, Bindings: bindings}
}

func observed(host int, state target.State) target.Observed {
	return target.Observed{Target: target.Target{Key: key(host)}, Health: target.Health{State: state}}
}

// world is a group in use with two bindings: web has hosts 1 to 4, other 5; host 9
// is nobody's.
func world() report.Input {
	return report.Input{
		Group:    target.Group{LoadBalancers: []string{"front"}},
		Bindings: []desired.BindingID{web, other},
		Have: plan.Observation{
			Targets: []target.Observed{
				observed(1, target.Healthy), observed(2, target.Initial), observed(3, target.Draining),
				observed(5, target.Healthy), observed(9, target.Draining),
			},
			Ours: target.SetOf(key(1), key(2), key(5), key(9)),
		},
		Plan: plan.Plan{Wanted: desired.Wanted{Candidates: []desired.Candidate{
			candidate(1, desired.Want, web), candidate(2, desired.Keep, web), candidate(3, desired.Leave, web),
			candidate(4, desired.Want, web), candidate(5, desired.Want, other),
		}}},
	}
}

func TestBehaviour42_CountsOfEachBinding(t *testing.T) {
	in := world()
	in.Plan.Held = []plan.Change{change(2, target.NoPodReady, web)}
	got := report.Of(in)
	for i, want := range []report.Counts{
		{Desired: 2, Registered: 2, Healthy: 1, Draining: 2, Held: 1},
		{Desired: 1, Registered: 1, Healthy: 1, Draining: 1},
	} {
		if got[i].Counts != want || !got[i].Counted || got[i].ID != in.Bindings[i] {
			t.Errorf("%s: got %+v, want %+v", got[i].ID, got[i].Counts, want)
		}
	}
	if total, want := report.Total(in.Plan, in.Have), (report.Counts{Desired: 3, Registered: 3, Healthy: 2, Draining: 2, Held: 1}); total != want {
		t.Errorf("total: got %+v, want %+v", total, want)
	}
	if targets := fmt.Sprint(got[0].Targets, got[1].Targets); targets != "[10.0.0.1:80 10.0.0.2:80 10.0.0.9:80] [10.0.0.5:80 10.0.0.9:80]" {
		t.Errorf("targets are %s", targets)
	}
}

func TestBehaviour42_ReadyCondition(t *testing.T) {
	failure := plan.Failure{Op: "RegisterTargets", Reason: target.AccessDenied, Message: "no"}
	for _, c := range []struct {
		name   string
		change func(*report.Input)
		ready  bool
		reason target.Reason
		says   string
	}{
		{"in line", func(*report.Input) {}, true, target.Synced, "2 targets registered, 1 healthy"},
		{"in line, not in use", func(in *report.Input) { in.Group.LoadBalancers = nil }, true, target.Synced, "add a listener"},
		{"to do", func(in *report.Input) {
			in.Plan.Register = []plan.Change{change(4, target.PodReady, web)}
		}, false, target.Syncing, "1 to register, 0 to deregister"},
		{"to do for the other", func(in *report.Input) {
			in.Plan.Deregister = []plan.Change{change(5, target.PodGone, other)}
		}, true, target.Synced, ""},
		{"left out", func(in *report.Input) {
			in.Plan.LeftOut = []plan.Change{change(4, target.TooManyTargets, web)}
			in.Plan.Deregister = []plan.Change{change(3, target.PodGone, web)}
		}, false, target.TooManyTargets, "1 target left out: 10.0.0.4:80 (TooManyTargets)"},
		{"left out of the other", func(in *report.Input) {
			in.Plan.LeftOut = []plan.Change{change(5, target.InvalidTarget, other)}
		}, true, target.Synced, ""},
		{"failed", func(in *report.Input) {
			in.Outcome.Failures = []plan.Failure{failure}
			in.Plan.LeftOut = []plan.Change{change(4, target.TooManyTargets, web)}
		}, false, target.AccessDenied, "allow the action"},
		{"not understood", func(in *report.Input) {
			in.Outcome.Failures = []plan.Failure{failure}
			in.Plan.Wanted.Problems = []desired.Problem{{Binding: other, Reason: target.PortNotFound}, {Binding: web, Reason: target.ServiceNotFound, Message: "create it"}}
		}, false, target.ServiceNotFound, "create it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := world()
			c.change(&in)
			got := report.Of(in)[0].Ready
			if got.True != c.ready || got.Reason != c.reason || !strings.Contains(got.Message, c.says) {
				t.Errorf("got %+v, want %v %s with %q", got, c.ready, c.reason, c.says)
			}
		})
	}
}

func TestBehaviour16_ConditionSaysHowManyAreLeftOut(t *testing.T) {
	in := world()
	for host := 20; host < 40; host++ {
		in.Plan.LeftOut = append(in.Plan.LeftOut, change(host, target.TooManyTargets, web))
	}
	got := report.Of(in)[0].Ready.Message
	if !strings.HasPrefix(got, "20 targets left out: 10.0.0.20:80, ") || !strings.HasSuffix(got, "(TooManyTargets), and 12 more") {
		t.Errorf("got %s", got)
	}
}

func TestBehaviour09_HeldConditionSaysWhy(t *testing.T) {
	for _, reason := range []target.Reason{
		target.NoPodReady, target.NodeNotReady, target.LastHealthyTarget, target.TakeoverUnconfirmed,
		target.ServiceNotFound, target.PortNotFound,
	} {
		in := world()
		in.Plan.Held = []plan.Change{change(2, reason, web)}
		got := report.Of(in)
		if held := got[0].Held; !held.True || held.Reason != reason || !strings.HasPrefix(held.Message, "1 target held: 10.0.0.2:80 ("+string(reason)+"). ") || strings.HasSuffix(held.Message, ". ") {
			t.Errorf("%s: got %+v, want the target, the reason and its explanation", reason, held)
		}
		if held := got[1].Held; held.True {
			t.Errorf("%s: the other binding says %+v, want nothing held", reason, held)
		}
	}
}

func TestStrangersAreHeldForAllBindings(t *testing.T) {
	in := world()
	in.Plan.Held = []plan.Change{change(9, target.TakeoverUnconfirmed)}
	for _, r := range report.Of(in) {
		if !r.Held.True || r.Counts.Held != 1 {
			t.Errorf("%s: got %+v, counts %+v, want it held", r.ID, r.Held, r.Counts)
		}
	}
}

func TestFailedKeepsWhatWasKnown(t *testing.T) {
	before := report.Of(world())[0]
	got := report.Failed(before, target.Unreachable, "no answer")
	if got.Counts != before.Counts || !got.Counted || got.Ready != (report.Condition{Reason: target.Unreachable, Message: "no answer"}) {
		t.Errorf("got %+v", got)
	}
}

// told spells out events, one a line.
func told(events []report.Event) string {
	var lines []string
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%v %s: %s", e.Warning, e.Reason, e.Message))
	}
	return strings.Join(lines, "\n")
}

func TestBehaviour43_OneEventPerKindOfChange(t *testing.T) {
	outcome := plan.Outcome{
		Registered: []plan.Change{
			change(1, target.PodReady, web), change(2, target.GatePending, web, other), change(3, target.PodReady, web),
			change(4, target.Drift, web), change(5, target.PodReady, other),
		},
		Deregistered: []plan.Change{change(6, target.PodTerminating, web), change(9, target.Unexplained)},
	}
	current := report.Binding{ID: web, Ready: report.Condition{True: true, Reason: target.Synced}}
	got := told(report.Events(current, current, outcome))
	want := `false Registered: Registered 3 targets: 10.0.0.1:80, 10.0.0.3:80 (PodReady), 10.0.0.2:80 (GatePending)
false Deregistered: Deregistered 1 target: 10.0.0.6:80 (PodTerminating)
true Drift: Someone else removed, and the controller registered again, 1 target: 10.0.0.4:80 (Drift)
true Drift: Deregistered what nothing of this cluster explains: 1 target: 10.0.0.9:80 (Unexplained)`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBehaviour43_NothingHappenedNothingIsTold(t *testing.T) {
	bad := report.Binding{ID: web, Ready: report.Condition{Reason: target.AccessDenied, Message: "no"}, Held: report.Condition{True: true, Reason: target.NoPodReady}}
	if got := report.Events(bad, bad, plan.Outcome{}); len(got) != 0 {
		t.Errorf("got\n%s\nwant nothing for what was told before", told(got))
	}
	syncing := report.Binding{ID: web, Ready: report.Condition{Reason: target.Syncing}}
	if got := report.Events(report.Binding{}, syncing, plan.Outcome{Registered: []plan.Change{change(5, target.PodReady, other)}}); len(got) != 0 {
		t.Errorf("got\n%s\nwant nothing for syncing and for what is another binding's", told(got))
	}
}

func TestBehaviour43_WorseConditionsAreTold(t *testing.T) {
	current := report.Binding{ID: web, Ready: report.Condition{Reason: target.AccessDenied, Message: "no"}, Held: report.Condition{True: true, Reason: target.NoPodReady, Message: "held"}}
	got := told(report.Events(report.Binding{ID: web}, current, plan.Outcome{}))
	if want := "true Held: held\ntrue AccessDenied: no"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	better := report.Binding{ID: web, Ready: report.Condition{True: true, Reason: target.Synced}}
	if got := report.Events(current, better, plan.Outcome{}); len(got) != 0 {
		t.Errorf("got\n%s\nwant nothing for what became better", told(got))
	}
}

// Targets of others are not counted, and those about to be registered are remembered.
func TestBehaviour33_SharedGroupCountsOurs(t *testing.T) {
	in := world()
	in.Plan.Wanted.Shared, in.Busy = true, true
	in.Have.Ours = target.SetOf(key(1), key(2), key(5))
	in.Have.Targets = append(in.Have.Targets, observed(8, target.Healthy))
	in.Have.Journal = target.SetOf(key(1), key(6))
	in.Plan.Foreign = []plan.Change{change(8, target.NotOurs)}
	in.Plan.Announce = []plan.Change{change(4, target.PodReady, web)}
	got := report.Of(in)[0]
	if want := (report.Counts{Desired: 2, Registered: 2, Healthy: 1, Draining: 1}); got.Counts != want {
		t.Errorf("got %+v, want %+v", got.Counts, want)
	}
	if targets := fmt.Sprint(got.Targets); targets != "[10.0.0.1:80 10.0.0.2:80 10.0.0.4:80 10.0.0.6:80]" {
		t.Errorf("remembered are %s", targets)
	}
	if got.Ready.Reason != target.Syncing || !strings.HasPrefix(got.Ready.Message, "1 to register") {
		t.Errorf("the condition is %+v", got.Ready)
	}
	in.Plan.Announce = nil
	if got := report.Of(in)[0].Ready; !got.True || !strings.Contains(got.Message, "left alone: 1 target of others") {
		t.Errorf("the condition is %+v", got)
	}
}
