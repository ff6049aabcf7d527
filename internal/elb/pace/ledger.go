package pace

import (
	"container/list"
	"time"
)

// waiter is one call that asks for a token.
type waiter struct {
	class    Class
	priority Priority
	number   uint64        // in the order of arrival
	place    *list.Element // in its queue; nil when it is in none
	since    time.Time
	served   chan struct{} // closed when its token was taken
}

// ledger is the pure core of a budget: buckets and queues, and the rule of who is
// next. Time must be told in order; ledger does not lock.
type ledger struct {
	class   [classes]bucket
	total   bucket
	queues  [classes][priorities]list.List
	arrived uint64

	crowded bool
	pauses  [classes]pause
	last    [classes]Priority // of the call that was served last
}

func newLedger(limits Limits, now time.Time) *ledger {
	return &ledger{
		class: [classes]bucket{
			Registration: newBucket(limits.Registration, now),
			Describe:     newBucket(limits.Describe, now),
		},
		total:   newBucket(limits.Total, now),
		crowded: limits.Crowded,
	}
}

func (l *ledger) advance(now time.Time) {
	for c := range l.class {
		l.class[c].advance(now)
	}
	l.total.advance(now)
}

// enqueue puts a new waiter at the end of its queue.
func (l *ledger) enqueue(class Class, priority Priority, now time.Time) *waiter {
	l.arrived++
	w := &waiter{class: class, priority: priority, number: l.arrived, since: now, served: make(chan struct{})}
	w.place = l.queues[class][priority].PushBack(w)
	return w
}

// leave takes a waiter out of its queue. It tells whether w was in one: a waiter
// that was served is not.
func (l *ledger) leave(w *waiter) bool {
	if w.place == nil {
		return false
	}
	l.queues[w.class][w.priority].Remove(w.place)
	w.place = nil
	return true
}

// serve takes the tokens of the waiter that is next, if it can be served now, and
// takes it out of its queue. It returns nil when nobody can be served.
func (l *ledger) serve(now time.Time) *waiter {
	l.advance(now)
	heads, n := l.heads()
	for i, w := range heads[:n] {
		if l.affordable(w) && !l.delaysAny(heads[:i]) {
			l.leave(w)
			l.class[w.class].take()
			l.total.take()
			l.last[w.class] = w.priority
			return w
		}
	}
	return nil
}

// wait is how long, from the last time told, nobody can be served; false when
// nobody waits. It is never too long, and too short only by the time that
// reserves grow in while shares recover.
func (l *ledger) wait() (time.Duration, bool) {
	heads, n := l.heads()
	var shortest time.Duration
	for i, w := range heads[:n] {
		if l.affordable(w) {
			continue // held back for a more urgent one, whose wait it shares
		}
		if d := l.untilAffordable(w); i == 0 || d < shortest {
			shortest = d
		}
	}
	return shortest, n > 0
}

// heads are the first waiters of the classes, the more urgent one first, and how
// many there are. Behind a head nobody of its class can be served before it.
func (l *ledger) heads() (heads [classes]*waiter, n int) {
	for c := range Class(classes) {
		w := l.head(c)
		if w == nil {
			continue
		}
		i := n
		for ; i > 0 && before(w, heads[i-1]); i-- {
			heads[i] = heads[i-1]
		}
		heads[i] = w
		n++
	}
	return heads, n
}

func (l *ledger) head(c Class) *waiter {
	for p := Priority(priorities - 1); p >= 0; p-- {
		if front := l.queues[c][p].Front(); front != nil {
			return front.Value.(*waiter)
		}
	}
	return nil
}

func before(a, b *waiter) bool {
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	return a.number < b.number
}

// affordable tells whether the buckets have a token for w besides the reserves.
func (l *ledger) affordable(w *waiter) bool { return l.untilAffordable(w) == 0 }

func (l *ledger) untilAffordable(w *waiter) time.Duration {
	return max(l.untilClass(w), l.total.untilServes(w.priority))
}

// untilClass is the time until the class alone would serve w.
func (l *ledger) untilClass(w *waiter) time.Duration {
	return max(l.class[w.class].untilServes(w.priority), l.pauses[w.class].left(w.priority, l.total.at))
}

// delaysAny tells whether one of the urgent waiters would find the total short,
// once its own class has a token, because somebody took one now.
func (l *ledger) delaysAny(urgent []*waiter) bool {
	for _, u := range urgent {
		ready := l.untilClass(u)
		left := l.total.tokens - 1 + l.total.gain(ready.Seconds())
		if left+slack < 1+l.total.reserve(u.priority) {
			return true
		}
	}
	return false
}

// putBack undoes the taking of a token of the class.
func (l *ledger) putBack(c Class, now time.Time) {
	l.advance(now)
	l.class[c].putBack()
	l.total.putBack()
}

// refused and accepted note AWS's answer to a call of the class. A refusal does
// not say which of the two buckets was empty, so both count as empty; calls of
// the other class that are accepted soon clear the total. Luck, in [0, 1), is the part
// of the longest pause that one of many makes.
func (l *ledger) refused(c Class, now time.Time, luck float64) {
	l.class[c].refused(now)
	l.total.refused(now)
	if l.crowded {
		l.pauses[c].refused(l.last[c], now, luck)
	}
}

func (l *ledger) accepted(c Class, now time.Time) {
	l.class[c].accepted(now)
	l.total.accepted(now)
	l.pauses[c].accepted()
}
