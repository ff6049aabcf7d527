package elb_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const (
	registers   = "RegisterTargets"
	deregisters = "DeregisterTargets"
	lists       = "DescribeTargetHealth"
)

func TestBehaviour11_OneCallEachWay(t *testing.T) {
	bubble(t, rigging{targets: []string{"10.0.0.9:80"}, ours: target.SetOf(key(9))}, func(r *rig) {
		r.want(1, 2, 3)
		r.leave(3)
		r.expectIn(1, 2)
		r.expectCalls(registers, "0s 1,2,3 OK")
		r.expectCalls(deregisters, "0s 9 OK", "0s 3 OK")
		r.expectSynced()
	})
}

func TestRule3_HangingRegisterDoesNotDelayDeregister(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(1, 2)
		r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultHang, Count: 1})
		r.pass(time.Second)
		r.want(3)
		r.pass(time.Second)
		r.leave(1)
		r.expectCalls(deregisters, "2s 1 OK")
		r.pass(time.Minute)
		r.expectIn(2, 3)
		r.expectCalls(registers, "0s 1,2 OK", "1s 3 NoReply", "11.5s 3 OK")
		r.expectSynced()
	})
}

func TestRule3_HangingDeregisterDoesNotDelayRegister(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(1)
		r.fault(elbsim.Fault{Action: deregisters, Kind: elbsim.FaultHang, Count: 1})
		r.leave(1)
		r.want(2)
		r.expectCalls(registers, "0s 1 OK", "0s 2 OK")
		r.pass(time.Minute)
		r.expectIn(2)
	})
}

// Where one call does not hold all, those that are about to stop serving go first.
func TestRule3_TerminatingPodsGoFirst(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(span(1, 6)...)
		r.fault(elbsim.Fault{Action: deregisters, Kind: elbsim.FaultFail, Code: "InvalidTarget", Message: "one is bad", Count: 1})
		r.mu.Lock()
		for host, reason := range map[int]target.Reason{1: target.PodNotReady, 2: target.PodNotReady, 3: target.PodTerminating, 4: target.PodGone} {
			r.wanted[key(host)] = desired.Candidate{Key: key(host), Verdict: desired.Leave, Reason: reason}
		}
		r.mu.Unlock()
		r.rouse()
		r.expectCalls(deregisters, "0s 1,2,3,4 InvalidTarget", "0s 3,4 OK", "0s 1,2 OK")
	})
}

// A failing op keeps its own pace; the other one's is not touched.
func TestRule3_FailingRegisterDoesNotDelayDeregister(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(1, 2)
		r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultFail, Code: "AccessDenied"})
		r.want(3)
		r.pass(time.Second)
		r.leave(1)
		r.expectCalls(deregisters, "1s 1 OK")
		r.expectFailures("RegisterTargets AccessDenied")
	})
}

func TestRule2_CallThatWaitedCarriesWhatChangedMeanwhile(t *testing.T) {
	bubble(t, rigging{limits: scarce(1)}, func(r *rig) {
		r.want(1)
		r.want(2) // no token is left for this one: a registration leaves a part of the bucket
		r.pass(time.Second)
		r.want(3, 4)
		r.pass(time.Second)
		r.forget(2)
		r.pass(time.Minute)
		r.expectIn(1, 3, 4)
		if got := r.calls(registers); len(got) != 2 || !strings.HasSuffix(got[1], " 3,4 OK") {
			t.Errorf("got %q, want a second call with 3 and 4", got)
		}
	})
}

func TestRule2_TokenIsReturnedWhenNothingIsDueAnyMore(t *testing.T) {
	bubble(t, rigging{limits: scarce(1)}, func(r *rig) {
		r.want(1)
		r.want(2)
		r.pass(time.Second)
		r.forget(2)
		r.pass(9 * time.Second) // just now the token comes
		r.expectCalls(registers, "0s 1 OK")
		if left := r.budget.Left().Registration.Tokens; left < 0.99 {
			t.Errorf("%.2f tokens are left, want 1", left)
		}
	})
}

