package elb

import (
	"context"
	"sync"
	"time"
)

// inquiry asks AWS, in the background and once at a time, for what a Look finds due. Its
// lock guards all that is known.
type inquiry struct {
	mu      sync.Mutex
	asking  bool
	flights sync.WaitGroup
}

// look notes that somebody wants to know, and lets ask begin if an answer is wanted, nobody
// is asking yet, and ctx has not ended. The lock is held. At its end, ask clears asking.
func (q *inquiry) look(ctx context.Context, a *age, ask func(context.Context)) {
	a.looked = time.Now()
	if q.asking || ctx.Err() != nil || !a.wanted(a.looked) {
		return
	}
	q.asking = true
	q.flights.Go(func() { ask(ctx) })
}

// Wait returns when no call is under way. The context of all Looks has ended.
func (q *inquiry) Wait() {
	q.mu.Lock() // a Look that has not seen the end may be starting a call
	flights := &q.flights
	q.mu.Unlock()
	flights.Wait()
}

// age tells for how long an answer of AWS is still believed. The zero value is that of
// one that never came.
type age struct {
	err      *Error // why the last asking failed; nil if it did not
	failures int    // in a row
	answered time.Time
	due      time.Time // when to ask again
	looked   time.Time // when somebody last wanted to know
}

// known tells whether asking has once come to something, be it a failure.
func (a *age) known() bool { return a.err != nil || !a.answered.IsZero() }

// wanted tells whether to ask: an answer is due, and somebody has looked since it is.
func (a *age) wanted(now time.Time) bool { return !now.Before(a.due) && !a.looked.Before(a.due) }

// renew notes an answer, which is believed for as long as it is fresh.
func (a *age) renew(now time.Time, fresh time.Duration) {
	*a = age{answered: now, due: now.Add(fresh), looked: a.looked}
}

// fail notes that asking failed. It is due again after the pause that such a failure asks
// for, multiplied by the factor.
func (a *age) fail(err *Error, now time.Time, factor time.Duration) {
	a.err = err
	a.failures++
	a.due = now.Add(factor * max(time.Second, pause(err.Kind, a.failures)))
}

// doubtAfter is how old an answer must be to be doubted.
const doubtAfter = 10 * time.Second

// doubt makes an answer that proved wrong due again, unless it came just now.
func (a *age) doubt() {
	if a.err == nil && time.Since(a.answered) > doubtAfter {
		a.due = time.Time{}
	}
}
