package elb_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// move is a step of a random history: pods come and go, AWS misbehaves, time passes.
type move struct {
	name string
	do   func(*rig)
}

func anyMove() *rapid.Generator[move] {
	return rapid.Custom(func(t *rapid.T) move {
		host := rapid.IntRange(1, 6).Draw(t, "host")
		action := rapid.SampledFrom([]string{registers, deregisters, lists, ""}).Draw(t, "action")
		fault := elbsim.Fault{Action: action, Count: rapid.IntRange(1, 3).Draw(t, "count"), Kind: rapid.SampledFrom([]elbsim.FaultKind{
			elbsim.FaultFail, elbsim.FaultThrottle, elbsim.FaultHang, elbsim.FaultDrop, elbsim.FaultLose,
		}).Draw(t, "fault")}
		if fault.Kind == elbsim.FaultFail {
			fault.Code = rapid.SampledFrom([]string{"InternalFailure", "AccessDenied", "InvalidTarget", "TooManyTargets"}).Draw(t, "code")
		}
		if fault.Kind == elbsim.FaultHang && rapid.Bool().Draw(t, "goes on") {
			fault.Duration = elbsim.Duration(3 * time.Second)
		}
		pass := rapid.SampledFrom([]time.Duration{10 * time.Millisecond, 700 * time.Millisecond, 5 * time.Second, time.Minute}).Draw(t, "pass")
		return rapid.SampledFrom([]move{
			{fmt.Sprint("want ", host), func(r *rig) { r.want(host) }},
			{fmt.Sprint("want ", host, " by a gate"), func(r *rig) { r.set(desired.Want, target.GatePending, host) }},
			{fmt.Sprint("leave ", host), func(r *rig) { r.leave(host) }},
			{fmt.Sprint("forget ", host), func(r *rig) { r.forget(host) }},
			{fmt.Sprintf("fault %s %s %s x%d", fault.Action, fault.Kind, fault.Code, fault.Count), func(r *rig) { r.fault(fault) }},
			{fmt.Sprint("pass ", pass), func(r *rig) { r.pass(pass) }},
		}).Draw(t, "move")
	})
}

// Whatever happens to calls, once AWS is well again the group holds what is
// wanted and nothing else, nobody is in doubt, and no call is made any more.
func TestBehaviour15_EveryHistoryEndsInLine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		moves := rapid.SliceOfN(anyMove(), 1, 25).Draw(rt, "moves")
		lag := rapid.SampledFrom([]time.Duration{0, 2 * time.Second}).Draw(rt, "lag")
		again := rapid.SampledFrom([]model.Reregister{model.ReregisterRevives, model.ReregisterRefused}).Draw(rt, "reregister")
		var wrong string
		// A failure inside the bubble would end the process: tell it outside.
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, rigging{check: elbsim.AlwaysPass, settings: func(s *elbsim.Settings) {
				s.VisibilityLag, s.Reregister = elbsim.Duration(lag), again
			}})
			defer r.shutdown()
			for _, m := range moves {
				m.do(r)
			}
			r.sim.ClearFaults()
			r.pass(20 * time.Minute)
			wrong = r.outOfLine()
		})
		if wrong != "" {
			for _, m := range moves {
				rt.Log(m.name)
			}
			rt.Fatal(wrong)
		}
	})
}

// outOfLine says what is not as wanted once the world is at rest.
func (r *rig) outOfLine() string {
	r.mu.Lock()
	var want []int
	for k, c := range r.wanted {
		if c.Verdict == desired.Want {
			want = append(want, hostOf(k))
		}
	}
	r.mu.Unlock()
	slices.Sort(want)
	if got := r.in(); !slices.Equal(got, want) {
		return fmt.Sprintf("registered are %v, want %v", got, want)
	}
	round := r.round()
	if !round.Known || round.Busy || !round.Plan.Empty() || len(round.Plan.LeftOut)+len(round.Plan.Held) > 0 || len(round.Outcome.Failures) > 0 {
		return fmt.Sprintf("known %v, busy %v, plan %+v, failures %v", round.Known, round.Busy, round.Plan, round.Outcome.Failures)
	}
	r.sim.ClearCalls()
	r.pass(time.Hour)
	if writes := append(r.calls(registers), r.calls(deregisters)...); len(writes) > 0 {
		return fmt.Sprintf("writes in an unchanged world: %v", writes)
	}
	return ""
}
