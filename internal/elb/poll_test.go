package elb_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// registering makes targets stay in Elb.RegistrationInProgress for so long.
func registering(d time.Duration) func(*elbsim.Settings) {
	return func(s *elbsim.Settings) { s.ALBRegistration = elbsim.Duration(d) }
}

func TestBehaviour30_GateIsOpenOnePollAfterHealthy(t *testing.T) {
	for _, takes := range []time.Duration{1500 * time.Millisecond, 4500 * time.Millisecond, 7800 * time.Millisecond} {
		t.Run(fmt.Sprint(takes), func(t *testing.T) {
			bubble(t, rigging{check: elbsim.AlwaysPass, settings: registering(takes)}, func(r *rig) {
				r.gated(1, "a")
				r.pass(time.Minute)
				if late := r.openAfter("a") - takes; late < 0 || late > time.Second {
					t.Errorf("the gate was opened %v after the target was healthy, want a second at most", late)
				}
				if n := len(r.calls(lists)); n > 2+int(takes/time.Second)+4 {
					t.Errorf("%d lists were asked for in a minute, want them to end with the wait", n)
				}
			})
		})
	}
}

// One that takes long is looked at ever more seldom, and the second one when the
// first took as long.
func TestBehaviour30_PollsAreSpacedByNeed(t *testing.T) {
	const takes = 100 * time.Second
	bubble(t, rigging{check: elbsim.AlwaysPass, settings: registering(takes)}, func(r *rig) {
		r.gated(1, "a")
		r.pass(3 * time.Minute)
		first := len(r.calls(lists))
		if late := r.openAfter("a") - takes; late < 0 || late > takes/8 || first > 40 {
			t.Errorf("first: opened %v late after %d lists, want an eighth of the wait at most, and 40 lists", late, first)
		}
		begun := time.Since(r.begin)
		r.gated(2, "b")
		r.pass(3 * time.Minute)
		if late := r.openAfter("b") - begun - takes; late < 0 || late > time.Second {
			t.Errorf("second: opened %v late, want a second at most", late)
		}
		if n := len(r.calls(lists)) - first; n > 80 {
			t.Errorf("second: %d lists, want 80 at most", n)
		}
	})
}

func TestGroupsWithoutWaitingGatesAreSweptOnly(t *testing.T) {
	limits := ample
	limits.Describe = pace.Limit{Capacity: 40, Refill: 0.01}
	bubble(t, rigging{limits: limits, check: elbsim.AlwaysPass, settings: registering(2 * time.Second)}, func(r *rig) {
		for r.budget.Left().Describe.Tokens > 9 { // a sweep leaves 10, a poll 6
			if err := r.budget.Take(context.Background(), pace.Describe, pace.Terminating); err != nil {
				t.Fatal(err)
			}
		}
		r.want(1)
		r.pass(time.Minute)
		r.expectCalls(lists, "0s  OK")
	})
}

// One list tells of all pods that wait.
func TestOneListForAllPodsThatWait(t *testing.T) {
	bubble(t, rigging{check: elbsim.AlwaysPass, settings: registering(2500 * time.Millisecond)}, func(r *rig) {
		for host := range 50 {
			r.gated(host+1, fmt.Sprint(host))
		}
		r.pass(time.Minute)
		if n := len(r.calls(lists)); n > 8 || r.openAfter("49") == 0 {
			t.Errorf("%d lists, the last gate open after %v, want 8 at most and all open", n, r.openAfter("49"))
		}
	})
}

// failing makes the health checks of host 1 fail once broken is set.
func failing(broken *atomic.Bool) elbsim.CheckFunc {
	return func(_ context.Context, check model.Check) model.CheckResult {
		result := model.CheckResult{ID: check.ID}
		if broken.Load() && hostOf(check.ID.Key) == 1 {
			result.Outcome = model.CannotAnswer
		}
		return result
	}
}

func once(kind elbsim.FaultKind, action string) elbsim.Fault {
	return elbsim.Fault{Action: action, Kind: kind, Count: 1, Duration: elbsim.Duration(5 * time.Second)}
}

// aware is the policy for a group that is checked as AWS does by default.
func aware() plan.Policy { return plan.Policy{FailsWithin: target.HealthCheck{}.FailsWithin()} }

// A pod gets the address of one that is gone, in all states in which the old target
// can be. The new pod never answers its health checks, so its gate must stay closed
// for as long as it waits.
func TestBehaviour28_HealthOfAnEarlierPodOpensNoGate(t *testing.T) {
	for name, between := range map[string]func(*rig){
		"still registered":      func(*rig) {},
		"being deregistered":    func(r *rig) { r.fault(once(elbsim.FaultHang, deregisters)); r.forget(1) },
		"draining":              func(r *rig) { r.forget(1); r.pass(3 * time.Second) },
		"reply lost":            func(r *rig) { r.fault(once(elbsim.FaultLose, deregisters)); r.forget(1); r.pass(time.Second) },
		"registration's lost":   func(r *rig) { r.forget(1); r.pass(time.Second); r.fault(once(elbsim.FaultLose, registers)) },
		"gone":                  func(r *rig) { r.forget(1); r.pass(10 * time.Minute) },
		"terminating, then not": func(r *rig) { r.leave(1) },
	} {
		for _, lag := range []time.Duration{0, 3 * time.Second} {
			t.Run(fmt.Sprint(name, " lag ", lag), func(t *testing.T) {
				var sick atomic.Bool
				bubble(t, rigging{policy: aware(), wanted: []int{2}, check: failing(&sick), settings: func(s *elbsim.Settings) { s.VisibilityLag = elbsim.Duration(lag) }}, func(r *rig) {
					r.gated(1, "old")
					r.pass(time.Minute)
					if r.openAfter("old") == 0 {
						t.Fatal("the old pod's gate was not opened")
					}
					sick.Store(true)
					between(r)
					r.gated(1, "new")
					r.pass(30 * time.Minute)
					if at := r.openAfter("new"); at != 0 {
						t.Errorf("the gate was opened after %v for a pod that was never healthy", at)
					}
				})
			})
		}
	}
}

