package model

import (
	"fmt"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// CheckID names one health check of one registration.
type CheckID struct {
	Group  string // ARN
	Key    target.Key
	Serial uint64 // of the registration
}

// Check is a health check to be made now.
type Check struct {
	ID       CheckID
	Settings CheckSettings
	// Port is the port to check: the target's own or that of the settings.
	Port uint16
}

// Outcome is how a health check ended.
type Outcome string

// The outcomes of a health check.
const (
	Passed       Outcome = ""
	WrongCode    Outcome = "code"    // the answer's status is not in the matcher
	TookTooLong  Outcome = "timeout" // no answer within the timeout
	CannotAnswer Outcome = "failed"  // refused, reset, not HTTP
)

// CheckResult is what came of a check.
type CheckResult struct {
	ID      CheckID
	Outcome Outcome
	Code    int // the HTTP status, where Outcome is WrongCode
}

// ChecksDue hands out, each once, the checks whose time has come. The next check
// of a target falls due after the result of this one came in and the interval
// since the start of this one has passed.
func (w *World) ChecksDue(now time.Time) []Check {
	w.advance(now)
	var due []Check
	for r := w.checks.take(w.now); r != nil; r = w.checks.take(w.now) {
		r.due, r.started = time.Time{}, w.now
		due = append(due, r.check())
	}
	return due
}

func (r *record) check() Check {
	return Check{
		ID:       CheckID{Group: r.group.arn, Key: r.target.Key, Serial: r.serial},
		Settings: r.group.Check,
		Port:     r.group.Check.portFor(r.target.Key),
	}
}

// Checked takes the result of a check. Results about registrations that are over,
// or whose state is not for checks to decide, are ignored.
func (w *World) Checked(now time.Time, result CheckResult) {
	w.advance(now)
	g, known := w.groups[result.ID.Group]
	if !known {
		return
	}
	r, known := g.targets[result.ID.Key]
	if !known || r.serial != result.ID.Serial || !r.checked() {
		return
	}
	w.judge(r, result)
	next := r.started.Add(g.Check.Interval)
	if next.Before(w.now) {
		next = w.now
	}
	w.checks.set(w, r, next)
}

// judge counts a result and changes the state once enough in a row speak for it.
func (w *World) judge(r *record, result CheckResult) {
	if result.Outcome == Passed {
		r.streak = max(r.streak, 0) + 1
		if r.health.State != target.Healthy && r.streak >= w.passesNeeded(r) {
			w.enter(r, w.now, healthy)
		}
		return
	}
	r.streak = min(r.streak, 0) - 1
	if r.health.State == target.Unhealthy || -r.streak >= r.group.Check.UnhealthyThreshold {
		w.enterIfNew(r, unhealthyAfter(result))
	}
}

// enterIfNew keeps an unhealthy target's reason up to date.
func (w *World) enterIfNew(r *record, health target.Health) {
	if r.health != health {
		w.enter(r, w.now, health)
	}
}

// passesNeeded is one for the first time behind an Application Load Balancer and
// the healthy threshold in all other cases.
func (w *World) passesNeeded(r *record) int {
	if r.health.State == target.Initial && r.group.balancerType() == Application {
		return 1
	}
	return r.group.Check.HealthyThreshold
}

func unhealthyAfter(result CheckResult) target.Health {
	switch result.Outcome {
	case WrongCode:
		return target.Health{
			State:       target.Unhealthy,
			Reason:      "Target.ResponseCodeMismatch",
			Description: fmt.Sprintf("Health checks failed with these codes: [%d]", result.Code),
		}
	case TookTooLong:
		return timedOut
	}
	return failed
}

// Override forces the health of a registered target, until the group comes into
// use or goes out of use: to target.Healthy or target.Unhealthy whatever the
// checks say, or back into their hands with an empty state. Fails with TargetGroupNotFound or InvalidTarget.
func (w *World) Override(now time.Time, groupARN string, key target.Key, state target.State) error {
	w.advance(now)
	g, err := w.group(groupARN)
	if err != nil {
		return err
	}
	r, known := g.targets[key]
	if !known || !r.registered() {
		return refuse("InvalidTarget", "The target '%s' is not registered", key)
	}
	switch state {
	case target.Healthy:
		w.force(r, healthy)
	case target.Unhealthy:
		w.force(r, failed)
	case "":
		w.admit(r, w.now)
	default:
		return invalid("State '%s' cannot be forced", state)
	}
	return nil
}

func (w *World) force(r *record, health target.Health) {
	r.forced = true
	w.enter(r, w.now, health)
}
