package pace

import (
	"testing"
	"time"
)

func TestPauseGrowsWithRefusals(t *testing.T) {
	now := time.Unix(1000, 0)
	var p pause
	for i, want := range []time.Duration{4, 16, 64, 120, 120} {
		p.refused(Register, now, 0.999999999)
		if got := p.left(Register, now).Round(time.Second); got != want*time.Second {
			t.Errorf("refusal %d: waits %v, want up to %v", i+1, got, want*time.Second)
		}
		p.refused(Register, now.Add(time.Second), 0.5)
		if got := p.left(Register, now).Round(time.Second); got != want*time.Second {
			t.Errorf("a refusal during the pause of %v changed it to %v", want*time.Second, got)
		}
		now = p.until
	}
	p.accepted()
	p.accepted()
	p.refused(Register, now, 0.999999999)
	if got := p.left(Register, now).Round(time.Second); got != 120*time.Second {
		t.Errorf("after two accepted calls waits %v", got)
	}
}

func TestUrgentCallsDoNotWaitForTheRefusalOfOthers(t *testing.T) {
	now := time.Unix(1000, 0)
	var p pause
	p.refused(HealthPoll, now, 0.9)
	if p.left(HealthPoll, now) == 0 || p.left(Sweep, now) == 0 || p.left(Register, now) != 0 {
		t.Errorf("a poll was refused: polls wait %v, sweeps %v, registrations %v", p.left(HealthPoll, now), p.left(Sweep, now), p.left(Register, now))
	}
	for range 9 {
		p.refused(Terminating, now, 0.999999999)
		now = p.until
	}
	p.refused(Terminating, now, 0.999999999)
	if got := p.left(Terminating, now).Round(time.Second); got != 30*time.Second {
		t.Errorf("a pod that ends waits %v after many refusals, want 30s at most", got)
	}
}

// A program among many pauses after a refusal, one that is alone only slows down.
func TestOnlyOneOfManyPauses(t *testing.T) {
	for _, crowded := range []bool{false, true} {
		limits := Limits{Registration: Limit{4, 1}, Describe: Limit{4, 1}, Total: Limit{8, 2}, Crowded: crowded}
		now := time.Unix(1000, 0)
		l := newLedger(limits, now)
		l.enqueue(Registration, Register, now)
		if l.serve(now) == nil {
			t.Fatal("a full bucket serves nobody")
		}
		l.refused(Registration, now, 0.99)
		l.enqueue(Registration, Register, now)
		now = now.Add(3900 * time.Millisecond)
		if served := l.serve(now) != nil; served == crowded {
			t.Errorf("crowded %v: served after 3.9 s: %v", crowded, served)
		}
		if wait, _ := l.wait(); crowded && wait > 100*time.Millisecond {
			t.Errorf("after 3.9 s of a pause of 3.96 s the wait is %v", wait)
		}
	}
}
