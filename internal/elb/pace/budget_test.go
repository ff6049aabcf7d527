package pace

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// empty makes a budget without a token left in either bucket of the class.
func empty(t *testing.T, class Class, observers ...func(Wait)) *Budget {
	t.Helper()
	b := New(Limits{ // half a second's refill more than the buckets hold
		Registration: Limit{Capacity: 2.5, Refill: 1},
		Describe:     Limit{Capacity: 2.5, Refill: 1},
		Total:        Limit{Capacity: 5, Refill: 2},
	}, observers...)
	for range 2 {
		if err := b.Take(t.Context(), class, Terminating); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestTakeBlocksUntilTheRefill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(t, Registration)
		start := time.Now()
		for i := range 3 {
			if err := b.Take(t.Context(), Registration, Terminating); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(start); waited != time.Duration(i+1)*time.Second {
				t.Errorf("call %d left after %v", i, waited)
			}
		}
	})
}

func TestWaitersAreServedByUrgency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(t, Registration)
		var mu sync.Mutex
		var order []Priority
		for _, p := range []Priority{Register, Terminating, Rollout, Terminating, Register} {
			go func() {
				if err := b.Take(t.Context(), Registration, p); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, p)
			}()
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []Priority{Terminating, Terminating, Rollout, Register, Register}; !slices.Equal(order, want) {
			t.Errorf("served %v, want %v", order, want)
		}
	})
}

func TestEndedContextGivesUpAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(t, Registration)
		cause := errors.New("the pod is gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(300*time.Millisecond, func() { cancel(cause) })
		start := time.Now()
		err := b.Take(ctx, Registration, Terminating)
		if !errors.Is(err, cause) || time.Since(start) != 300*time.Millisecond {
			t.Errorf("gave up after %v with %v", time.Since(start), err)
		}
		want := "gave up waiting for the account's call budget (registration, terminating): the pod is gone"
		if err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if left := b.Left(); left.Queues != nil || left.Registration.Tokens != 0.3 {
			t.Errorf("after giving up: %+v", left)
		}
		if err := b.Take(ctx, Describe, Terminating); !errors.Is(err, cause) || b.Left().Describe.Tokens != 2 {
			t.Errorf("an ended context still took a token: %v", err)
		}
	})
}

// The token may come at the very moment at which the context ends.
func TestTokenServedToAnEndedContextGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Documented())
		w := b.enter(Registration, Terminating)
		<-w.served
		b.withdraw(w)
		if left := b.Left(); left.Registration.Tokens != 18 || left.Total.Tokens != 35 {
			t.Errorf("left after a token was served too late: %+v", left)
		}
	})
}

func TestGivingUpLetsThroughWhoWasHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Limits{
			Registration: Limit{Capacity: 1, Refill: 0.02},
			Describe:     Limit{Capacity: 9, Refill: 1},
			Total:        Limit{Capacity: 2, Refill: 0.01},
		})
		if err := b.Take(t.Context(), Registration, Terminating); err != nil {
			t.Fatal(err)
		}
		urgent, cancel := context.WithCancel(t.Context())
		go func() { _ = b.Take(urgent, Registration, Terminating) }()
		synctest.Wait()
		start := time.Now()
		time.AfterFunc(time.Second, cancel)
		if err := b.Take(t.Context(), Describe, Terminating); err != nil || time.Since(start) != time.Second {
			t.Errorf("the describe left after %v with %v, want right when the registration gave up", time.Since(start), err)
		}
	})
}

func TestReturnedTokenServesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(t, Registration)
		start := time.Now()
		time.AfterFunc(100*time.Millisecond, func() { b.Return(Registration) })
		if err := b.Take(t.Context(), Registration, Register); err != nil || time.Since(start) > 900*time.Millisecond {
			t.Errorf("waited %v, %v: the returned token was not used", time.Since(start), err)
		}
	})
}

func TestThrottledWaitersLeaveOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Documented())
		b.Throttled(Registration)
		start := time.Now()
		var mu sync.Mutex
		var left []time.Duration
		leftSoFar := func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(left)
		}
		for range 10 {
			go func() {
				_ = b.Take(t.Context(), Registration, Terminating)
				b.Accepted(Registration)
				mu.Lock()
				defer mu.Unlock()
				left = append(left, time.Since(start))
			}()
		}
		synctest.Wait()
		if n := len(leftSoFar()); n != 0 {
			t.Errorf("%d left right after a throttle", n)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		inOrder := leftSoFar()
		for i := 1; i < len(inOrder); i++ {
			if inOrder[i]-inOrder[i-1] < 200*time.Millisecond {
				t.Errorf("calls left together: %v", inOrder)
			}
		}
		if len(inOrder) != 10 {
			t.Errorf("%d of 10 left within 10 s", len(inOrder))
		}
	})
}

func TestObserverSeesWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []Wait
		b := empty(t, Registration, func(w Wait) { waits = append(waits, w) })
		_ = b.Take(t.Context(), Registration, Rollout)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_ = b.Take(ctx, Registration, Terminating)
		want := []Wait{
			{Registration, Terminating, 0, true},
			{Registration, Terminating, 0, true},
			{Registration, Rollout, 1100 * time.Millisecond, true}, // a rollout leaves 0.1 of 2 tokens
			{Registration, Terminating, 10 * time.Millisecond, false},
		}
		for i := range waits {
			waits[i].Duration = waits[i].Duration.Round(time.Millisecond)
		}
		if !slices.Equal(waits, want) {
			t.Errorf("got  %v\nwant %v", waits, want)
		}
	})
}

func TestLeftTellsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := empty(t, Registration)
		ctx, cancel := context.WithCancel(t.Context())
		for _, p := range []Priority{Register, Terminating, Register} {
			go func() { _ = b.Take(ctx, Registration, p) }()
		}
		synctest.Wait()
		left := b.Left()
		if want := []Queue{{Registration, Terminating, 1}, {Registration, Register, 2}}; !slices.Equal(left.Queues, want) {
			t.Errorf("waiting: %v, want %v", left.Queues, want)
		}
		if left.Describe.Tokens != 2 || left.Total.Tokens != 2 || left.Total.Capacity != 4 || left.Total.Refill != 2 {
			t.Errorf("levels: %+v", left)
		}
		cancel()
		synctest.Wait()
	})
}

func TestNewRefusesLimitsThatLetNothingThrough(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("New took a limit of zero")
		}
	}()
	New(Limits{})
}

// Many goroutines that take, give up, return and are throttled at once, for the
// race detector; the buckets must stay within their bounds.
func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Documented())
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				class, priority := Class(i%classes), Priority(i%priorities)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Millisecond)
				defer cancel()
				if b.Take(ctx, class, priority) != nil {
					return
				}
				switch i % 10 {
				case 0:
					b.Throttled(class)
				case 1:
					b.Return(class)
				default:
					b.Accepted(class)
				}
			})
		}
		wg.Wait()
		left := b.Left()
		for _, level := range []Level{left.Registration, left.Describe, left.Total} {
			if level.Tokens < 0 || level.Tokens > level.Capacity || left.Queues != nil {
				t.Errorf("in the end: %+v", left)
			}
		}
	})
}

// BenchmarkTake takes a token while 1,000 calls of the other class wait: what a
// Take costs must not grow with the number of waiters.
func BenchmarkTake(b *testing.B) {
	for _, waiters := range []struct {
		name string
		n    int
	}{{"alone", 0}, {"under1000", 1000}} {
		b.Run(waiters.name, func(b *testing.B) {
			plenty := Limit{Capacity: 1e12, Refill: 1e12}
			budget := New(Limits{Registration: Limit{Capacity: 1, Refill: minRefill}, Describe: plenty, Total: plenty})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			_ = budget.Take(ctx, Registration, Terminating)
			var wg sync.WaitGroup
			for range waiters.n {
				wg.Go(func() { _ = budget.Take(ctx, Registration, Terminating) })
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := budget.Take(ctx, Describe, Sweep); err != nil {
					b.Fatal(err)
				}
			}
			cancel()
			wg.Wait()
		})
	}
}
