package demo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// nodeSeen is a Node as it is at a moment.
type nodeSeen struct {
	at         time.Time
	name, zone string
	cordoned   bool
}

func (h nodeSeen) when() time.Time { return h.at }

func (h nodeSeen) tell(s *story) []line {
	was, known := s.nodes[h.name]
	s.nodes[h.name] = h
	if !known || was.cordoned == h.cordoned {
		return nil
	}
	l := line{at: h.at.Sub(s.began), who: byKubernetes, what: h.name + " takes pods again", tone: good}
	if h.cordoned {
		l.what, l.tone = h.name+" is cordoned and takes no more pods", changing
	}
	return []line{l}
}

// deploymentSeen is what the Deployment asks for.
type deploymentSeen struct {
	at        time.Time
	replicas  int
	protected bool // new pods have a preStop sleep
}

func (h deploymentSeen) when() time.Time { return h.at }

func (h deploymentSeen) tell(s *story) []line {
	s.deployment = h
	return nil
}

// requestsSeen is what has become of the clients' requests by a moment.
type requestsSeen struct {
	at             time.Time
	answered, lost int
}

func (h requestsSeen) when() time.Time { return h.at }

func (h requestsSeen) tell(s *story) []line {
	s.requests = h
	return nil
}

// lossesSeen are requests that the load balancer could not pass on to a target,
// in the same way and at about the same time.
type lossesSeen struct {
	at    time.Time // when they were found in the access log
	first dataplane.Entry
	count int
}

func (h lossesSeen) when() time.Time { return h.at }

func (h lossesSeen) tell(s *story) []line {
	l := line{at: h.at.Sub(s.began), who: byBalancer, target: h.first.Target, tone: bad, loss: true}
	l.what = fmt.Sprintf("%s lost: %s → %d", requestsOf(h.count), describe(h.first.Outcome), h.first.Status)
	if p := s.podOf(h.first.Target); p != nil {
		l.pod = p.name
		if !p.outAt.IsZero() {
			l.after = waited(p.outAt, h.first.At, p.outHow)
		}
	}
	return []line{l}
}

func requestsOf(n int) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}

// describe says what happened to a request between load balancer and target; nothing
// where that was not what went wrong.
func describe(o dataplane.Outcome) string {
	switch o {
	case dataplane.NoTarget:
		return "no target is registered"
	case dataplane.Refused:
		return "the target refuses the connection"
	case dataplane.ConnectTimeout:
		return "the target takes no connection"
	case dataplane.Reset:
		return "the target ends the connection"
	case dataplane.ResponseTimeout:
		return "the target does not answer"
	case dataplane.Cut:
		return "cut off, the deregistration delay is over"
	}
	return ""
}

// lossesOf puts together what happened in the same way, in the order in which it
// happened first. What ended well, or by the client's doing, is no loss.
func lossesOf(entries []dataplane.Entry, now time.Time) []lossesSeen {
	type key struct {
		target  string
		outcome dataplane.Outcome
	}
	found := map[key]*lossesSeen{}
	for _, e := range entries {
		if describe(e.Outcome) == "" {
			continue
		}
		k := key{e.Target, e.Outcome}
		if found[k] == nil {
			found[k] = &lossesSeen{at: now, first: e}
		}
		found[k].count++
	}
	return slices.SortedFunc(func(yield func(lossesSeen) bool) {
		for _, h := range found {
			if !yield(*h) {
				return
			}
		}
	}, func(a, b lossesSeen) int {
		return cmp.Or(a.when().Compare(b.when()), cmp.Compare(a.first.Seq, b.first.Seq))
	})
}

// sample is how many there were of each at a moment.
type sample struct {
	at                       time.Time
	ready, healthy, draining int
}

const (
	sampleEvery = time.Second
	// remembersSamples is how far back the plots go.
	remembersSamples = 120
)

// sample counts, once a second.
func (s *story) sample(now time.Time) {
	if n := len(s.samples); n > 0 && now.Sub(s.samples[n-1].at) < sampleEvery {
		return
	}
	next := sample{at: now, healthy: s.healthy()}
	for p := range maps.Values(s.pods) {
		if p.ready && !p.leaving && p.goneAt.IsZero() {
			next.ready++
		}
	}
	for t := range maps.Values(s.targets) {
		if t.State == target.Draining {
			next.draining++
		}
	}
	s.samples = append(s.samples, next)
	s.samples = s.samples[max(0, len(s.samples)-remembersSamples):]
}
