package pace

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var anyClass = rapid.SampledFrom([]Class{Registration, Describe})

var anyPriority = rapid.SampledFrom([]Priority{Sweep, HealthPoll, Register, Rollout, Terminating})

func drawLimits(t *rapid.T) Limits {
	limit := func(label string) Limit {
		return Limit{
			Capacity: float64(rapid.IntRange(1, 40).Draw(t, label+" capacity")),
			Refill:   rapid.Float64Range(0.1, 20).Draw(t, label+" refill"),
		}
	}
	return Limits{Registration: limit("registration"), Describe: limit("describe"), Total: limit("total")}
}

// act does one thing that can happen to a budget.
func act(t *rapid.T, b *bench) {
	switch rapid.IntRange(0, 9).Draw(t, "act") {
	case 0, 1, 2, 3, 4:
		b.ask(anyClass.Draw(t, "class"), anyPriority.Draw(t, "priority"), rapid.IntRange(1, 30).Draw(t, "times"))
	case 5, 6, 7:
		b.pass(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
	case 8:
		b.ledger.refused(anyClass.Draw(t, "class"), b.now, 0)
	case 9:
		b.ledger.accepted(anyClass.Draw(t, "class"), b.now)
	}
	b.serve()
}

// Never more than Capacity + Refill*t calls in any window of time t, in a class
// or in all, whatever happens.
func TestPropertyWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := drawLimits(t)
		b := newBench(limits)
		for range rapid.IntRange(1, 30).Draw(t, "acts") {
			act(t, b)
		}
		checkAllWindows(t, b.served, limits)
	})
}

// The same holds where the calls arrive, however different the times are that they are
// under way, up to Jitter.
func TestPropertyWindowOfArrivals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := drawLimits(t)
		for _, limit := range []*Limit{&limits.Registration, &limits.Describe, &limits.Total} {
			limit.Capacity += limit.Refill * Jitter.Seconds() // less than that cannot be kept back
		}
		b := newBench(limits.within(Jitter))
		for range rapid.IntRange(1, 30).Draw(t, "acts") {
			act(t, b)
		}
		// It is worst when calls are slow up to a moment and quick after it.
		quick := rapid.IntRange(0, len(b.served)).Draw(t, "quick from")
		for i := range b.served[:quick] {
			b.served[i].at += Jitter - time.Duration(rapid.Int64Range(0, 2).Draw(t, "ms less"))*time.Millisecond
		}
		slices.SortFunc(b.served, func(a, b service) int { return cmp.Compare(a.at, b.at) })
		checkAllWindows(t, b.served, limits)
	})
}

func checkAllWindows(t *rapid.T, served []service, limits Limits) {
	of := func(c Class) func(service) bool { return func(s service) bool { return s.class == c } }
	checkWindows(t, served, limits.Total, func(service) bool { return true })
	checkWindows(t, served, limits.Registration, of(Registration))
	checkWindows(t, served, limits.Describe, of(Describe))
}

func checkWindows(t *rapid.T, served []service, limit Limit, counts func(service) bool) {
	var at []time.Duration
	for _, s := range served {
		if counts(s) {
			at = append(at, s.at)
		}
	}
	for i := range at {
		for j := i; j < len(at); j++ {
			window := (at[j] - at[i]).Seconds()
			if n := float64(j - i + 1); n > limit.Capacity+limit.Refill*window+1e-6 {
				t.Fatalf("%v calls within %.3f s from %v, with %+v", n, window, at[i], limit)
			}
		}
	}
}

// Everybody who waits is served in the end, and as fast as the slowest bucket
// refills at its slowest: no token is lost, no wake-up forgotten.
func TestPropertyEveryoneIsServed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := drawLimits(t)
		b := newBench(limits)
		for range rapid.IntRange(1, 20).Draw(t, "acts") {
			act(t, b)
		}
		waiting := 0
		for _, q := range b.ledger.waiting() {
			waiting += q.Waiting
		}
		slowest := min(limits.Registration.Refill, limits.Describe.Refill, limits.Total.Refill) * floor
		reserves := 10.0 // a quarter of the greatest capacity drawn
		b.pass(time.Duration((float64(waiting) + reserves + 1) / slowest * float64(time.Second)))
		if left := b.ledger.waiting(); left != nil {
			t.Fatalf("of %d waiters these are not served: %v", waiting, left)
		}
	})
}

