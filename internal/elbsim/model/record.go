package model

import (
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// AWS's reasons, with the sentences that DescribeTargetHealth gives along.
var (
	registering     = target.Health{State: target.Initial, Reason: "Elb.RegistrationInProgress", Description: "Target registration is in progress"}
	initialChecking = target.Health{State: target.Initial, Reason: "Elb.InitialHealthChecking", Description: "Initial health checks in progress"}
	healthy         = target.Health{State: target.Healthy}
	failed          = target.Health{State: target.Unhealthy, Reason: "Target.FailedHealthChecks", Description: "Health checks failed"}
	timedOut        = target.Health{State: target.Unhealthy, Reason: "Target.Timeout", Description: "Request timed out"}
	notRegistered   = target.Health{State: target.Unused, Reason: "Target.NotRegistered", Description: "Target is not registered to the target group"}
	notInUse        = target.Health{State: target.Unused, Reason: "Target.NotInUse", Description: "Target group is not configured to receive traffic from the load balancer"}
	draining        = target.Health{State: target.Draining, Reason: "Target.DeregistrationInProgress", Description: "Target deregistration is in progress"}
	gone            = target.Health{}
)

// record is one target of one group. A target that is gone keeps its record for
// as long as answers that lag may still show it.
type record struct {
	group  *group
	target target.Target
	health target.Health
	since  time.Time // when the state began, whatever the reason was
	// serial tells registrations of one key apart, so that the result of a check
	// made for an earlier one is not taken for this one.
	serial uint64
	forced bool // by Override: checks change nothing

	due      time.Time // what the record waits for; zero: nothing
	dueOrder uint64
	started  time.Time // of the latest check
	streak   int       // passed checks in a row, or failed ones as a negative number

	history []stamp // oldest first; only kept where answers lag
}

// stamp is a health and the moment from which on it holds.
type stamp struct {
	at     time.Time
	health target.Health
	since  time.Time // when the state began, which may be before its reason
}

// registered tells whether r counts as a target: neither gone nor on its way out.
func (r *record) registered() bool {
	return r.health.State != "" && !r.health.State.Leaving()
}

// checked tells whether health checks decide about r.
func (r *record) checked() bool {
	switch r.health.State {
	case target.Healthy, target.Unhealthy:
		return !r.forced
	case target.Initial:
		return r.health.Reason == initialChecking.Reason
	}
	return false
}

// enter puts r into a state at a moment, and whatever r waited for is off.
func (w *World) enter(r *record, at time.Time, health target.Health) {
	before := stamp{health: r.health, since: r.since}
	r.health, r.due, r.streak = health, time.Time{}, 0
	if health.State != before.health.State {
		r.since = at
	}
	w.tell(r, at)
	lag := w.config.VisibilityLag
	if lag <= 0 {
		r.history = nil
		return
	}
	if len(r.history) == 0 {
		r.history = []stamp{before}
	}
	for len(r.history) > 1 && !r.history[1].at.Add(lag).After(at) {
		r.history = r.history[1:]
	}
	r.history = append(r.history, stamp{at: at, health: health, since: r.since})
	w.visible = append(w.visible, at.Add(lag))
}

// seen is what an answer at now shows of r: its state some time ago.
func (w *World) seen(r *record) target.Health { return w.shown(r).health }

func (w *World) shown(r *record) stamp {
	if len(r.history) == 0 || w.config.VisibilityLag <= 0 {
		return stamp{health: r.health, since: r.since}
	}
	var shown stamp
	for _, s := range r.history {
		if s.at.IsZero() || !s.at.Add(w.config.VisibilityLag).After(w.now) {
			shown = s
		}
	}
	return shown
}

// admit makes r a registered target from at on.
func (w *World) admit(r *record, at time.Time) {
	w.serial++
	r.serial, r.forced = w.serial, false
	if len(r.group.users) == 0 {
		w.enter(r, at, notInUse)
		return
	}
	w.enter(r, at, registering)
	w.transitions.set(w, r, at.Add(w.config.Registration[r.group.balancerType()]))
}

// release starts the way out of a registered target.
func (w *World) release(r *record, at time.Time) {
	r.forced = false
	delay := r.group.drainFor()
	if len(r.group.users) == 0 || delay == 0 {
		w.remove(r, at)
		return
	}
	w.enter(r, at, draining)
	w.transitions.set(w, r, at.Add(delay))
}

// remove ends the life of r. Where answers lag its record lives on for a while.
func (w *World) remove(r *record, at time.Time) {
	w.enter(r, at, gone)
	if w.config.VisibilityLag > 0 {
		w.transitions.set(w, r, at.Add(w.config.VisibilityLag))
		return
	}
	delete(r.group.targets, r.target.Key)
}

// fire does what r waited for until at.
func (w *World) fire(r *record, at time.Time) {
	switch r.health.State {
	case target.Initial:
		w.beginChecks(r, at)
	case target.Draining:
		w.remove(r, at)
	default:
		delete(r.group.targets, r.target.Key)
	}
}

// beginChecks makes the first check of r due at once.
func (w *World) beginChecks(r *record, at time.Time) {
	w.enter(r, at, initialChecking)
	w.checks.set(w, r, at)
}
