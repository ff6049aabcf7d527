package elb_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func (r *rig) standing(host int) elb.Standing {
	synctest.Wait()
	return r.syncer.Standing(func(k target.Key) bool { return k == key(host) })
}

// expectStanding checks whether a host is registered, and how long after the
// beginning it was deregistered; negative if never.
func (r *rig) expectStanding(host int, registered bool, left time.Duration) {
	r.t.Helper()
	got := r.standing(host)
	if !got.Known || got.Registered != registered || got.Left.IsZero() != (left < 0) || left >= 0 && got.Left.Sub(r.begin) != left {
		r.t.Errorf("host %d: got %+v (left after %v), want registered %v, left after %v", host, got, got.Left.Sub(r.begin), registered, left)
	}
}

func TestStandingOfALeavingTarget(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(1, 2)
		r.expectStanding(1, true, -1)
		r.expectStanding(3, false, -1)
		r.pass(20 * time.Second)
		r.leave(1)
		r.expectStanding(1, false, 20*time.Second)
		r.expectStanding(2, true, -1)
		r.pass(10 * time.Minute) // it has drained, and is listed no more
		r.expectStanding(1, false, 20*time.Second)
		r.pass(time.Hour)
		r.expectStanding(1, false, -1)
	})
}

// A list that lags behind the deregistration takes nothing back.
func TestStandingDoesNotBelieveAnOlderList(t *testing.T) {
	lag := func(s *elbsim.Settings) { s.VisibilityLag = elbsim.Duration(5 * time.Second) }
	bubble(t, rigging{settings: lag}, func(r *rig) {
		r.want(1, 2)
		r.pass(20 * time.Second)
		r.leave(1)
		for range 8 {
			r.pass(time.Second)
			r.set(desired.Want, target.PodReady, 3+len(r.calls(lists))) // is looked at soon
			r.expectStanding(1, false, 20*time.Second)
		}
	})
}

func TestStandingTellsWhyATargetIsStillRegistered(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(1, 2)
		r.fault(elbsim.Fault{Action: deregisters, Kind: elbsim.FaultFail, Code: "AccessDenied"})
		r.leave(1)
		got := r.standing(1)
		if !got.Registered || got.Failure == nil || got.Failure.Reason != target.AccessDenied {
			t.Errorf("got %+v", got)
		}
	})
}

func TestStandingOfATargetWhoseReplyWasLost(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(1, 2)
		r.fault(elbsim.Fault{Action: deregisters, Kind: elbsim.FaultHang, Count: 1})
		r.leave(1)
		r.pass(5 * time.Second)
		r.expectStanding(1, true, -1)
		r.pass(5100 * time.Millisecond) // the call has timed out and is yet to be repeated
		r.expectStanding(1, true, -1)
		r.pass(time.Minute)
		if got := r.standing(1); got.Registered || got.Left.Sub(r.begin) < 10*time.Second {
			t.Errorf("got %+v", got)
		}
	})
}

// A registration under way may land at any moment.
func TestStandingCountsARegistrationUnderWay(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.fault(elbsim.Fault{Action: registers, Kind: elbsim.FaultHang, Count: 1})
		r.want(1)
		r.pass(time.Second)
		r.expectStanding(1, true, -1)
	})
}

// A new leader does not know when a target was deregistered that the status
// remembers, or that drains: it was before it looked.
func TestStandingAfterAStart(t *testing.T) {
	bubble(t, rigging{targets: []string{"10.0.0.2:80"}, ours: target.SetOf(key(1), key(2)), wanted: []int{2}}, func(r *rig) {
		r.expectStanding(1, false, 0)
		r.expectStanding(2, true, -1)
		r.expectStanding(3, false, -1)
	})
}

func TestStandingOfATargetThatSomebodyElseTookOut(t *testing.T) {
	bubble(t, rigging{sweep: time.Minute}, func(r *rig) {
		r.want(1, 2)
		r.pass(5 * time.Minute)
		r.set(desired.Keep, target.NoPodReady, 1)
		if err := r.sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion).DeregisterTargets(t.Context(), r.group, []target.Target{{Key: key(1)}}); err != nil {
			t.Fatal(err)
		}
		r.pass(2 * time.Minute)
		got := r.standing(1)
		if got.Registered || got.Left.Sub(r.begin) < 5*time.Minute {
			t.Errorf("got %+v, left after %v", got, got.Left.Sub(r.begin))
		}
	})
}

func TestStandingInAGroupThatIsGone(t *testing.T) {
	bubble(t, rigging{}, func(r *rig) {
		r.want(1, 2)
		r.fault(elbsim.Fault{Action: deregisters, Kind: elbsim.FaultFail, Code: "TargetGroupNotFound"})
		r.fault(elbsim.Fault{Action: lists, Kind: elbsim.FaultFail, Code: "TargetGroupNotFound"})
		r.leave(1)
		got := r.standing(1)
		if got.Known || got.Failure == nil || got.Failure.Reason != target.TargetGroupNotFound {
			t.Errorf("got %+v", got)
		}
	})
}
