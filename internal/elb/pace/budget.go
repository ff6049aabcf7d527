package pace

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Budget is the call budget of one account and region. Everything that calls
// ELBv2 there must share one Budget. It is safe for concurrent use, needs no
// closing, and runs no goroutine of its own: one timer is set while calls wait.
//
//	if err := budget.Take(ctx, pace.Registration, pace.Terminating); err != nil {
//		return err // ctx ended
//	}
//	// read the freshest facts, make the plan; if it is empty: budget.Return
//	switch err := client.DeregisterTargets(...); elb.KindOf(err) {
//	case elb.Throttled:
//		budget.Throttled(pace.Registration)
//	case elb.KindNone:
//		budget.Accepted(pace.Registration)
//	}
type Budget struct {
	observers []func(Wait)

	mu     sync.Mutex
	ledger *ledger
	timer  *time.Timer // runs serve when somebody may be served again
}

// Wait is what one Take came to.
type Wait struct {
	Class    Class
	Priority Priority
	Duration time.Duration
	Served   bool // false when the caller's context ended first
}

// New makes a budget with full buckets, which are smaller than AWS's, see Jitter. It
// panics on limits that fail Check.
// Observers are called after each Take, in its goroutine, and must not block.
func New(limits Limits, observers ...func(Wait)) *Budget {
	if err := limits.Check(); err != nil {
		panic(err)
	}
	return &Budget{observers: observers, ledger: newLedger(limits.within(Jitter), time.Now())}
}

// Take blocks until one token of the class and one of the account's total are
// spent on the caller. Make the call soon after: a token that is spent late is
// missing from no bucket of AWS's in the meantime.
//
// When ctx ends first, Take gives up without spending anything and returns an
// error that wraps the context's cause.
func (b *Budget) Take(ctx context.Context, class Class, priority Priority) error {
	if ctx.Err() != nil {
		return gaveUp(ctx, class, priority)
	}
	w := b.enter(class, priority)
	err := b.await(ctx, w)
	b.observe(w, err == nil)
	return err
}

func (b *Budget) await(ctx context.Context, w *waiter) error {
	select {
	case <-w.served:
		return nil
	case <-ctx.Done():
		b.withdraw(w)
		return gaveUp(ctx, w.class, w.priority)
	}
}

func gaveUp(ctx context.Context, class Class, priority Priority) error {
	return fmt.Errorf("gave up waiting for the account's call budget (%s, %s): %w", class, priority, context.Cause(ctx))
}

// enter queues a waiter and serves whoever can be served, the new one perhaps.
func (b *Budget) enter(class Class, priority Priority) *waiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	w := b.ledger.enqueue(class, priority, now)
	b.serve(now)
	return w
}

// withdraw takes out a waiter whose context ended. If its token was taken at the
// same moment, the token goes back.
func (b *Budget) withdraw(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if !b.ledger.leave(w) {
		b.ledger.putBack(w.class, now)
	}
	b.serve(now)
}

// Return gives back a token that was taken but not spent, since the plan became
// empty meanwhile. Return it at once: buckets refill while a token is out, and
// one that comes back late adds to a bucket that made up for it.
func (b *Budget) Return(class Class) {
	b.note(func(l *ledger, now time.Time) { l.putBack(class, now) })
}

// Throttled reports that AWS refused a call of the class for want of tokens. The
// tokens of the class and the total are taken to be gone, and both buckets are
// slowed down for a while.
func (b *Budget) Throttled(class Class) {
	b.note(func(l *ledger, now time.Time) { l.refused(class, now, rand.Float64()) })
}

// Accepted reports that AWS took a token for a call of the class: it answered with
// anything but a throttle. That helps slowed buckets to recover sooner.
func (b *Budget) Accepted(class Class) {
	b.note(func(l *ledger, now time.Time) { l.accepted(class, now) })
}

func (b *Budget) note(change func(*ledger, time.Time)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	change(b.ledger, now)
	b.serve(now)
}

// serve lets through all who can go now and sets the timer for the next. The
// caller holds the lock.
func (b *Budget) serve(now time.Time) {
	for w := b.ledger.serve(now); w != nil; w = b.ledger.serve(now) {
		close(w.served)
	}
	wait, waiting := b.ledger.wait()
	switch {
	case !waiting && b.timer != nil:
		b.timer.Stop()
	case waiting && b.timer == nil:
		b.timer = time.AfterFunc(wait, b.tick)
	case waiting:
		b.timer.Reset(wait)
	}
}

func (b *Budget) tick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serve(time.Now())
}

func (b *Budget) observe(w *waiter, served bool) {
	if len(b.observers) == 0 {
		return
	}
	wait := Wait{Class: w.class, Priority: w.priority, Duration: time.Since(w.since), Served: served}
	for _, observer := range b.observers {
		observer(wait)
	}
}

// Snapshot is the state of a budget at one moment.
type Snapshot struct {
	Registration Level
	Describe     Level
	Total        Level
	// Queues are those in which somebody waits, by class, the most urgent first.
	Queues []Queue
}

// Level is the state of one bucket.
type Level struct {
	Tokens   float64 // left
	Capacity float64 // as it is now, slowed or not
	Refill   float64 // tokens per second, as it is now
	// Share is the part of the limit that is in use: 1, or less after AWS
	// refused calls.
	Share float64
	// Throttled is when the bucket was last slowed; zero for never.
	Throttled time.Time
}

// Queue is the number of calls that wait in one class with one priority.
type Queue struct {
	Class    Class
	Priority Priority
	Waiting  int
}

// Left tells what is left of the budget now and who waits for it.
func (b *Budget) Left() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ledger.advance(time.Now())
	return b.ledger.snapshot()
}

func (l *ledger) snapshot() Snapshot {
	return Snapshot{
		Registration: l.class[Registration].level(),
		Describe:     l.class[Describe].level(),
		Total:        l.total.level(),
		Queues:       l.waiting(),
	}
}

func (b *bucket) level() Level {
	return Level{Tokens: b.tokens, Capacity: b.capacity(), Refill: b.refill(), Share: b.share, Throttled: b.cut}
}

func (l *ledger) waiting() []Queue {
	var queues []Queue
	for c := range Class(classes) {
		for p := Priority(priorities - 1); p >= 0; p-- {
			if n := l.queues[c][p].Len(); n > 0 {
				queues = append(queues, Queue{Class: c, Priority: p, Waiting: n})
			}
		}
	}
	return queues
}
