package losses

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// Case is what is measured in one run.
type Case struct {
	Strategy Strategy
	Scenario Scenario
	Profile  Profile
	Lateness Lateness
	// Speed is how many times as fast as the clock the load balancer's time runs.
	Speed float64
	// Rate is how many requests are sent in a second.
	Rate float64
	// Seed draws what each node's delays are and when which request is sent. What
	// Kubernetes and tgc do, and when exactly, it does not determine.
	Seed uint64
}

// String names the case.
func (c Case) String() string {
	return fmt.Sprintf("%s, %s, %s, %s, seed %d", c.Strategy.Name, c.Scenario.Name, c.Profile.Name, c.Lateness.Name, c.Seed)
}

// name of the case that Kubernetes takes.
func (c Case) name() string {
	return strings.ToLower(fmt.Sprintf("%s-%s-%s-%s-%d", c.Strategy.Name, c.Scenario.Name, c.Profile.Name, c.Lateness.Name, c.Seed))
}

// Timing is what the pods are given.
func (c Case) Timing() Timing { return c.Profile.Timing(c.Speed, c.Lateness.Of) }

// traffic is what is sent.
func (c Case) traffic() Traffic {
	if c.Scenario.traffic != nil {
		return c.Scenario.traffic(c.Profile, c.Speed)
	}
	return c.Profile.traffic()
}

// repeat is the command that measures the case again.
func (c Case) repeat(realNodes bool) string {
	command := "lab losses"
	if realNodes {
		command += " --real-nodes"
	}
	return fmt.Sprintf("%s --strategy %s --scenario %s --profile %s --lateness %s --speed %g --rate %g --seed %d", command,
		c.Strategy.Name, c.Scenario.Name, c.Profile.Name, c.Lateness.Name, c.Speed, c.Rate, c.Seed)
}

// Options of [Run].
type Options struct {
	// RealNodes run the pods instead of loopback nodes, see [world.Options.RealNodes].
	// Then nobody watches for requests that reach pods more than once.
	RealNodes bool
	// Parallel is how many cases are measured at a time; zero is one.
	Parallel int
	// Progress is told what is being done.
	Progress io.Writer
	// Keep gets each report as soon as there is one. May be nil; an error ends the run.
	Keep func(Report) error
}

// Run measures cases in one world, in their order, several at a time. The error says
// which reports are not as they should be, and why others are missing; the reports
// are good in any case. When it returns, also because ctx ends, nothing that it
// started is left.
func Run(ctx context.Context, cases []Case, o Options) ([]Report, error) {
	if len(cases) == 0 {
		return nil, nil
	}
	v, err := openVenue(ctx, cases, o.RealNodes, o.Progress)
	if err != nil {
		return nil, err
	}
	m := &meeting{Options: o, cases: cases, venue: v, out: &sync.Mutex{}, began: time.Now()}
	ctx, m.stop = context.WithCancelCause(ctx)
	defer m.stop(nil)
	m.say("%d cases, %d at a time", len(cases), max(1, o.Parallel))
	queue := make(chan Case)
	var workers sync.WaitGroup
	for range max(1, o.Parallel) {
		workers.Go(func() {
			for c := range queue {
				m.measure(ctx, c)
			}
		})
	}
	for _, c := range cases {
		select {
		case queue <- c:
		case <-ctx.Done():
		}
	}
	close(queue)
	workers.Wait()
	if ctx.Err() != nil {
		m.wrong = append(m.wrong, fmt.Errorf("ended after %d of %d cases: %w", len(m.reports), len(cases), context.Cause(ctx)))
	}
	return m.reports, errors.Join(errors.Join(m.wrong...), v.rig.Stop())
}

// meeting is a run of many cases.
type meeting struct {
	Options
	cases []Case
	venue *venue
	out   *sync.Mutex // of Progress
	began time.Time
	stop  context.CancelCauseFunc

	mu      sync.Mutex
	reports []Report
	wrong   []error
	failed  int
}

func (m *meeting) say(format string, args ...any) {
	progress{out: m.Progress, mu: m.out}.say(format, args...)
}