// Of 20 tokens a plain registration leaves 2, a terminating pod none. A lane that
// waits as the former is served as the latter when such a pod comes up.
func TestRule3_UrgencyGrowsDuringTheWait(t *testing.T) {
	bubble(t, rigging{limits: scarce(20)}, func(r *rig) {
		r.want(1, 2, 3)
		for range 18 { // of 19 left
			if err := r.budget.Take(context.Background(), pace.Registration, pace.Terminating); err != nil {
				t.Fatal(err)
			}
		}
		r.set(desired.Leave, target.PodNotReady, 1)
		r.pass(time.Second)
		r.expectCalls(deregisters)
		r.leave(2)
		r.expectCalls(deregisters, "1s 1,2 OK")
	})
}

// A sweep that waits behind all others turns into a poll when a pod waits at a gate.
func TestRule3_WaitingSweepTurnsIntoPoll(t *testing.T) {
	limits := ample
	limits.Describe = pace.Limit{Capacity: 40, Refill: 0.01}
	bubble(t, rigging{limits: limits, sweep: 10 * time.Second}, func(r *rig) {
		for r.budget.Left().Describe.Tokens > 9 { // a sweep leaves 10, a poll 6
			if err := r.budget.Take(context.Background(), pace.Describe, pace.Terminating); err != nil {
				t.Fatal(err)
			}
		}
		r.pass(11 * time.Second)
		r.expectCalls(lists, "0s  OK")
		r.gated(1, "a")
		r.expectCalls(lists, "0s  OK", "11s  OK")
	})
}

func TestBehaviour13_ManyTargetsGoInFullCalls(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(span(1, 450)...)
		r.expectCalls(registers, "0s n=200 OK", "0s n=200 OK", "0s n=50 OK")
		r.leave(span(1, 401)...)
		r.expectCalls(deregisters, "0s n=200 OK", "0s n=200 OK", "0s 401 OK")
		r.expectIn(span(402, 450)...)
	})
}

func TestBehaviour13_FailedChunkLeavesTheOthersDone(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultFail, Code: "InternalFailure", Nth: 2, Count: 1})
		r.want(span(1, 450)...)
		r.expectIn(span(1, 200)...)
		r.pass(time.Second)
		r.expectIn(span(1, 450)...)
		r.expectCalls(registers, "0s n=200 OK", "0s n=200 InternalFailure", "500ms n=200 OK", "500ms n=50 OK")
	})
}

func TestBehaviour15_LostReplyOfRegister(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.pass(time.Second)
		r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultLose, Count: 1})
		r.want(1)
		if !r.round().Busy {
			t.Error("a call whose reply was lost does not keep the group busy")
		}
		r.pass(time.Minute)
		r.expectIn(1)
		r.expectCalls(registers, "1s 1 NoReply", "1.5s 1 OK")
		r.expectSynced()
	})
}

// The call was applied, nobody knows, and the pod goes: the target must not stay.
func TestBehaviour15_LostReplyOfRegisterAndThePodGoes(t *testing.T) {
	for name, goes := range map[string]func(*rig){
		"terminating":   func(r *rig) { r.leave(1) },
		"gone at once":  func(r *rig) { r.forget(1) },
		"not ready":     func(r *rig) { r.set(desired.Leave, target.PodNotReady, 1) },
		"gone at last":  func(r *rig) { r.leave(1); r.forget(1) },
		"back and gone": func(r *rig) { r.leave(1); r.want(1); r.forget(1) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, rigging{}, func(r *rig) {
				r.want(7, 8)
				r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultLose, Count: 1})
				r.want(1)
				r.expectIn(1, 7, 8)
				goes(r)
				r.pass(time.Minute)
				r.expectIn(7, 8)
				r.expectSynced()
			})
		})
	}
}

func TestBehaviour15_LostReplyOfDeregister(t *testing.T) {
	for name, kind := range map[string]elbsim.FaultKind{"applied": elbsim.FaultLose, "not applied": elbsim.FaultDrop} {
		t.Run(name, func(t *testing.T) {
			bubble(t, rigging{}, func(r *rig) {
				r.want(1, 2)
				r.fault(elbsim.Fault{Action: deregisters, Kind: kind, Count: 1})
				r.pass(time.Second)
				r.leave(1)
				r.pass(time.Minute)
				r.expectIn(2)
				r.expectCalls(deregisters, "1s 1 NoReply", "1.5s 1 OK")
			})
		})
		t.Run(name+", and the pod is wanted again", func(t *testing.T) {
			bubble(t, rigging{}, func(r *rig) {
				r.want(1, 2)
				r.fault(elbsim.Fault{Action: deregisters, Kind: kind, Count: 1})
				r.leave(1)
				r.want(1)
				r.pass(time.Minute)
				r.expectIn(1, 2)
				r.expectSynced()
			})
		})
	}
}

