// Package pace is the call budget of one AWS account and region: who may make
// the next ELBv2 call, and when.
//
// AWS pays calls from token buckets that the whole account shares. One call
// costs one token whatever it carries: a token of its class (registration or
// describe) and a token of the account's total. A Budget keeps the same buckets
// on our side, so that calls wait here, ordered by urgency, instead of being
// refused there in no order at all.
//
//	              Terminating  Rollout  Register  HealthPoll  Sweep
//	Registration   [w w w]      [w]      [w w]                        -> 20, +4/s  \
//	                                                                                 total 40, +10/s
//	Describe                    [w]                 [w w w]   [w w w] -> 40, +10/s /
//
// The numbers are those of AWS's buckets. A Budget's hold less, see Jitter.
//
// The rules:
//   - Within a class the most urgent waiter is first, and among equals the one
//     that came first.
//   - A class whose bucket is empty does not hold up the other class, as long as
//     the total will have a token left when the more urgent waiter's class has.
//   - The less urgent a waiter, the more tokens it must leave behind: the last
//     ones are for pods that terminate. See reserve.
//   - When AWS refuses a call all the same (others in the account spend too), the
//     tokens are gone and both buckets shrink, refill and capacity alike; they
//     grow back by time and by calls that AWS accepts. See bucket.
//   - One of many programs that do not see each other then also waits for a
//     random time, so that they do not come back all at once. See crowd.
//
// The decisions are in ledger and bucket, which are told the time and never
// block. Budget adds the waiting.
package pace

import (
	"fmt"
	"strconv"
	"time"
)

// Class is the token bucket that a call draws from besides the account's total.
type Class int

// The classes of calls that the project makes.
const (
	// Registration: RegisterTargets and DeregisterTargets share a bucket.
	Registration Class = iota
	// Describe: every call that only reads.
	Describe

	classes = 2
)

var classNames = [classes]string{"registration", "describe"}

// String is the class as a metric label and on the status page.
func (c Class) String() string { return name(classNames[:], int(c)) }

// Priority is the urgency of a call. A greater one goes first.
type Priority int

// The priorities, least urgent first.
const (
	// Sweep looks for drift in groups where nothing is known to have changed.
	Sweep Priority = iota
	// HealthPoll asks for the state of targets that a gate waits for.
	HealthPoll
	// Register adds pods that nothing waits for, or changes a group otherwise.
	Register
	// Rollout adds pods that a rollout waits for.
	Rollout
	// Terminating takes out pods that are about to stop serving.
	Terminating

	priorities = 5
)

var priorityNames = [priorities]string{"sweep", "health-poll", "register", "rollout", "terminating"}

// String is the priority as a metric label and on the status page.
func (p Priority) String() string { return name(priorityNames[:], int(p)) }

func name(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return strconv.Itoa(i)
	}
	return names[i]
}

// Limit is a token bucket.
type Limit struct {
	Capacity float64 // the most tokens it holds, at least 1
	Refill   float64 // tokens per second, at least 0.01
}

// Limits are the buckets of one account and region.
type Limits struct {
	Registration Limit
	Describe     Limit
	Total        Limit // what every call draws from, whatever its class
	// Crowded: many programs like this one call in the same account, and do not see
	// each other.
	Crowded bool
}

// Documented gives the limits that AWS documents for ELBv2 as defaults of an
// account. An account may have been granted other ones.
func Documented() Limits {
	return Limits{
		Registration: Limit{Capacity: 20, Refill: 4},
		Describe:     Limit{Capacity: 40, Refill: 10},
		Total:        Limit{Capacity: 40, Refill: 10},
	}
}

// Jitter is how much longer one call may take from its token to AWS than another. Calls
// that leave at the rate of a bucket arrive so much more closely at worst, and find
// AWS's bucket empty unless ours holds as much less as it refills in that time.
const Jitter = 500 * time.Millisecond

// within are limits of calls that keep to l when they arrive, at times that are apart by
// as much more or less.
func (l Limits) within(jitter time.Duration) Limits {
	for _, limit := range []*Limit{&l.Registration, &l.Describe, &l.Total} {
		limit.Capacity = max(minCapacity, limit.Capacity-limit.Refill*jitter.Seconds())
	}
	return l
}

// OneOfMany gives the limits of one of many programs in an account, each of which has
// a few calls to make now and then. They are not a share of the account's, which
// would have to be so small that nobody got anywhere: what keeps the account from
// being asked for too much is that each takes refusals as a sign that others call.
func OneOfMany() Limits {
	return Limits{
		Registration: Limit{Capacity: 4, Refill: 1},
		Describe:     Limit{Capacity: 6, Refill: 2},
		Total:        Limit{Capacity: 8, Refill: 2},
		Crowded:      true,
	}
}

// The least values of a Limit. Less would let no call through, or hardly any.
const (
	minCapacity = 1
	minRefill   = 0.01
)

// Check tells which limit is out of range, with its value and what is asked for.
func (l Limits) Check() error {
	for _, named := range []struct {
		name  string
		limit Limit
	}{{"registration", l.Registration}, {"describe", l.Describe}, {"total", l.Total}} {
		if err := named.limit.check(); err != nil {
			return fmt.Errorf("call budget, %s: %w", named.name, err)
		}
	}
	return nil
}

// check is written so that NaN fails it.
func (l Limit) check() error {
	switch {
	case !(l.Capacity >= minCapacity):
		return fmt.Errorf("capacity %v: want at least %v tokens", l.Capacity, minCapacity)
	case !(l.Refill >= minRefill):
		return fmt.Errorf("refill %v: want at least %v tokens per second", l.Refill, minRefill)
	}
	return nil
}
