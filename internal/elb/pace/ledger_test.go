package pace

import (
	"testing"
	"time"
)

// epoch is when every ledger of these tests starts.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// bench drives a ledger as Budget does, in made-up time.
type bench struct {
	ledger *ledger
	now    time.Time
	served []service
}

// service is a waiter's turn.
type service struct {
	class    Class
	priority Priority
	number   uint64
	at       time.Duration // since epoch
}

func newBench(limits Limits) *bench {
	return &bench{ledger: newLedger(limits, epoch), now: epoch}
}

func (b *bench) ask(class Class, priority Priority, times int) {
	for range times {
		b.ledger.enqueue(class, priority, b.now)
		b.serve()
	}
}

func (b *bench) serve() {
	for w := b.ledger.serve(b.now); w != nil; w = b.ledger.serve(b.now) {
		b.served = append(b.served, service{w.class, w.priority, w.number, b.now.Sub(epoch)})
	}
}

// pass lets time pass, waking up whenever the ledger says somebody may be next.
func (b *bench) pass(d time.Duration) {
	end := b.now.Add(d)
	for {
		b.serve()
		wait, waiting := b.ledger.wait()
		if !waiting || b.now.Add(wait).After(end) {
			break
		}
		b.now = b.now.Add(wait)
	}
	b.now = end
	b.serve()
}

// drain takes all tokens of the class that a terminating pod may have.
func (b *bench) drain(class Class) {
	for {
		w := b.ledger.enqueue(class, Terminating, b.now)
		if b.ledger.serve(b.now) == nil {
			b.ledger.leave(w)
			return
		}
	}
}

func (b *bench) count(class Class, priority Priority) int {
	n := 0
	for _, s := range b.served {
		if s.class == class && s.priority == priority {
			n++
		}
	}
	return n
}

// lastAt is when the latest call was served.
func (b *bench) lastAt() time.Duration { return b.served[len(b.served)-1].at }

func TestBurstIsTheCapacityLessTheReserve(t *testing.T) {
	for _, c := range []struct {
		class    Class
		priority Priority
		want     int
	}{
		{Registration, Terminating, 20},
		{Registration, Rollout, 19},
		{Registration, Register, 18},
		{Describe, Terminating, 40},
		{Describe, HealthPoll, 34},
		{Describe, Sweep, 30},
	} {
		b := newBench(Documented())
		b.ask(c.class, c.priority, 100)
		if got := b.count(c.class, c.priority); got != c.want {
			t.Errorf("%s of priority %s: %d served at once, want %d", c.class, c.priority, got, c.want)
		}
	}
}

func TestSteadyRateIsTheRefill(t *testing.T) {
	for _, c := range []struct {
		class Class
		burst int
		last  time.Duration
	}{
		{Registration, 20, 245 * time.Second}, // the arithmetic of ELBV2.md
		{Describe, 40, 96 * time.Second},
	} {
		b := newBench(Documented())
		b.ask(c.class, Terminating, 1000)
		b.pass(time.Hour)
		if len(b.served) != 1000 || b.lastAt().Round(time.Millisecond) != c.last {
			t.Errorf("%s: %d served, the last at %v; want 1000 and %v", c.class, len(b.served), b.lastAt(), c.last)
		}
	}
}

func TestMostUrgentFirst(t *testing.T) {
	b := newBench(Documented())
	b.drain(Registration)
	b.ask(Registration, Register, 2)
	b.ask(Registration, Rollout, 2)
	b.ask(Registration, Terminating, 2)
	b.pass(time.Minute)
	want := []Priority{Terminating, Terminating, Rollout, Rollout, Register, Register}
	for i, s := range b.served {
		if s.priority != want[i] {
			t.Errorf("turn %d went to %s, want %s", i, s.priority, want[i])
		}
		if i > 0 && s.priority == b.served[i-1].priority && s.number < b.served[i-1].number {
			t.Errorf("turn %d overtook one of the same priority that came before", i)
		}
	}
	if len(b.served) != len(want) {
		t.Fatalf("%d served, want %d", len(b.served), len(want))
	}
}

func TestEmptyClassDoesNotHoldUpTheOther(t *testing.T) {
	b := newBench(Documented())
	b.drain(Registration)
	b.ask(Registration, Terminating, 100)
	b.ask(Describe, HealthPoll, 10)
	if got := b.count(Describe, HealthPoll); got != 10 {
		t.Errorf("%d of 10 health polls served while registrations wait for their own bucket", got)
	}
}