// The opposite calls of one target must not race: the later waits for the earlier,
// and does not ask for its turn over and over meanwhile.
func TestOppositeCallsOfATargetDoNotOvertake(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(7, 8)
		r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultLose, Count: 1})
		r.want(1) // in doubt from here on
		r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultHang, Duration: elbsim.Duration(5 * time.Second), Count: 1})
		r.pass(time.Second) // the repetition hangs
		r.leave(1)
		r.expectCalls(deregisters)
		r.pass(10 * time.Second)
		r.expectCalls(deregisters, "5.5s 1 OK")
		r.expectIn(7, 8)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.steps > 100 {
			t.Errorf("%d steps for a few calls", r.steps)
		}
	})
}

// picky refuses some targets without saying which, as AWS may.
type picky struct {
	elb.Client
	op   string
	bad  []int
	code string
	kind elb.Kind
}

func (p picky) RegisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	if err := p.refuse(registers, targets); err != nil {
		return err
	}
	return p.Client.RegisterTargets(ctx, group, targets)
}

func (p picky) DeregisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	if err := p.refuse(deregisters, targets); err != nil {
		return err
	}
	return p.Client.DeregisterTargets(ctx, group, targets)
}

func (p picky) refuse(op string, targets []target.Target) error {
	for _, t := range targets {
		if op == p.op && slices.Contains(p.bad, hostOf(t.Key)) {
			return &elb.Error{Op: op, Kind: p.kind, Code: p.code, Message: "One or more targets are not valid"}
		}
	}
	return nil
}

// counted counts the calls of an op, those that a picky client refuses included.
type counted struct {
	elb.Client
	registers, deregisters *int
}

func (c counted) RegisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	*c.registers++
	return c.Client.RegisterTargets(ctx, group, targets)
}

func (c counted) DeregisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	*c.deregisters++
	return c.Client.DeregisterTargets(ctx, group, targets)
}

func TestBehaviour11_BadTargetIsFoundAmongMany(t *testing.T) {
	var in, out int
	client := func(c elb.Client) elb.Client {
		return counted{picky{c, registers, []int{77}, "InvalidTarget", elb.InvalidTarget}, &in, &out}
	}
	bubble(t, rigging{client: client}, func(r *rig) {
		r.want(span(1, 200)...)
		r.expectIn(slices.Delete(span(1, 200), 76, 77)...)
		if left := r.round().Plan.LeftOut; len(left) != 1 || left[0].Key != key(77) || left[0].Reason != target.InvalidTarget {
			t.Errorf("left out are %+v, want host 77 as InvalidTarget", left)
		}
		r.expectFailures() // the plan tells which target is left out, and why
		if in > 30 {
			t.Errorf("%d calls to find one bad target among 200", in)
		}
	})
}

func TestBehaviour11_BadTargetIsTriedEverMoreSeldom(t *testing.T) {
	var in, out int
	client := func(c elb.Client) elb.Client {
		return counted{picky{c, registers, []int{1}, "InvalidTarget", elb.InvalidTarget}, &in, &out}
	}
	bubble(t, rigging{client: client}, func(r *rig) {
		r.want(1)
		r.pass(10 * time.Minute)
		if in < 10 || in > 16 {
			t.Errorf("%d calls in ten minutes, want 4 s, 8 s ... between them and a minute at most", in)
		}
	})
}

// A group that takes no target at all must leave the account's budget to others.
func TestRule4_GroupThatTakesNothingLeavesTheBudgetAlone(t *testing.T) {
	var in, out int
	client := func(c elb.Client) elb.Client {
		return counted{picky{c, registers, span(1, 100), "ValidationError", elb.InvalidRequest}, &in, &out}
	}
	bubble(t, rigging{client: client}, func(r *rig) {
		r.want(span(1, 100)...)
		r.pass(time.Minute)
		if in > 45 {
			t.Errorf("%d calls in a minute", in)
		}
	})
}

