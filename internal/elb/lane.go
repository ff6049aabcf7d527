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

	ops    = 3
	writes = 2 // the ops that change the group: Register and Deregister
)

// String is the name of the call, as AWS has it.
func (op Op) String() string {
	return [ops]string{"RegisterTargets", "DeregisterTargets", "DescribeTargetHealth"}[op]
}

// class is the part of the call budget that pays for the op.
func (op Op) class() pace.Class {
	if op == Observe {
		return pace.Describe
	}
	return pace.Registration
}

// lane is the state of one op of one group.
type lane struct {
	running bool
	// waiting is the priority with which the lane waits for a token, or is to, and
	// upgrade ends the wait so that it begins anew with a higher one.
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

// hurry ends a wait that is less urgent than what came up.
func (l *lane) hurry(priority pace.Priority) {
	if priority <= l.waiting {
		return
	}
	l.waiting = priority
	if l.upgrade != nil {
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

// refused counts a call that AWS refused for some of its targets. What becomes of
// those, the plan tells; the call itself is not repeated as it was.
func (l *lane) refused(kind Kind, now time.Time) {
	l.failure = nil
	l.failures++
	l.retryAt = now.Add(pause(kind, l.failures))
}

// forTargets tells whether a call was refused for its targets, and would succeed
// with others.
func (k Kind) forTargets() bool {
	return k == InvalidTarget || k == InvalidRequest || k == ZoneRequired || k == TooManyTargets
}

// searching is how many calls in a row may be refused at once: more than it takes
// to find one bad target among MaxTargetsPerCall by halving.
const searching = 10

// pause is how long to wait after the n-th failure in a row. What only a person
// can mend is tried seldom; what the budget paces already needs no pause here. A
// group that takes hardly any target must not spend the account's whole budget.
func pause(kind Kind, n int) time.Duration {
	grown := func(first, most time.Duration) time.Duration { return min(first<<min(n-1, 16), most) }
	switch kind {
	case Throttled, ZoneRequired:
		return 0
	case InvalidTarget, InvalidRequest, TooManyTargets:
		if n > searching {
			return 2 * time.Second
		}
		return 0
	case AccessDenied, CredentialsInvalid, GroupNotFound:
		return grown(10*time.Second, 2*time.Minute)
	default:
		return grown(500*time.Millisecond, 30*time.Second)
	}
}
