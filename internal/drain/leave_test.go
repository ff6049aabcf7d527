package drain_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return t0.Add(time.Duration(seconds * float64(time.Second))) }

// leave is one with a deadline 60 s after the deletion.
func leave(departures ...drain.Departure) drain.Leave {
	return drain.Leave{
		Deleted: t0, Grace: 92 * time.Second, Shutdown: 30 * time.Second,
		Told: true, Departures: departures,
	}
}

func accepted(seconds float64, hold int) drain.Departure {
	return drain.Departure{Accepted: at(seconds), Hold: time.Duration(hold) * time.Second}
}

var pending = drain.Departure{Hold: 45 * time.Second}

func TestDecide(t *testing.T) {
	untold := leave()
	untold.Told = false
	shortened := leave(accepted(1, 45))
	shortened.Grace = 42 * time.Second
	hopeless := leave(accepted(1, 45))
	hopeless.Grace = time.Second
	for _, c := range []struct {
		name   string
		leave  drain.Leave
		now    float64
		stage  drain.Stage
		left   float64
		forced bool
	}{
		{"nothing known: until the deadline", untold, 10, drain.Asking, 50, true},
		{"nothing known at the deadline", untold, 60, drain.Asking, 0, true},
		{"never registered", leave(), 0, drain.Safe, 0, false},
		{"gone from the group long ago", leave(accepted(-300, 45)), 0, drain.Safe, 0, false},
		{"gone from the group a moment ago", leave(accepted(-30, 45)), 0, drain.Holding, 15, false},
		{"still registered: until the deadline", leave(pending), 10, drain.Registered, 50, true},
		{"still registered at the deadline", leave(pending), 61, drain.Registered, 0, true},
		{"deregistered", leave(accepted(1, 45)), 2, drain.Holding, 44, false},
		{"held", leave(accepted(1, 45)), 46, drain.Safe, 0, false},
		{"in two groups: the latest", leave(accepted(1, 45), accepted(5, 30)), 6, drain.Holding, 40, false},
		{"in two groups: the later of the sums", leave(accepted(1, 20), accepted(5, 30)), 6, drain.Holding, 29, false},
		{"in two groups, one not deregistered", leave(accepted(1, 20), pending), 30, drain.Registered, 30, true},
		{"deregistered late", leave(accepted(20, 45)), 21, drain.Holding, 39, true},
		{"the deadline is the last moment that is safe", leave(accepted(15, 45)), 20, drain.Holding, 40, false},
		{"no hold", leave(accepted(3, 0)), 3, drain.Safe, 0, false},
		{"grace period shortened", shortened, 2, drain.Holding, 8, true},
		{"grace period shorter than the shutdown", hopeless, 0, drain.Holding, 0, true},
	} {
		got := c.leave.Decide(at(c.now))
		want := drain.Verdict{Stage: c.stage, Left: time.Duration(c.left * float64(time.Second)), Forced: c.forced}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, want)
		}
	}
}

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave drain.Leave
		gone  float64
		want  drain.Outcome
	}{
		{"in good order", leave(accepted(1, 45)), 50, drain.Held},
		{"to the moment", leave(accepted(1, 45)), 46, drain.Held},
		{"killed early", leave(accepted(1, 45)), 20, drain.Uncovered},
		{"deleted by force", leave(pending), 0, drain.Uncovered},
		{"deregistered after it was gone", leave(accepted(11, 0)), 10, drain.Uncovered},
		{"deregistered late", leave(accepted(20, 45)), 62, drain.Forced},
		{"deregistered late, gone when it would have been safe", leave(accepted(20, 45)), 70, drain.Forced},
		{"never deregistered", leave(pending), 61, drain.Forced},
		{"never deregistered, and the hook began before we knew", leave(pending), 59, drain.Forced},
	} {
		if got := c.leave.Outcome(at(c.gone)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func anySeconds(least, most int) *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.IntRange(least*1000, most*1000), func(n int) time.Duration { return time.Duration(n) * time.Millisecond })
}

func anyDeparture() *rapid.Generator[drain.Departure] {
	return rapid.Custom(func(t *rapid.T) drain.Departure {
		d := drain.Departure{Hold: anySeconds(0, 400).Draw(t, "hold")}
		if rapid.Bool().Draw(t, "accepted") {
			d.Accepted = t0.Add(anySeconds(-100, 300).Draw(t, "after"))
		}
		return d
	})
}