// A token that goes back, from a waiter that gave up or a plan that became empty,
// leaves the buckets as if it had never been taken.
func TestPropertyNothingLostByReturning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := drawLimits(t)
		b, calm := newBench(limits), newBench(limits)
		for range rapid.IntRange(1, 30).Draw(t, "acts") {
			class, priority := anyClass.Draw(t, "class"), anyPriority.Draw(t, "priority")
			w := b.ledger.enqueue(class, priority, b.now)
			b.serve() // w, or one of the other class that now comes before its own kind
			if !b.ledger.leave(w) {
				b.ledger.putBack(class, b.now)
				b.forget(w)
			}
			b.ask(class, priority, 1)
			calm.ask(class, priority, 1)
			step := time.Duration(rapid.IntRange(0, 500).Draw(t, "ms")) * time.Millisecond
			b.pass(step)
			calm.pass(step)
			if len(b.served) != len(calm.served) {
				t.Fatalf("%d served, want %d as without the calls that were given back", len(b.served), len(calm.served))
			}
		}
	})
}

// forget takes a waiter out of those that were served.
func (b *bench) forget(w *waiter) {
	b.served = slices.DeleteFunc(b.served, func(s service) bool { return s.number == w.number })
}

// Whoever is served, nobody more urgent waits in its class, nobody came before it
// with the same urgency, and nobody more urgent of the other class could have
// been served instead.
func TestPropertyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(drawLimits(t))
		for range rapid.IntRange(1, 40).Draw(t, "acts") {
			for range rapid.IntRange(1, 8).Draw(t, "asks") {
				b.ledger.enqueue(anyClass.Draw(t, "class"), anyPriority.Draw(t, "priority"), b.now)
			}
			for w := b.ledger.serve(b.now); w != nil; w = b.ledger.serve(b.now) {
				checkOrder(t, b.ledger, w)
			}
			b.now = b.now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
		}
	})
}

// checkOrder is asked right after w was served: buckets hold less than when w
// was chosen, so who is affordable now was so then.
func checkOrder(t *rapid.T, l *ledger, w *waiter) {
	for c := range Class(classes) {
		for p := range Priority(priorities) {
			for e := l.queues[c][p].Front(); e != nil; e = e.Next() {
				other := e.Value.(*waiter)
				if !before(other, w) {
					continue
				}
				if c == w.class || l.affordable(other) {
					t.Fatalf("%s/%s number %d was served before %s/%s number %d",
						w.class, w.priority, w.number, c, p, other.number)
				}
			}
		}
	}
}

// A waiter of the highest urgency that has waited alone in its class is served no
// later because less urgent calls of the other class came after it.
func TestPropertyUrgentIsNotDelayedByLaterOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := drawLimits(t)
		alone, crowded := newBench(limits), newBench(limits)
		before := rapid.IntRange(0, 40).Draw(t, "calls before")
		for _, b := range []*bench{alone, crowded} {
			b.ask(Registration, Terminating, before)
			b.ask(Describe, Terminating, before)
			b.pass(time.Hour) // all served
			b.ask(Registration, Terminating, int(limits.Registration.Capacity)+1)
		}
		crowded.ask(Describe, Sweep, 100)
		crowded.ask(Describe, Rollout, 100)
		alone.pass(time.Hour)
		crowded.pass(time.Hour)
		if a, c := lastRegistration(alone), lastRegistration(crowded); c > a+time.Millisecond {
			t.Fatalf("the terminating pod is served at %v amid describes, at %v without", c, a)
		}
	})
}

func lastRegistration(b *bench) (at time.Duration) {
	for _, s := range b.served {
		if s.class == Registration {
			at = s.at
		}
	}
	return at
}
