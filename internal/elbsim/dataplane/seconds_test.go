package dataplane

import (
	"testing"
	"time"
)

func TestSecondsCountWhatEnded(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	var s seconds
	at := func(d time.Duration, e Entry) { s.add(e, start.Add(d)) }
	at(0, Entry{Method: "GET", Outcome: Forwarded, Status: 200, Nanoseconds: time.Millisecond})
	at(999*time.Millisecond, Entry{Method: "GET", Outcome: Forwarded, Status: 500, Nanoseconds: time.Millisecond})
	at(time.Second, Entry{Method: "GET", Outcome: Refused, Status: 502, Nanoseconds: time.Second})
	at(time.Second, Entry{Outcome: Forwarded, Nanoseconds: time.Hour}) // a flow: no latency

	if over := s.latest(start); len(over) != keptSeconds || len(over[keptSeconds-1].Outcomes) != 0 {
		t.Errorf("a second that is not over is told: %+v", over[keptSeconds-1])
	}
	latest := s.latest(start.Add(2 * time.Second))
	first, second := latest[keptSeconds-2], latest[keptSeconds-1]
	if first.Outcomes[Forwarded] != 2 || first.ServerErrors != 1 || second.Outcomes[Refused] != 1 || second.Outcomes[Forwarded] != 1 || second.ServerErrors != 0 {
		t.Errorf("got %+v, %+v", first, second)
	}
	if !near(first.Median, time.Millisecond) || !near(second.Slowest99, time.Second) {
		t.Errorf("got %v, %v", first.Median, second.Slowest99)
	}
	if latest[0].Median != 0 || latest[0].Outcomes != nil {
		t.Errorf("a second without anything is %+v", latest[0])
	}
	// A slot is used again once its second is too old to be told.
	at((keptSeconds+1)*time.Second, Entry{Method: "GET", Outcome: NoTarget, Status: 503})
	for _, one := range s.latest(start.Add((keptSeconds + 2) * time.Second)) {
		if one.ServerErrors != 0 {
			t.Errorf("an old second is told again: %+v", one)
		}
	}
}

func near(got, want time.Duration) bool { return got > want*9/10 && got < want*11/10 }

func TestQuantiles(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var s seconds
	for i := range 100 {
		s.add(Entry{Method: "GET", Outcome: Forwarded, Nanoseconds: time.Duration(i+1) * time.Millisecond}, now)
	}
	one := s.latest(now.Add(time.Second))[keptSeconds-1]
	if !near(one.Median, 50*time.Millisecond) || !near(one.Slowest99, 99*time.Millisecond) {
		t.Errorf("got %v and %v", one.Median, one.Slowest99)
	}
	for _, extreme := range []time.Duration{0, time.Nanosecond, 24 * time.Hour} {
		var s seconds
		s.add(Entry{Method: "GET", Outcome: Forwarded, Nanoseconds: extreme}, now)
		if got := s.latest(now.Add(time.Second))[keptSeconds-1].Median; got <= 0 {
			t.Errorf("%v: got %v", extreme, got)
		}
	}
}

func TestFailuresAreTheNewest(t *testing.T) {
	l := accessLog{limit: 4, counts: map[CountKey]uint64{}}
	for i, e := range []Entry{
		{Outcome: Cut}, {Outcome: Refused}, {Outcome: Forwarded, Status: 200}, {Outcome: Forwarded, Status: 500}, {Outcome: Forwarded}, {Outcome: NoTarget},
	} {
		e.Node = i
		l.add(e)
	}
	got := l.failed(10)
	if len(got) != 2 || got[0].Node != 5 || got[1].Node != 3 {
		t.Errorf("got %+v", got)
	}
	if got := l.failed(1); len(got) != 1 || got[0].Node != 5 {
		t.Errorf("got %+v", got)
	}
}