func TestLongWaitOfOneClassDoesNotDelayTheOther(t *testing.T) {
	b := newBench(Limits{
		Registration: Limit{Capacity: 1, Refill: 0.01},
		Describe:     Limit{Capacity: 1, Refill: 1},
		Total:        Limit{Capacity: 100, Refill: 100},
	})
	b.ask(Registration, Terminating, 2)
	b.ask(Describe, Sweep, 2)
	b.pass(90 * time.Second)
	if got := b.lastAt(); b.count(Describe, Sweep) != 2 || got != time.Second {
		t.Errorf("the last of %d sweeps was served at %v, want the second at 1 s", b.count(Describe, Sweep), got)
	}
}

func TestUrgentClassComesFirstAtTheTotal(t *testing.T) {
	b := newBench(Documented())
	b.drain(Describe) // empties the total as well
	b.ask(Describe, Sweep, 50)
	b.ask(Registration, Terminating, 8)
	b.pass(700 * time.Millisecond)
	if got := b.count(Registration, Terminating); got != 7 {
		t.Errorf("%d of the 7 tokens of the total went to terminating pods", got)
	}
	if got := b.count(Describe, Sweep); got != 0 {
		t.Errorf("%d sweeps took tokens of the total that terminating pods wait for", got)
	}
}

func TestLessUrgentDoesNotTakeTheTotalsTokenThatAnUrgentOneIsAboutToNeed(t *testing.T) {
	limits := Limits{
		Registration: Limit{Capacity: 1, Refill: 1},
		Describe:     Limit{Capacity: 10, Refill: 10},
		Total:        Limit{Capacity: 10, Refill: 0.1},
	}
	b := newBench(limits)
	b.ask(Registration, Terminating, 2) // the second waits for its class until 1 s
	b.ask(Describe, Terminating, 9)     // the total has 9 left; 8 can be spared
	if got := b.count(Describe, Terminating); got != 8 {
		t.Errorf("%d describes served, want 8: the ninth would leave the total short", got)
	}
	b.pass(time.Second)
	if got := b.count(Registration, Terminating); got != 2 {
		t.Errorf("%d registrations served within a second, want 2", got)
	}
}

func TestSweepsLeaveTheReserveToOthers(t *testing.T) {
	b := newBench(Documented())
	b.ask(Describe, Sweep, 1000)
	b.pass(30 * time.Second)
	if got := b.ledger.total.tokens; got < 10 {
		t.Errorf("sweeps left %.1f tokens of the total, want the reserve of 10", got)
	}
	b.ask(Registration, Terminating, 10)
	if got := b.count(Registration, Terminating); got != 10 {
		t.Errorf("%d of 10 terminating pods served at once amid sweeps", got)
	}
}

func TestThrottleEmptiesAndSlows(t *testing.T) {
	b := newBench(Documented())
	b.ledger.refused(Registration, b.now, 0)
	s := b.ledger.snapshot()
	if s.Registration.Tokens != 0 || s.Registration.Refill != 2 || s.Registration.Capacity != 10 {
		t.Errorf("registration after a throttle: %+v", s.Registration)
	}
	if s.Total.Tokens != 0 || s.Total.Refill != 5 {
		t.Errorf("total after a throttle: %+v", s.Total)
	}
	if s.Describe.Tokens != 40 || s.Describe.Share != 1 {
		t.Errorf("describe after a throttle of registrations: %+v", s.Describe)
	}
}

func TestOneEpisodeSlowsOnce(t *testing.T) {
	b := newBench(Documented())
	for range 20 { // a whole burst was in flight
		b.now = b.now.Add(20 * time.Millisecond)
		b.ledger.refused(Registration, b.now, 0)
		b.ledger.accepted(Registration, b.now)
	}
	if share := b.ledger.class[Registration].share; share < decrease || share > decrease+recovery {
		t.Errorf("share %.3f after a burst of refusals, want little more than %.3f", share, decrease)
	}
}

