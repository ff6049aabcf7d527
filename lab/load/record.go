package load

import (
	"maps"
	"sync"
	"time"
)

// outcome of one request; times since the beginning of the run.
type outcome struct {
	arrival
	answer
	sent, ended time.Duration
}

// record counts what happens. Any number of goroutines may use it.
type record struct {
	options Options

	mu      sync.Mutex
	result  Result // its numbers; the summaries are made by snapshot
	latency Histogram
	service Histogram
	lag     Histogram
	kinds   map[Kind]*part
	targets []*part
	seconds []*second
}

type part struct {
	Part
	latency Histogram
}

// second keeps its histogram until nothing can be added to it.
type second struct {
	Second
	latency *Histogram
	open    int
}

func newRecord(o Options) *record {
	r := &record{options: o, kinds: map[Kind]*part{}}
	r.result = Result{
		Run: o.Run, Mix: o.Mix.String(), Rate: o.Rate, Arrivals: o.Arrivals, Seed: o.Seed,
		Classes: map[Class]int{}, Pods: map[string]int{},
		Punctuality: Punctuality{Threshold: o.Late},
	}
	for kind, parts := range o.Mix {
		if parts > 0 {
			r.kinds[kind] = &part{Part: Part{Name: string(kind)}}
		}
	}
	for _, name := range o.Targets {
		r.targets = append(r.targets, &part{Part: Part{Name: name}})
	}
	return r
}

// begin says whether the request may be sent. Called in the order of the schedule.
func (r *record) begin(a arrival) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.result.Outstanding >= r.options.MaxOutstanding {
		r.result.Punctuality.Skipped++
		return false
	}
	r.result.Sent++
	r.result.Outstanding++
	r.kinds[a.kind].Sent++
	r.targets[a.target.index].Sent++
	s := r.second(a.due)
	s.Sent++
	s.open++
	return true
}

// second that a time lies in, made if it is new. Those before it get no more
// requests.
func (r *record) second(due time.Duration) *second {
	n := int(due / time.Second)
	for len(r.seconds) <= n {
		if last := len(r.seconds) - 1; last >= 0 && r.seconds[last].open == 0 {
			r.seconds[last].close()
		}
		r.seconds = append(r.seconds, &second{Second: Second{Second: len(r.seconds)}, latency: &Histogram{}})
	}
	return r.seconds[n]
}

func (s *second) close() {
	s.Second = s.summary()
	s.latency = nil
}

func (s *second) summary() Second {
	sum := s.Second
	if s.latency != nil {
		sum.P50, sum.P99, sum.Max = s.latency.Quantile(0.5), s.latency.Quantile(0.99), s.latency.Max()
	}
	return sum
}

// end of a request that has begun.
func (r *record) end(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Outstanding--
	s := r.second(o.due)
	s.open--
	lag := o.sent - o.due
	r.lag.Record(lag)
	if lag > r.options.Late {
		r.result.Punctuality.Late++
		s.Late++
	}
	if o.class == "" {
		r.answered(o, s)
	} else {
		r.lost(o, s)
	}
	if s.open == 0 && s.Second.Second < len(r.seconds)-1 {
		s.close()
	}
}

func (r *record) answered(o outcome, s *second) {
	latency := o.ended - o.due
	r.result.Answered++
	r.result.Pods[o.pod]++
	s.Answered++
	s.latency.Record(latency)
	r.latency.Record(latency)
	r.service.Record(o.ended - o.sent)
	for _, p := range []*part{r.kinds[o.kind], r.targets[o.target.index]} {
		p.Answered++
		p.latency.Record(latency)
	}
}

func (r *record) lost(o outcome, s *second) {
	r.result.Lost++
	r.result.Classes[o.class]++
	s.Lost++
	for _, p := range []*part{r.kinds[o.kind], r.targets[o.target.index]} {
		p.Lost++
	}
	if len(r.result.Losses) >= r.options.KeepLosses {
		return
	}
	r.result.Losses = append(r.result.Losses, Loss{
		ID: o.id, Due: o.due, Sent: o.sent, Ended: o.ended,
		Kind: o.kind, Target: o.target.name,
		Class: o.class, Error: o.err.Error(), Pod: o.pod, From: o.from, Reused: o.reused,
	})
}

// snapshot owns all that it refers to.
func (r *record) snapshot() Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.summary(len(r.seconds))
	s.Pods = maps.Clone(r.result.Pods)
	s.Losses = append([]Loss{}, r.result.Losses...) // in JSON a list, even if empty
	if c := r.options.Collector; c != nil {
		found := c.Duplicates(s.Run)
		s.Duplicates = &found
		for i := range s.Losses {
			if s.Losses[i].Pod == "" {
				s.Losses[i].Pod, _ = c.Pod(s.Losses[i].ID)
			}
		}
	}
	return s
}

// recent owns all that it refers to.
func (r *record) recent(seconds int) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.summary(seconds)
}

// summary is all but what there may be ever more of, with the last seconds. The
// caller holds the lock.
func (r *record) summary(seconds int) Result {
	s := r.result
	s.Pods, s.Losses = nil, nil
	s.UpperBound = UpperBound(s.Lost, s.Sent-s.Outstanding)
	s.Classes = maps.Clone(s.Classes)
	s.Latency, s.Service = r.latency.Latency(), r.service.Latency()
	s.Punctuality.Lag = r.lag.Latency()
	s.Punctuality = s.Punctuality.judge()
	for _, kind := range Kinds() {
		if p := r.kinds[kind]; p != nil {
			s.Kinds = append(s.Kinds, p.summary())
		}
	}
	for _, p := range r.targets {
		s.Targets = append(s.Targets, p.summary())
	}
	for _, second := range r.seconds[max(0, len(r.seconds)-seconds):] {
		s.Seconds = append(s.Seconds, second.summary())
	}
	return s
}

func (p *part) summary() Part {
	sum := p.Part
	sum.Latency = p.latency.Latency()
	return sum
}

// within runs something while nothing is counted.
func (r *record) within(f func(*Result)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.result)
}