// What AWS will not let go must neither spend the budget of the account nor keep
// others from leaving.
func TestRule4_RefusedDeregistrationBacksOffAlone(t *testing.T) {
	var in, out int
	client := func(c elb.Client) elb.Client {
		return counted{picky{c, deregisters, []int{1}, "InvalidTarget", elb.InvalidTarget}, &in, &out}
	}
	bubble(t, rigging{client: client}, func(r *rig) {
		r.want(1, 2, 3, 4)
		r.leave(1, 2, 3)
		r.expectIn(1, 4)
		r.pass(time.Minute)
		r.leave(4)
		r.expectIn(1)
		if out > 20 {
			t.Errorf("%d calls in a minute", out)
		}
		if round := r.round(); len(round.Plan.Deregister) != 1 {
			t.Errorf("to deregister are %d, want the one that AWS refuses", len(round.Plan.Deregister))
		}
	})
}

func TestRule3_BadTargetDoesNotSplitDeregistrations(t *testing.T) {
	var in, out int
	client := func(c elb.Client) elb.Client {
		return counted{picky{c, registers, []int{201, 202}, "InvalidTarget", elb.InvalidTarget}, &in, &out}
	}
	bubble(t, rigging{client: client}, func(r *rig) {
		r.want(span(1, 100)...)
		r.want(201, 202)
		r.leave(span(1, 50)...)
		if out != 1 {
			t.Errorf("50 targets left in %d calls, want 1", out)
		}
	})
}

func TestBehaviour16_AtTheQuotaRegistersWhatFits(t *testing.T) {
	quota := func(s *elbsim.Settings) { s.Quotas.TargetsPerGroup = 10 }
	bubble(t, rigging{settings: quota}, func(r *rig) {
		r.want(span(1, 8)...)
		r.want(span(9, 13)...)
		r.expectIn(span(1, 10)...)
		left := r.round().Plan.LeftOut
		if len(left) != 3 || left[0].Reason != target.TooManyTargets {
			t.Errorf("left out are %+v, want three as TooManyTargets", left)
		}
		before := len(r.calls(registers))
		r.pass(5 * time.Minute)
		if more := len(r.calls(registers)) - before; more > 6 {
			t.Errorf("%d vain calls in five minutes", more)
		}
		r.expectFailures()
		r.leave(1, 2)
		r.expectIn(span(3, 12)...)
	})
}

// One target that is in too many groups says nothing about the room in its group.
func TestTargetInTooManyGroupsDoesNotStopOthers(t *testing.T) {
	client := func(c elb.Client) elb.Client {
		return picky{c, registers, []int{1}, "TooManyRegistrationsForTargetId", elb.TooManyTargets}
	}
	bubble(t, rigging{client: client}, func(r *rig) {
		r.want(1, 2, 3)
		r.expectIn(2, 3)
		if left := r.round().Plan.LeftOut; len(left) != 1 || left[0].Key != key(1) {
			t.Errorf("left out are %+v, want host 1", left)
		}
	})
}

func TestBehaviour19_ZoneIsLearntAndRemembered(t *testing.T) {
	vpc := func(s *elbsim.Settings) { s.VPCs[""] = s.VPCs[""][1:] } // 10/8 lies outside now
	bubble(t, rigging{settings: vpc}, func(r *rig) {
		r.want(1, 2)
		r.expectIn(1, 2)
		learning := len(r.calls(registers))
		r.leave(1)
		r.pass(time.Minute)
		r.want(1)
		r.expectIn(1, 2)
		if calls := r.calls(registers); len(calls) != learning+1 {
			t.Errorf("got calls %q, want one more after the zone was learnt", calls)
		}
		r.expectSynced()
	})
}

func TestBehaviour19_ZoneIsFoundOutFromTheGroup(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		err := r.sim.Configure(func() elbsim.Settings { s := r.sim.Settings(); s.VPCs[""] = s.VPCs[""][1:]; return s }())
		if err != nil {
			t.Fatal(err)
		}
		client := r.sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion)
		if err := client.RegisterTargets(context.Background(), r.group, []target.Target{{Key: key(1), Zone: target.ZoneAll}}); err != nil {
			t.Fatal(err)
		}
		r.want(1, 2, 3)
		r.pass(11 * time.Minute) // a sweep finds the zone of 1
		r.leave(1)
		r.pass(10 * time.Minute)
		r.sim.ClearCalls()
		r.want(1)
		if calls := r.calls(registers); len(calls) != 1 || !strings.HasSuffix(calls[0], " 1 OK") {
			t.Errorf("got %q, want one call that knows the zone", calls)
		}
	})
}

