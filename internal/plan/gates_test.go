package plan

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// waits is a group whose pod at host 1 became ready at t0 and waits.
func waits(change func(*desired.Gated)) desired.Wanted {
	wanted := wants(1)
	c := wanted.Candidates[0]
	g := desired.Gated{Pod: c.Pod, Binding: shop[0], Since: t0, Targets: []target.Key{c.Key}}
	if change != nil {
		change(&g)
	}
	wanted.Gated = []desired.Gated{g}
	return wanted
}

// seen is a list of host 1, asked for at a time after t0.
func seen(health target.Health, after time.Duration, past Past) Observation {
	return Observation{
		Targets:  []target.Observed{{Target: target.Target{Key: key(1)}, Health: health}},
		ListedAt: t0.Add(after), Past: map[target.Key]Past{key(1): past},
	}
}

var (
	own     = Past{Pod: "uid-1", Accepted: t0.Add(time.Second), Fresh: true}
	reused  = Past{Pod: "uid-1", Accepted: t0.Add(time.Second)}
	another = Past{Pod: "uid-0", Accepted: t0.Add(-time.Hour), Fresh: true}

	isHealthy  = target.Health{State: target.Healthy}
	isChecking = target.Health{State: target.Initial, Reason: "Elb.InitialHealthChecking", Description: "in progress"}
	isDraining = target.Health{State: target.Draining, Reason: "Target.DeregistrationInProgress"}
)

// sick is past with the time when it was last seen not healthy.
func (p Past) sick(after time.Duration) Past {
	p.Sick = t0.Add(after)
	return p
}

const failsWithin = 70 * time.Second

func TestBehaviour22And27_AnswersToPodsThatWait(t *testing.T) {
	asked := func(reason target.Reason) desired.Wanted {
		return waits(func(g *desired.Gated) { g.Targets, g.Reason = nil, reason })
	}
	for _, c := range []struct {
		name   string
		wanted desired.Wanted
		have   Observation
		want   string
	}{
		{"healthy", waits(nil), seen(isHealthy, 2*time.Second, own), "open TargetHealthy"},
		{"checks under way", waits(nil), seen(isChecking, 2*time.Second, own), "closed Elb.InitialHealthChecking"},
		{"unhealthy", waits(nil), seen(target.Health{State: target.Unhealthy, Reason: "Target.Timeout"}, time.Minute, own), "closed Target.Timeout"},
		{"its address is of no use", waits(nil), seen(target.Health{State: target.Unused, Reason: "Target.IpUnusable"}, time.Minute, own), "closed Target.IpUnusable"},
		{"AWS does not know", waits(nil), seen(target.Health{State: target.Unavailable, Reason: "Elb.InternalError"}, time.Minute, own), "closed Elb.InternalError"},
		{"group not in use", waits(nil), seen(target.Health{State: target.Unused, Reason: "Target.NotInUse"}, time.Minute, own), "open TargetGroupNotInUse"},
		{"no health checks", waits(nil), seen(target.Health{State: target.Unavailable, Reason: "Target.HealthCheckDisabled"}, time.Minute, own), "open HealthCheckDisabled"},
		{"not registered yet", waits(nil), Observation{ListedAt: t0}, "closed Syncing"},
		{"earlier target draining", waits(nil), seen(isDraining, time.Second, another), "closed Syncing"},
		{"refused", waits(nil), Observation{Refused: map[target.Key]Refusal{key(1): {target.InvalidTarget, t0.Add(time.Minute)}}}, "closed InvalidTarget"},
		{"no room", waits(nil), Observation{FullUntil: t0.Add(time.Minute)}, "closed TooManyTargets"},
		{"binding being deleted", asked(target.BindingDeleted), Observation{}, "open BindingDeleted"},
		{"Service deleted", asked(target.ServiceDeleted), Observation{}, "open ServiceDeleted"},
		{"Service never seen", asked(target.ServiceNotFound), Observation{}, "closed ServiceNotFound"},
		{"no such port", asked(target.PortNotFound), Observation{}, "closed PortNotFound"},
		{"no endpoint", asked(target.NotAnEndpoint), Observation{}, "closed NotAnEndpoint"},
		{
			"two targets, one healthy", waits(func(g *desired.Gated) { g.Targets = append(g.Targets, key(2)) }),
			seen(isHealthy, 2*time.Second, own), "closed HealthUnconfirmed",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			expectGate(t, c.wanted, c.have, c.want)
		})
	}
}