// The same with a new pod that serves: it is not stuck.
func TestBehaviour28_GateOnAReusedAddressOpensByItsOwnHealth(t *testing.T) {
	for name, between := range map[string]func(*rig){
		"still registered": func(*rig) {},
		"draining":         func(r *rig) { r.forget(1); r.pass(3 * time.Second) },
		"gone":             func(r *rig) { r.forget(1); r.pass(10 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			most := map[string]time.Duration{"still registered": 100 * time.Second, "draining": 15 * time.Second, "gone": 3 * time.Second}[name]
			bubble(t, rigging{policy: aware(), wanted: []int{2}, check: elbsim.AlwaysPass, settings: registering(time.Second)}, func(r *rig) {
				r.gated(1, "old")
				r.pass(time.Minute)
				between(r)
				begun := time.Since(r.begin)
				r.gated(1, "new")
				r.pass(10 * time.Minute)
				if took := r.openAfter("new") - begun; took < 0 || took > most {
					t.Errorf("the gate was opened after %v, want %v at most", took, most)
				}
			})
		})
	}
}

// A new process finds a target healthy and a gate closed.
func TestBehaviour28_RestartWhileAPodWaits(t *testing.T) {
	for _, c := range []struct {
		name   string
		reason string        // of the gate's condition
		ready  time.Duration // before the restart
		most   time.Duration
	}{
		{"its condition tells that it is its own", "Elb.InitialHealthChecking", time.Second, 0},
		{"nothing was written yet", "", time.Second, 90 * time.Second},
		{"ready for long", "", 5 * time.Minute, 0},
		{"in doubt before", string(target.HealthUnconfirmed), time.Second, 90 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, rigging{policy: aware(), targets: []string{"10.0.0.1:80"}, check: elbsim.AlwaysPass, unknown: true, settings: registering(0)}, func(r *rig) {
				r.pass(time.Second)
				r.mu.Lock()
				r.unknown = false
				r.mu.Unlock()
				r.set(desired.Want, target.GatePending, 1)
				r.gated(1, "a")
				r.mu.Lock()
				g := desired.Gated{Pod: desired.PodRef{Namespace: "shop", Name: "a", UID: "a"}, Since: time.Now().Add(-c.ready), Targets: []target.Key{key(1)}}
				g.Gate.Reason = c.reason
				r.waiting["a"] = g
				r.mu.Unlock()
				begun := time.Since(r.begin)
				r.rouse()
				r.pass(10 * time.Minute)
				took := r.openAfter("a") - begun
				if c.most == 0 && took > 0 || took < 0 || took > c.most || c.most > 0 && took < time.Minute {
					t.Errorf("the gate was opened after %v, want %v at most", took, c.most)
				}
			})
		})
	}
}

// Twenty groups share the documented budget, and five pods of each come within five
// seconds, all of them twice: the second time it is known how long it takes. Time is
// virtual, so the figures depend on nothing but the rules.
func TestBehaviour30_ManyGroupsShareTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := pace.New(pace.Documented())
		var rigs []*rig
		for range 20 {
			r := newRig(t, rigging{budget: budget, check: elbsim.AlwaysPass, settings: registering(3 * time.Second)})
			defer r.shutdown()
			rigs = append(rigs, r)
		}
		for wave, aim := range []struct{ median, most time.Duration }{{time.Second, 3500 * time.Millisecond}, {750 * time.Millisecond, 1500 * time.Millisecond}} {
			time.Sleep(time.Minute)
			for pod := range 5 {
				for i, r := range rigs {
					r.gated(10*wave+pod+1, fmt.Sprint(wave, "-", pod))
					time.Sleep(time.Duration(30+i) * time.Millisecond)
				}
			}
			time.Sleep(time.Minute)
			late := latenesses(rigs, wave)
			t.Logf("wave %d: median %v, 99th of 100 %v, lists %d", wave+1, late[49], late[98], listsOf(rigs))
			if len(late) != 100 || late[49] > aim.median || late[98] > aim.most {
				t.Errorf("wave %d: %d gates open, median %v, 99th %v, want %v", wave+1, len(late), late[49], late[98], aim)
			}
		}
	})
}

// latenesses are how long after their targets were healthy the gates of a wave were
// opened, in order.
func latenesses(rigs []*rig, wave int) []time.Duration {
	var late []time.Duration
	for _, r := range rigs {
		for _, listed := range r.sim.Groups()[0].Targets {
			k, pod := mustParse(listed.Target), 0
			if pod = hostOf(k) - 10*wave - 1; pod < 0 || pod >= 5 {
				continue
			}
			late = append(late, r.begin.Add(r.openAfter(fmt.Sprint(wave, "-", pod))).Sub(listed.Since))
		}
	}
	slices.Sort(late)
	return late
}

func mustParse(text string) target.Key {
	key, err := target.ParseKey(text)
	if err != nil {
		panic(err)
	}
	return key
}

func listsOf(rigs []*rig) int {
	n := 0
	for _, r := range rigs {
		n += len(r.calls(lists))
	}
	return n
}