func TestSlownessHasAFloor(t *testing.T) {
	b := newBench(Documented())
	for range 20 {
		b.now = b.now.Add(2 * episode)
		b.ledger.refused(Registration, b.now, 0)
	}
	if share := b.ledger.class[Registration].share; share != floor {
		t.Errorf("share %v after many refusals, want the floor %v", share, floor)
	}
}

func TestAfterAThrottleCallsLeaveOneAtATime(t *testing.T) {
	b := newBench(Documented())
	b.ledger.refused(Registration, b.now, 0)
	b.ask(Registration, Register, 30)
	b.ask(Registration, Terminating, 3)
	b.pass(5 * time.Second)
	for i, s := range b.served {
		if i < 3 && s.priority != Terminating {
			t.Errorf("turn %d after a throttle went to %s", i, s.priority)
		}
		if i > 0 && s.at-b.served[i-1].at < 200*time.Millisecond {
			t.Errorf("turn %d came %v after the one before", i, s.at-b.served[i-1].at)
		}
	}
	if len(b.served) < 6 || len(b.served) > 12 {
		t.Errorf("%d calls within 5 s at half the rate", len(b.served))
	}
}

func TestSharesRecover(t *testing.T) {
	byTime := newBench(Documented())
	byTime.ledger.refused(Registration, byTime.now, 0)
	byTime.pass(31 * time.Second)
	byTime.ledger.advance(byTime.now)
	if share := byTime.ledger.class[Registration].share; share != 1 {
		t.Errorf("share %.3f half a minute after one refusal, want 1", share)
	}

	bySuccess := newBench(Documented())
	bySuccess.ledger.refused(Registration, bySuccess.now, 0)
	bySuccess.pass(episode)
	for range 20 {
		bySuccess.ledger.accepted(Registration, bySuccess.now)
	}
	if share := bySuccess.ledger.class[Registration].share; share < 0.99 {
		t.Errorf("share %.3f after 20 accepted calls, want 1", share)
	}
}

func TestAcceptedDescribesClearTheTotalNotTheOtherClass(t *testing.T) {
	b := newBench(Documented())
	b.ledger.refused(Registration, b.now, 0)
	b.pass(episode)
	for range 20 {
		b.ledger.accepted(Describe, b.now)
	}
	if total, class := b.ledger.total.share, b.ledger.class[Registration].share; total < 0.99 || class > 0.6 {
		t.Errorf("total %.2f and registration %.2f, want 1 and about %.2f", total, class, decrease)
	}
}

func TestUntilIsWhenTheTokensAreThere(t *testing.T) {
	for _, share := range []float64{floor, 0.3, 0.99, 1} {
		for _, tokens := range []float64{0.01, 1, 5, 39} {
			b := newBucket(Limit{Capacity: 1000, Refill: 4}, epoch)
			b.share, b.tokens = share, 0
			wait := b.until(tokens)
			if got := b.gain(wait.Seconds()); got < tokens-slack || got > tokens+1e-4 {
				t.Errorf("share %v: %v tokens after until(%v) = %v", share, got, tokens, wait)
			}
		}
	}
}

func TestTimeThatGoesBackIsIgnored(t *testing.T) {
	b := newBench(Documented())
	b.drain(Registration)
	b.ledger.advance(epoch.Add(-time.Hour))
	if got := b.ledger.class[Registration].tokens; got != 0 {
		t.Errorf("%v tokens after the clock went back", got)
	}
}

func TestSmallestLimitsServeEveryPriority(t *testing.T) {
	smallest := Limit{Capacity: minCapacity, Refill: minRefill}
	for p := range Priority(priorities) {
		b := newBench(Limits{Registration: smallest, Describe: smallest, Total: smallest})
		b.ask(Describe, p, 2)
		b.pass(101 * time.Second)
		if len(b.served) != 2 {
			t.Errorf("%s: %d of 2 served with one token per 100 s", p, len(b.served))
		}
	}
}

func TestCheckNamesTheLimit(t *testing.T) {
	limits := Documented()
	if err := limits.Check(); err != nil {
		t.Error(err)
	}
	limits.Describe.Refill = -1
	want := "call budget, describe: refill -1: want at least 0.01 tokens per second"
	if err := limits.Check(); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		Registration.String(): "registration", Describe.String(): "describe", Class(7).String(): "7",
		Sweep.String(): "sweep", Terminating.String(): "terminating", Priority(-1).String(): "-1",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
