package dataplane

import (
	"math"
	"time"
)

// keptSeconds is how many seconds of traffic are kept one by one.
const keptSeconds = 60

// Second is what ended within one second.
type Second struct {
	// Outcomes counts requests and flows.
	Outcomes map[Outcome]uint64
	// ServerErrors are those forwarded that a target answered with 5xx.
	ServerErrors uint64
	// Median and Slowest99 are latencies of requests, flows left out, and right to
	// within a tenth: half of them, and 99 of 100, took no longer. Zero without any.
	Median, Slowest99 time.Duration
}

// tally counts what ends in one second.
type tally struct {
	second       int64 // Unix time
	outcomes     map[Outcome]uint64
	serverErrors uint64
	requests     uint64
	// latencies counts requests by their latency, in steps of an eighth of a
	// power of two of microseconds.
	latencies [8 * 32]uint32
}

// seconds keeps the latest, each in the slot of its time modulo their number.
type seconds [keptSeconds + 1]tally

// add counts an entry that ended at a moment.
func (s *seconds) add(e Entry, ended time.Time) {
	t := &s[ended.Unix()%int64(len(s))]
	if t.second != ended.Unix() {
		*t = tally{second: ended.Unix(), outcomes: map[Outcome]uint64{}}
	}
	t.outcomes[e.Outcome]++
	if e.Outcome == Forwarded && e.Status >= 500 {
		t.serverErrors++
	}
	if e.Method == "" {
		return
	}
	t.requests++
	step := int(8 * math.Log2(max(1, float64(e.Nanoseconds)/1000)))
	t.latencies[min(step, len(t.latencies)-1)]++
}

// latest lists the seconds that were over at now, oldest first.
func (s *seconds) latest(now time.Time) []Second {
	list := make([]Second, keptSeconds)
	for i := range list {
		at := now.Unix() - keptSeconds + int64(i)
		if t := &s[at%int64(len(s))]; t.second == at {
			list[i] = t.summary()
		}
	}
	return list
}

func (t *tally) summary() Second {
	s := Second{Outcomes: map[Outcome]uint64{}, ServerErrors: t.serverErrors, Median: t.quantile(0.5), Slowest99: t.quantile(0.99)}
	for outcome, n := range t.outcomes {
		s.Outcomes[outcome] = n
	}
	return s
}

// quantile is the latency within which a share of the requests ended: the middle
// of the step that holds it.
func (t *tally) quantile(share float64) time.Duration {
	if t.requests == 0 {
		return 0
	}
	rank := uint64(math.Ceil(share * float64(t.requests)))
	var seen uint64
	for step, n := range t.latencies {
		if seen += uint64(n); seen >= rank {
			return time.Duration(math.Exp2((float64(step)+0.5)/8) * float64(time.Microsecond))
		}
	}
	return 0
}