// Lists that lag behind our calls neither undo them nor make us repeat them.
func TestListsMayLagBehind(t *testing.T) {
	lag := func(s *elbsim.Settings) { s.VisibilityLag = elbsim.Duration(5 * time.Second) }
	bubble(t, rigging{settings: lag, check: elbsim.AlwaysPass}, func(r *rig) {
		r.want(1, 2)
		r.pass(20 * time.Second)
		r.leave(1)
		r.pass(time.Second)
		r.want(1)
		r.pass(time.Minute)
		r.expectIn(1, 2)
		r.expectCalls(registers, "0s 1,2 OK", "21s 1 OK")
		r.expectCalls(deregisters, "20s 1 OK")
		r.expectSynced()
	})
}

func TestBehaviour33_SharedGroup(t *testing.T) {
	bubble(t, rigging{shared: true, targets: []string{"10.0.0.7:80", "10.0.0.8:80"}, ours: target.SetOf(key(7))}, func(r *rig) {
		r.want(1, 2)
		r.leave(2)
		r.pass(time.Minute)
		r.expectIn(1, 8)
		r.expectCalls(registers, "0s 1,2 OK")
		r.expectCalls(deregisters, "0s 7 OK", "0s 2 OK")
		r.expectSynced()
	})
}

// An earlier life registered 9, and lists do not show it yet. It is not forgotten, and taken
// out when it shows, since in a shared group nobody else would ever do it.
func TestBehaviour33_WhatListsDoNotShowYetIsNotForgotten(t *testing.T) {
	lag := func(s *elbsim.Settings) { s.VisibilityLag = elbsim.Duration(9 * time.Second) }
	bubble(t, rigging{shared: true, settings: lag, ours: target.SetOf(key(9), key(10)), unknown: true}, func(r *rig) {
		earlier := r.sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion)
		if err := earlier.RegisterTargets(context.Background(), r.group, []target.Target{{Key: key(9)}}); err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		r.unknown = false
		r.mu.Unlock()
		r.want(1)
		if got := r.journal.Keys(); len(got) != 3 || !r.round().Busy {
			t.Errorf("remembered are %v, busy: %v", got, r.round().Busy)
		}
		r.pass(time.Minute)
		r.expectIn(1)
		if got := r.calls(deregisters); len(got) != 1 || !strings.HasSuffix(got[0], " 9 OK") {
			t.Errorf("deregistrations: %v", got)
		}
		if got := r.journal.Keys(); len(got) != 1 || r.round().Busy {
			t.Errorf("remembered are %v in the end, busy: %v", got, r.round().Busy)
		}
	})
}

// slowList answers with what was true when it was asked, some time later.
type slowList struct {
	elb.Client
	takes time.Duration
}

func (s slowList) TargetHealth(ctx context.Context, group target.ARN) ([]target.Observed, error) {
	list, err := s.Client.TargetHealth(ctx, group)
	time.Sleep(s.takes)
	return list, err
}

func TestListAskedForBeforeACallDoesNotUndoIt(t *testing.T) {
	client := func(c elb.Client) elb.Client { return slowList{c, 3 * time.Second} }
	bubble(t, rigging{client: client, sweep: 10 * time.Second}, func(r *rig) {
		r.pass(3 * time.Second)
		for host := range 20 { // changes all through the listing
			r.pass(777 * time.Millisecond)
			r.want(host + 1)
			if host%2 == 1 {
				r.leave(host)
			}
		}
		r.pass(time.Minute)
		var carried []string
		for _, call := range slices.Concat(r.calls(registers), r.calls(deregisters)) {
			carried = append(carried, strings.Split(strings.Fields(call)[1], ",")...)
		}
		if len(carried) != 30 {
			t.Errorf("calls carried %d targets for 30 changes: %v", len(carried), carried)
		}
		r.expectSynced()
	})
}

func TestBehaviour18_GroupNotFoundIsTriedSlowlyAndRecovers(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(1)
		r.fault(elbsim.Fault{Kind: elbsim.FaultFail, Code: "TargetGroupNotFound", Message: "not found"})
		r.want(2)
		r.expectFailures("RegisterTargets TargetGroupNotFound")
		if round := r.round(); round.Known {
			t.Error("a group that does not exist counts as known")
		}
		r.pass(10 * time.Minute)
		if calls := len(r.sim.Calls()); calls > 15 {
			t.Errorf("%d calls in ten minutes", calls)
		}
		r.sim.ClearFaults()
		r.pass(2 * time.Minute)
		r.expectIn(1, 2)
		r.expectSynced()
	})
}

