package elb

import (
	"net/netip"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at80(text string) target.Key { return target.Key{Addr: netip.MustParseAddr(text), Port: 80} }

func changes(texts ...string) []plan.Change {
	var list []plan.Change
	for _, text := range texts {
		list = append(list, plan.Change{Target: target.Target{Key: at80(text)}})
	}
	return list
}

func shown(state target.State, text string) []target.Observed {
	return []target.Observed{{Target: target.Target{Key: at80(text)}, Health: target.Health{State: state}}}
}

func TestNamesFindsTheTargetInAWSsWords(t *testing.T) {
	for _, c := range []struct {
		message, addr string
		want          bool
	}{
		{"The IP address '10.0.0.1' is not valid", "10.0.0.1", true},
		{"The IP address '10.0.0.1' is not valid", "10.0.0.11", false},
		{"The IP address '10.0.0.11' is not valid", "10.0.0.1", false},
		{"Not within the VPC: 10.0.0.1, 10.0.0.2.", "10.0.0.2", true},
		{"The target '10.0.0.1:80' is deregistering", "10.0.0.1", true},
		{"The target '10.0.0.1:8080' is deregistering", "10.0.0.1", false},
		{"Target [2001:db8::1]:80 is bad", "2001:db8::1", true},
		{"Target 2001:db8::1 is bad", "2001:db8::1", true},
		{"Target 2001:db8::1: bad", "2001:db8::1", true},
		{"Target 2001:db8::12 is bad", "2001:db8::1", false},
		{"One or more targets are bad", "10.0.0.1", false},
		{"", "10.0.0.1", false},
	} {
		if got := names(c.message, at80(c.addr)); got != c.want {
			t.Errorf("%q names %s: got %v, want %v", c.message, c.addr, got, c.want)
		}
	}
}

// What a mirror shows of a target that was registered or deregistered at t0, after
// a list that was asked for later.
func TestOurCallsAreBelievedForAWhile(t *testing.T) {
	const absent = target.State("")
	for _, c := range []struct {
		name       string
		registered bool
		listed     target.State
		after      time.Duration
		want       target.State
	}{
		{"registered, list asked for before", true, absent, -time.Second, target.Initial},
		{"registered, list lags", true, absent, time.Second, target.Initial},
		{"registered, list lags and shows the old life", true, target.Draining, time.Second, target.Initial},
		{"registered, list knows", true, target.Healthy, time.Second, target.Healthy},
		{"registered, somebody else removed it", true, absent, plan.VisibleWithin + time.Second, absent},
		{"registered, somebody else deregistered it", true, target.Draining, plan.VisibleWithin + time.Second, target.Draining},
		{"deregistered, list asked for before", false, target.Healthy, -time.Second, target.Draining},
		{"deregistered, list lags", false, target.Healthy, time.Second, target.Draining},
		{"deregistered, list knows", false, target.Draining, time.Second, target.Draining},
		{"deregistered, gone", false, absent, time.Second, absent},
		{"deregistered, somebody else registered it", false, target.Healthy, plan.VisibleWithin + time.Second, target.Healthy},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMirror(target.Set{})
			if c.registered {
				m.registered(changes("10.0.0.1"), t0)
			} else {
				m.deregistered(changes("10.0.0.1"), t0)
			}
			var list []target.Observed
			if c.listed != absent {
				list = shown(c.listed, "10.0.0.1")
			}
			m.observe(list, t0.Add(c.after))
			if got := m.listed[at80("10.0.0.1")].Health.State; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A call whose reply was lost is no longer believed, whatever was called before.
func TestLostReplyIsNotBelieved(t *testing.T) {
	m := newMirror(target.Set{})
	m.registered(changes("10.0.0.1"), t0)
	m.failed(Deregister, changes("10.0.0.1"), &Error{Kind: Unreachable}, t0.Add(time.Second))
	m.observe(nil, t0.Add(2*time.Second))
	if _, listed := m.listed[at80("10.0.0.1")]; listed {
		t.Error("the target is shown as registered although a later call may have removed it")
	}
	if !m.observation().Uncertain.Has(at80("10.0.0.1")) {
		t.Error("the target is not uncertain")
	}
	m.deregistered(changes("10.0.0.1"), t0.Add(3*time.Second))
	if m.observation().Uncertain.Len() != 0 {
		t.Error("the target is uncertain after a call about it was accepted")
	}
}

func TestCallsThatCannotHaveHadAnEffectLeaveNoDoubt(t *testing.T) {
	for _, kind := range []Kind{Throttled, AccessDenied, CredentialsInvalid, InvalidTarget, InvalidRequest, ZoneRequired, TooManyTargets} {
		m := newMirror(target.Set{})
		m.failed(Register, changes("10.0.0.1", "10.0.0.2"), &Error{Kind: kind}, t0)
		if n := m.observation().Uncertain.Len(); n != 0 {
			t.Errorf("%s: %d targets are uncertain", kind, n)
		}
	}
}

func TestNamedTargetIsRefusedAlone(t *testing.T) {
	m := newMirror(target.Set{})
	m.failed(Register, changes("10.0.0.1", "10.0.0.2"), &Error{Kind: InvalidTarget, Message: "'10.0.0.2' is bad"}, t0)
	refused := m.observation().Refused
	if len(refused) != 1 || refused[at80("10.0.0.2")].Reason != target.InvalidTarget {
		t.Errorf("refused are %v, want the one named", refused)
	}
	if m.perCall[Register] != MaxTargetsPerCall {
		t.Errorf("calls carry %d targets from here on, want them full", m.perCall[Register])
	}
}

func TestCallSizeHalvesAndGrows(t *testing.T) {
	m := newMirror(target.Set{})
	bad := &Error{Kind: InvalidTarget, Message: "one is bad"}
	m.failed(Register, changes("10.0.0.1", "10.0.0.2", "10.0.0.3"), bad, t0)
	if m.perCall != [writes]int{1, MaxTargetsPerCall} {
		t.Errorf("calls carry %v, want 1 to register and full ones to deregister", m.perCall)
	}
	m.deregistered(changes("10.0.0.9"), t0)
	if m.perCall[Register] != 1 {
		t.Errorf("a deregistration made registrations carry %d", m.perCall[Register])
	}
	for range 10 {
		m.registered(changes("10.0.0.1"), t0)
	}
	if m.perCall[Register] != MaxTargetsPerCall {
		t.Errorf("calls carry %d after successes, want full ones", m.perCall[Register])
	}
}

func TestRefusedIsForgottenWhenNotAskedForAnyMore(t *testing.T) {
	m := newMirror(target.Set{})
	bad := &Error{Kind: InvalidTarget}
	m.failed(Register, changes("10.0.0.1"), bad, t0)
	m.failed(Deregister, changes("10.0.0.2"), bad, t0)
	m.settle(plan.Plan{LeftOut: changes("10.0.0.1"), Deregister: changes("10.0.0.2")})
	if len(m.refused[Register]) != 1 || len(m.refused[Deregister]) != 1 {
		t.Errorf("refused are %v, want both while they are asked for", m.refused)
	}
	m.settle(plan.Plan{})
	if len(m.refused[Register])+len(m.refused[Deregister]) != 0 {
		t.Errorf("refused are %v, want none", m.refused)
	}
}

func TestFullGroupIsTriedWhenATargetLeaves(t *testing.T) {
	m := newMirror(target.Set{})
	m.failed(Register, changes("10.0.0.1"), &Error{Kind: TooManyTargets}, t0)
	if want := t0.Add(fullFor); !m.observation().FullUntil.Equal(want) {
		t.Errorf("full until %v, want %v", m.observation().FullUntil, want)
	}
	m.deregistered(changes("10.0.0.2"), t0)
	if !m.observation().FullUntil.IsZero() {
		t.Error("the group still counts as full")
	}
}

func TestOursFollowsThePlan(t *testing.T) {
	m := newMirror(target.SetOf(at80("10.0.0.1"), at80("10.0.0.2"), at80("10.0.0.3"), at80("10.0.0.4")))
	m.settle(plan.Plan{Stay: changes("10.0.0.9"), Register: changes("10.0.0.1", "10.0.0.8"), Deregister: changes("10.0.0.2"), Held: changes("10.0.0.3", "10.0.0.7")})
	want := target.SetOf(at80("10.0.0.1"), at80("10.0.0.2"), at80("10.0.0.3"), at80("10.0.0.9"))
	if m.ours.Len() != want.Len() || m.ours.Minus(want).Len() != 0 {
		t.Errorf("ours are %v, want %v", m.ours.Keys(), want.Keys())
	}
}

func TestPauses(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		n    int
		want time.Duration
	}{
		{Throttled, 1, 0},
		{Throttled, 100, 0},
		{InvalidTarget, searching, 0},
		{InvalidTarget, searching + 1, 2 * time.Second},
		{ZoneRequired, 100, 0},
		{AccessDenied, 1, 10 * time.Second},
		{GroupNotFound, 2, 20 * time.Second},
		{CredentialsInvalid, 1000, 2 * time.Minute},
		{Unreachable, 1, 500 * time.Millisecond},
		{Unavailable, 1000, 30 * time.Second},
		{"Unheard of", 3, 2 * time.Second},
	} {
		if got := pause(c.kind, c.n); got != c.want {
			t.Errorf("%s, failure %d: got %v, want %v", c.kind, c.n, got, c.want)
		}
	}
}

func TestEarlier(t *testing.T) {
	never, soon, late := time.Time{}, t0, t0.Add(time.Hour)
	for _, c := range [][3]time.Time{{never, never, never}, {never, soon, soon}, {soon, never, soon}, {soon, late, soon}, {late, soon, soon}} {
		if got := earlier(c[0], c[1]); !got.Equal(c[2]) {
			t.Errorf("earlier of %v and %v: got %v, want %v", c[0], c[1], got, c[2])
		}
	}
}

func TestJitterStaysWithinAFifth(t *testing.T) {
	for range 1000 {
		if got := jitter(time.Minute); got < 48*time.Second || got > time.Minute {
			t.Fatalf("got %v, want 48s to 1m", got)
		}
	}
	if got := jitter(0); got != 0 {
		t.Errorf("jitter of nothing is %v", got)
	}
}