// measure takes one case from its beginning to its report.
func (m *meeting) measure(ctx context.Context, c Case) {
	if ctx.Err() != nil {
		return
	}
	log := progress{out: m.Progress, mu: m.out, every: time.Duration(max(1, m.Parallel)) * 5 * time.Second}
	if m.Parallel > 1 {
		log.prefix = c.name() + ": "
	}
	m.say("begin: %s", c)
	r, err := c.run(ctx, m.venue, log)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		m.failed++
		m.wrong = append(m.wrong, fmt.Errorf("%s: %w", c, err))
		m.say("%s: FAILED: %v", c, err)
		return
	case r.Wrong != "":
		m.wrong = append(m.wrong, fmt.Errorf("%s: %s\nrepeat it with: %s", c, r.Wrong, c.repeat(m.RealNodes)))
	}
	m.reports = append(m.reports, r)
	done := len(m.reports) + m.failed
	left := time.Since(m.began) / time.Duration(done) * time.Duration(len(m.cases)-done)
	m.say("%d of %d, about %s left: %s: %s", done, len(m.cases), left.Round(time.Second), c, r.summary())
	if m.Keep != nil {
		if err := m.Keep(r); err != nil {
			m.stop(err)
		}
	}
}

// run measures one case.
func (c Case) run(ctx context.Context, v *venue, log progress) (r Report, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	s, err := setUp(ctx, v, c, log)
	if err != nil {
		stop(nil)
		return Report{}, err
	}
	defer func() {
		stop(nil)
		err = errors.Join(err, s.tearDown())
	}()
	for _, one := range s.controllers {
		go func() {
			one.Wait()
			if !one.fallen.Load() {
				stop(fmt.Errorf("tgc controller has ended by itself:\n%s", one.Log()))
			}
		}()
	}
	return s.measure(ctx)
}

// quiet is how long requests are sent before and after the scenario.
const quiet = 2 * time.Second

// measure sends requests while the scenario takes place.
func (s *stage) measure(ctx context.Context) (Report, error) {
	defer s.ledger.watch(ctx, s.rig.Client(), s.namespace, s.venue.realNodes)()
	if err := s.await(ctx, "until all pods are healthy to all nodes of the load balancers", s.calm); err != nil {
		return Report{}, err
	}
	generator, err := load.Start(ctx, s.loadOptions())
	if err != nil {
		return Report{}, err
	}
	defer generator.Stop()
	if err := errors.Join(rest(ctx, quiet), s.impose(ctx)); err != nil {
		return Report{}, err
	}
	ends, err := s.Scenario.act(ctx, s)
	if err != nil {
		return Report{}, fmt.Errorf("scenario %s: %w", s.Scenario.Name, err)
	}
	over := func(ctx context.Context) error {
		if told := len(s.ledger.leavers()); told < ends {
			return fmt.Errorf("%d of %d pods have been told to end", told, ends)
		}
		return s.calm(ctx)
	}
	if err := s.await(ctx, "until the scenario is over", over); err != nil {
		return Report{}, err
	}
	if err := rest(ctx, quiet); err != nil {
		return Report{}, err
	}
	return s.report(generator.Stop(), ends), nil
}

// glance is how often is looked whether something has come.
const glance = 50 * time.Millisecond

// await polls until a condition holds, and tells now and then what is missing.
func (s *stage) await(ctx context.Context, what string, holds func(context.Context) error) error {
	s.log.detail("waiting %s", what)
	limited, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	tell := time.NewTicker(max(s.log.every, time.Second))
	defer tell.Stop()
	for {
		err := holds(limited)
		if err == nil {
			return nil
		}
		select {
		case <-tell.C:
			s.log.say("  waiting %s: %v", what, err)
		case <-time.After(glance):
		case <-limited.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("waited %s %s: %w", s.patience(), what, err)
		}
	}
}

// rest waits, unless ctx ends.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// progress tells people what is being done.
type progress struct {
	out    io.Writer
	mu     *sync.Mutex
	prefix string        // of lines about one of several cases
	every  time.Duration // how often a wait tells how it goes
}

func (p progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, p.prefix+format+"\n", args...)
}

// detail is left out where several cases are told of at a time.
func (p progress) detail(format string, args ...any) {
	if p.prefix == "" {
		p.say(format, args...)
	}
}
