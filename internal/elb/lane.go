package elb

import (
	"context"
	"errors"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Op is one of the calls that keep a group in line. Each op has a lane of its
// own, so a call that hangs or fails never holds up the others.
type Op int

// The ops.
const (
	Register Op = iota
	Deregister
	Observe

	ops = 3
)

// String is the name of the call, as AWS has it.
func (op Op) String() string {
	return [ops]string{"RegisterTargets", "DeregisterTargets", "DescribeTargetHealth"}[op]
}

// lane is the state of one op of one group.
type lane struct {
	running bool
	// waiting is the priority with which the lane waits for a token, and upgrade
	// ends the wait so that it begins anew with a higher one.
	waiting pace.Priority
	upgrade context.CancelCauseFunc
	flying  target.Set // the targets of the call under way
	// failure is the last call's, until one succeeds or nothing is left to call.
	failure  *plan.Failure
	failures int
	retryAt  time.Time
}

var (
	errUpgraded   = errors.New("a more urgent change came up")
	errNothingDue = errors.New("nothing is due any more")
)

// hurry ends a wait that is less urgent than the change that came up.
func (l *lane) hurry(priority pace.Priority) {
	if l.upgrade != nil && priority > l.waiting {
		l.upgrade(errUpgraded)
	}
}

// succeed forgets earlier failures.
func (l *lane) succeed() { l.failure, l.failures, l.retryAt = nil, 0, time.Time{} }

// fail remembers a failure and when to try again.
func (l *lane) fail(failure plan.Failure, kind Kind, now time.Time) {
	l.failure = &failure
	l.failures++
	l.retryAt = now.Add(pause(kind, l.failures))
}

// pause is how long to wait after the n-th failure in a row. What only a person
// can mend is tried seldom; what the budget paces already needs no pause here.
func pause(kind Kind, n int) time.Duration {
	grown := func(first, most time.Duration) time.Duration { return min(first<<min(n-1, 16), most) }
	switch kind {
	case Throttled, InvalidTarget, InvalidRequest, ZoneRequired, TooManyTargets:
		return 0
	case AccessDenied, CredentialsInvalid, GroupNotFound:
		return grown(10*time.Second, 2*time.Minute)
	default:
		return grown(500*time.Millisecond, 30*time.Second)
	}
}