func TestBehaviour31_DeregisterOfAGroupThatIsGone(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(1)
		r.pass(time.Second)
		if err := r.sim.VanishGroup(r.group); err != nil {
			t.Fatal(err)
		}
		r.leave(1)
		r.expectFailures("DeregisterTargets TargetGroupNotFound")
	})
}

func TestBehaviour41_AccessDeniedIsTriedSlowly(t *testing.T) {
	deny := func(s *elbsim.Settings) { s.Deny = []string{registers} }
	bubble(t, rigging{settings: deny}, func(r *rig) {
		r.want(1)
		r.pass(10 * time.Minute)
		if calls := len(r.calls(registers)); calls < 4 || calls > 10 {
			t.Errorf("%d calls in ten minutes, want a few", calls)
		}
		r.expectFailures("RegisterTargets AccessDenied")
		settings := r.sim.Settings()
		settings.Deny = nil
		if err := r.sim.Configure(settings); err != nil {
			t.Fatal(err)
		}
		r.pass(2 * time.Minute)
		r.expectIn(1)
		r.expectSynced()
	})
}

// A plan that cannot be made for a while is no success of what failed before.
func TestPauseOutlivesAPlanThatCannotBeMade(t *testing.T) {
	deny := func(s *elbsim.Settings) { s.Deny = []string{registers} }
	bubble(t, rigging{settings: deny}, func(r *rig) {
		r.want(1)
		for i := range 20 {
			r.mu.Lock()
			r.unknown = i%2 == 0
			r.mu.Unlock()
			r.rouse()
			r.pass(100 * time.Millisecond)
		}
		r.expectCalls(registers, "0s 1 AccessDenied")
	})
}

func TestBehaviour40_ThrottledCallsAreRepeated(t *testing.T) {
	bubble(t, rigging{limits: pace.Documented()}, func(r *rig) {
		r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultThrottle, Count: 3})
		r.want(1)
		r.pass(20 * time.Second)
		r.expectIn(1)
		if calls := r.calls(registers); len(calls) != 4 {
			t.Errorf("got %q, want four calls", calls)
		}
		r.expectFailures("RegisterTargets Throttled")
		r.expectSynced()
	})
}

func TestBehaviour38_UnchangedWorldIsOnlySwept(t *testing.T) {
	bubble(t, rigging{check: elbsim.AlwaysPass}, func(r *rig) {
		r.want(1, 2, 3)
		r.pass(time.Minute)
		r.sim.ClearCalls()
		r.pass(10 * time.Hour)
		if writes := len(r.calls(registers)) + len(r.calls(deregisters)); writes != 0 {
			t.Errorf("%d writes in an unchanged world", writes)
		}
		if n := len(r.calls(lists)); n < 55 || n > 80 {
			t.Errorf("%d sweeps in ten hours, want one in 8 to 10 minutes", n)
		}
	})
}

func TestBehaviour39_RestartInAnUnchangedWorldWritesNothing(t *testing.T) {
	targets := []string{"10.0.0.1:80", "10.0.0.2:80"}
	for name, ours := range map[string]target.Set{"with a journal": target.SetOf(key(1), key(2)), "without": {}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, rigging{targets: targets, ours: ours, wanted: []int{1, 2}}, func(r *rig) {
				r.pass(time.Hour)
				r.expectCalls(registers)
				r.expectCalls(deregisters)
			})
		})
	}
}

func TestBehaviour17_DriftIsRepairedBySweeps(t *testing.T) {
	bubble(t, rigging{check: elbsim.AlwaysPass}, func(r *rig) {
		r.want(1, 2, 3)
		r.pass(time.Minute)
		client := r.sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion)
		if err := client.DeregisterTargets(context.Background(), r.group, []target.Target{{Key: key(1)}}); err != nil {
			t.Fatal(err)
		}
		if err := client.RegisterTargets(context.Background(), r.group, []target.Target{{Key: key(9)}}); err != nil {
			t.Fatal(err)
		}
		r.pass(10 * time.Minute)
		r.expectIn(1, 2, 3)
	})
}