func anyLeave() *rapid.Generator[drain.Leave] {
	return rapid.Custom(func(t *rapid.T) drain.Leave {
		return drain.Leave{
			Deleted: t0, Grace: anySeconds(0, 600).Draw(t, "grace"), Shutdown: anySeconds(0, 100).Draw(t, "shutdown"),
			Told: rapid.Bool().Draw(t, "told"), Departures: rapid.SliceOfN(anyDeparture(), 0, 4).Draw(t, "departures"),
		}
	})
}

func TestNeverReleasesBeforeHoldUnlessTheDeadlineForcesIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLeave().Draw(t, "leave")
		now := t0.Add(anySeconds(0, 700).Draw(t, "now"))
		verdict := l.Decide(now)
		released := now.Add(verdict.Left)
		late := !released.Before(l.Deadline())
		for _, d := range l.Departures {
			early := d.Accepted.IsZero() || released.Before(d.Accepted.Add(d.Hold))
			if forced := late && verdict.Forced; l.Told && early && !forced {
				t.Fatalf("released %v after the deletion, %+v", released.Sub(t0), verdict)
			}
		}
		if !l.Told && !late {
			t.Fatalf("released %v after the deletion, though nothing is known", released.Sub(t0))
		}
	})
}

func TestNeverHoldsBeyondTheDeadline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLeave().Draw(t, "leave")
		now := t0.Add(anySeconds(0, 700).Draw(t, "now"))
		if left := l.Decide(now).Left; left > max(0, l.Deadline().Sub(now)) || left < 0 {
			t.Fatalf("%v left, the deadline is in %v", left, l.Deadline().Sub(now))
		}
	})
}

func TestOrderOfGroupsMakesNoDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLeave().Draw(t, "leave")
		other := l
		other.Departures = rapid.Permutation(l.Departures).Draw(t, "other order")
		now := t0.Add(anySeconds(0, 700).Draw(t, "now"))
		if l.Decide(now) != other.Decide(now) || l.Outcome(now) != other.Outcome(now) {
			t.Fatal("it does")
		}
	})
}

// Waiting for as long as was told, and asking again, comes to the same.
func TestTimeAloneChangesNoDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLeave().Draw(t, "leave")
		now := t0.Add(anySeconds(0, 300).Draw(t, "now"))
		first := l.Decide(now)
		if first.Left == 0 {
			return
		}
		part := time.Duration(rapid.Int64Range(0, int64(first.Left)).Draw(t, "part"))
		if second := l.Decide(now.Add(part)); second.Left != first.Left-part || second.Forced && !first.Forced {
			t.Fatalf("first %+v, after %v %+v", first, part, second)
		}
	})
}

// Whatever replicas say, in whatever order: a pod is not released before the hold
// that follows the true deregistration, since none says that it was earlier.
func TestLearnIsNeverMisled(t *testing.T) {
	const hold = 45 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		l := drain.Leave{Deleted: t0, Grace: 600 * time.Second, Shutdown: 30 * time.Second}
		truth := t0.Add(anySeconds(0, 100).Draw(t, "truth"))
		now := t0
		for range rapid.IntRange(0, 8).Draw(t, "answers") {
			now = now.Add(anySeconds(0, 30).Draw(t, "pause"))
			a := drain.Answer{State: drain.StillRegistered, Reason: target.Throttled}
			if now.After(truth) && rapid.Bool().Draw(t, "knows") {
				since := rapid.Int64Range(0, now.Sub(truth).Milliseconds()).Draw(t, "since")
				a = drain.Answer{State: drain.Deregistered, SinceMillis: since}
			}
			before := l.Decide(now)
			l.Learn(a, hold, now)
			verdict := l.Decide(now)
			if released := now.Add(verdict.Left); released.Before(truth.Add(hold)) {
				t.Fatalf("released %v before it was safe", truth.Add(hold).Sub(released))
			}
			if before.Stage == drain.Holding && verdict.Left > before.Left {
				t.Fatalf("%s made the hold longer: %v, %v", a.State, before.Left, verdict.Left)
			}
		}
	})
}

func TestLearnShortensTheGracePeriod(t *testing.T) {
	l := drain.Leave{Deleted: t0, Grace: 200 * time.Second, Shutdown: 30 * time.Second}
	l.Learn(drain.Answer{State: drain.StillRegistered, GraceSeconds: 40}, 45*time.Second, t0)
	if got := l.Decide(at(3)); got.Left != 5*time.Second || !got.Forced {
		t.Errorf("got %+v", got)
	}
}