func expectGate(t *testing.T, wanted desired.Wanted, have Observation, want string) {
	t.Helper()
	p := Make(wanted, have, Policy{FailsWithin: failsWithin}, t0)
	if len(p.Gates) != 1 {
		t.Fatalf("got %d gates", len(p.Gates))
	}
	if got := answered(p.Gates[0]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func answered(g Gate) string {
	word, reason := "closed", string(g.Reason)
	if g.Open {
		word = "open"
	}
	if reason == "" {
		reason = g.Health.Reason
	}
	return word + " " + reason
}

// From when on what is listed as healthy is the pod's own health.
func TestBehaviour28_FromWhenOnHealthIsThePodsOwn(t *testing.T) {
	const accepted = time.Second
	for _, c := range []struct {
		name   string
		reason string // of the gate's condition
		past   Past
		want   time.Duration // after t0
	}{
		{"registered where nothing was", "", own, accepted},
		{"registered again", "", reused, accepted + VisibleWithin + failsWithin},
		{"registered again, seen sick before", "", reused.sick(0), accepted + VisibleWithin + failsWithin},
		{"registered again, seen sick since", "", reused.sick(2 * time.Second), accepted + VisibleWithin},
		{"found registered for another", "", another, VisibleWithin + failsWithin},
		{"the same, seen sick since, but perhaps late", "", another.sick(9 * time.Second), VisibleWithin + failsWithin},
		{"the same, seen sick since", "", another.sick(30 * time.Second), 30 * time.Second},
		{"found registered, nobody knows for whom", "", Past{}, VisibleWithin + failsWithin},
		{"the condition says that it is its own", "Elb.RegistrationInProgress", Past{}, -time.Hour},
		{"the condition says that it was in doubt", string(target.HealthUnconfirmed), Past{}, VisibleWithin + failsWithin},
	} {
		t.Run(c.name, func(t *testing.T) {
			wanted := waits(func(g *desired.Gated) { g.Gate.Reason = c.reason })
			expectGate(t, wanted, seen(isHealthy, c.want, c.past), "open TargetHealthy")
			if c.want > 0 {
				expectGate(t, wanted, seen(isHealthy, c.want-1, c.past), "closed HealthUnconfirmed")
			}
		})
	}
}

// AWS's words in a condition prove to a later process that the health is the pod's
// own, so they must not be said earlier than that.
func TestBehaviour28_AWSsWordsAreSaidOfThePodsOwnTargetOnly(t *testing.T) {
	for _, past := range []Past{reused, another, {}} {
		expectGate(t, waits(nil), seen(isChecking, 2*time.Second, past), "closed HealthUnconfirmed")
		expectGate(t, waits(nil), seen(isChecking, 2*time.Minute, past), "closed Elb.InitialHealthChecking")
	}
	expectGate(t, waits(nil), seen(isChecking, 0, own), "closed Elb.InitialHealthChecking") // it was just registered
}

func anyGated() *rapid.Generator[[]desired.Gated] {
	return rapid.Custom(func(t *rapid.T) []desired.Gated {
		var list []desired.Gated
		for _, host := range anyHosts().Draw(t, "gated") {
			pod := candidate(host, 0, "").Pod
			g := desired.Gated{Pod: pod, Binding: shop[0], Since: anyMoment().Draw(t, "since")}
			g.Gate.Reason = rapid.SampledFrom([]string{"", "Elb.InitialHealthChecking", "HealthUnconfirmed"}).Draw(t, "says")
			for _, own := range anyHosts().Draw(t, "targets") {
				g.Targets = append(g.Targets, key(own))
			}
			list = append(list, g)
		}
		return list
	})
}

func anyPast() *rapid.Generator[map[target.Key]Past] {
	return rapid.Custom(func(t *rapid.T) map[target.Key]Past {
		all := map[target.Key]Past{}
		for _, host := range anyHosts().Draw(t, "known") {
			all[key(host)] = Past{
				Pod: fmt.Sprint("uid-", rapid.IntRange(0, hosts).Draw(t, "pod")), Accepted: anyMoment().Draw(t, "accepted"),
				Fresh: rapid.Bool().Draw(t, "fresh"), Sick: anyMoment().Draw(t, "sick"),
			}
		}
		return all
	})
}

// Whatever is known: a gate that opens by health does so for a target that is listed
// as healthy, whose present owner the pod is, by a list asked for since it is.
func TestBehaviour28_NoGateOpensByAnotherPodsHealth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		w.wanted.Gated, w.have.Past = anyGated().Draw(t, "gated"), anyPast().Draw(t, "past")
		w.have.ListedAt, w.policy.FailsWithin = anyMoment().Draw(t, "listed at"), failsWithin
		p := w.plan(t0)
		if len(p.Gates) != len(w.wanted.Gated) {
			t.Fatalf("%d answers to %d pods", len(p.Gates), len(w.wanted.Gated))
		}
		for _, g := range p.Gates {
			if !g.Open || g.Reason != target.TargetHealthy {
				continue
			}
			for _, k := range g.Targets {
				w.expectOwnHealth(t, g, k)
			}
		}
	})
}

func (w world) expectOwnHealth(t *rapid.T, g Gate, k target.Key) {
	state := target.State("")
	for _, observed := range w.have.Targets {
		if observed.Key == k {
			state = observed.Health.State
		}
	}
	owner := false
	for _, c := range w.wanted.Candidates {
		owner = owner || c.Key == k && c.Pod.UID == g.Pod.UID
	}
	past := w.have.Past[k]
	byOwnCall := past.Pod == g.Pod.UID && !w.have.ListedAt.Before(past.Accepted)
	byTime := past.Pod != g.Pod.UID && !w.have.ListedAt.Before(g.Since)
	if state != target.Healthy || !owner || !byOwnCall && !byTime && !InAWSWords(g.Gate.Reason) {
		t.Errorf("%+v opened by %v in state %q, owner %v, past %+v, listed at %v", g, k, state, owner, past, w.have.ListedAt)
	}
}

func TestBehaviour14_OrderMakesNoDifferenceToGates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		w.wanted.Gated, w.have.Past = anyGated().Draw(t, "gated"), anyPast().Draw(t, "past")
		first := w.plan(t0).Gates
		w.have.Targets = rapid.Permutation(w.have.Targets).Draw(t, "targets")
		w.wanted.Candidates = rapid.Permutation(w.wanted.Candidates).Draw(t, "candidates")
		if second := w.plan(t0).Gates; !reflect.DeepEqual(first, second) {
			t.Errorf("first:  %+v\nsecond: %+v", first, second)
		}
	})
}