func TestBehaviour30_PollsAreQuickAfterARegistration(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.pass(time.Minute)
		r.sim.ClearCalls()
		r.want(1)
		r.pass(3500 * time.Millisecond)
		if n := len(r.calls(lists)); n < 3 || n > 4 {
			t.Errorf("%d lists in 3.5 s, want about one a second: %q", n, r.calls(lists))
		}
		r.pass(2 * time.Minute)
		if n := len(r.calls(lists)); n > 20 {
			t.Errorf("%d lists in two minutes, want them to become seldom: %q", n, r.calls(lists))
		}
		if err := r.sim.Override(r.group, key(1), target.Healthy); err != nil {
			t.Fatal(err)
		}
		r.pass(20 * time.Second)
		r.sim.ClearCalls()
		r.pass(5 * time.Minute)
		if n := len(r.calls(lists)); n != 0 {
			t.Errorf("%d lists in five minutes although all is healthy: %q", n, r.calls(lists))
		}
	})
}

func TestShutdownFinishesTheCallUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigging{})
		r.want(1)
		r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultHang, Duration: elbsim.Duration(3 * time.Second), Count: 1})
		r.want(2)
		r.stop()
		began := time.Now()
		r.syncer.Wait()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("Wait took %v, want the 3s of the call", took)
		}
		r.expectIn(1, 2)
	})
}

func TestShutdownGivesUpWhatWaitsForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigging{limits: scarce(1)})
		r.want(1)
		r.want(2)
		r.stop()
		began := time.Now()
		r.syncer.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("Wait took %v, want none", took)
		}
		r.expectIn(1)
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		r.syncer.Step(ended)
		r.syncer.Wait()
		r.expectCalls(registers, "0s 1 OK")
	})
}

// The pod went while its registration was under way, so the plan does not know of
// the change any more when it is accepted.
func TestAcceptedIsToldTheTimeSincePlanned(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultHang, Duration: elbsim.Duration(2 * time.Second), Count: 1})
		r.want(1)
		r.forget(1)
		r.pass(10 * time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		if !slices.Equal(r.accepted, []time.Duration{2 * time.Second, 0}) {
			t.Errorf("told %v, want 2s for the registration and 0s for the deregistration", r.accepted)
		}
	})
}

func TestWaitForTheBudgetCountsAsTimeSincePlanned(t *testing.T) {
	bubble(t, rigging{limits: scarce(1)}, func(r *rig) {
		r.want(1)
		r.want(2)
		r.pass(time.Minute)
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.accepted) != 2 || r.accepted[1] < 5*time.Second {
			t.Errorf("told %v, want the second to include its wait", r.accepted)
		}
	})
}

func TestNothingIsDoneBeforeTheGroupWasListed(t *testing.T) {
	bubble(t, rigging{targets: []string{"10.0.0.1:80"}, client: func(c elb.Client) elb.Client { return slowList{c, 2 * time.Second} }}, func(r *rig) {
		r.want(1, 2)
		if round := r.round(); round.Known || !round.Plan.Empty() {
			t.Errorf("known %v, plan %+v before the group was listed", round.Known, round.Plan)
		}
		r.expectCalls(registers)
		r.pass(2 * time.Second)
		r.expectCalls(registers, "2s 2 OK")
	})
}

// A target that AWS refuses while it drains is taken as soon as AWS takes it.
func TestBehaviour12_DrainingTargetIsRegisteredAgain(t *testing.T) {
	for _, answer := range []string{"revive", "refuse"} {
		t.Run(answer, func(t *testing.T) {
			settings := func(s *elbsim.Settings) {
				s.DeregistrationDelay = elbsim.Duration(30 * time.Second)
				switch answer {
				case "revive":
					s.Reregister = "revive"
				default:
					s.Reregister = "refuse"
				}
			}
			bubble(t, rigging{settings: settings}, func(r *rig) {
				r.want(1, 2)
				r.leave(1)
				r.pass(time.Second)
				r.want(1)
				r.pass(2 * time.Minute)
				r.expectIn(1, 2)
				r.expectSynced()
			})
		})
	}
}

func TestUnreadablePlanNeverWrites(t *testing.T) {
	bubble(t, rigging{targets: []string{"10.0.0.1:80"}, ours: target.SetOf(key(1)), unknown: true}, func(r *rig) {
		r.pass(time.Hour)
		r.expectIn(1)
		r.mu.Lock()
		r.unknown = false
		r.mu.Unlock()
		r.rouse()
		r.expectIn()
	})
}
