package losses

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// Case is what is measured in one run.
type Case struct {
	Strategy Strategy
	Scenario Scenario
	Profile  Profile
	// Speed is how many times as fast as the clock the load balancer's time runs.
	Speed float64
	// Rate is how many requests are sent in a second.
	Rate float64
	// RealNodes run the pods instead of loopback nodes, see [world.Options.RealNodes].
	// Then nobody watches for requests that reach pods more than once.
	RealNodes bool
	// Seed draws what each node's delays are and when which request is sent. What
	// Kubernetes and tgc do, and when exactly, it does not determine.
	Seed uint64
}

// String names the case.
func (c Case) String() string {
	return fmt.Sprintf("strategy %s, scenario %s, profile %s, seed %d", c.Strategy.Name, c.Scenario.Name, c.Profile.Name, c.Seed)
}

// repeat is the command that measures the case again.
func (c Case) repeat() string {
	command := "lab losses"
	if c.RealNodes {
		command += " --real-nodes"
	}
	return fmt.Sprintf("%s --strategy %s --scenario %s --profile %s --speed %g --rate %g --seed %d", command,
		c.Strategy.Name, c.Scenario.Name, c.Profile.Name, c.Speed, c.Rate, c.Seed)
}

// Run measures cases, one after the other, each in a world of its own. Progress is
// told on log. The error says which reports are not as they should be, or why
// there are none; the reports are good in any case. When it returns, also because
// ctx ends, nothing that it started is left.
func Run(ctx context.Context, cases []Case, log io.Writer) ([]Report, error) {
	var reports []Report
	var wrong []error
	for i, c := range cases {
		p := progress{out: log}
		p.say("run %d of %d: %s", i+1, len(cases), c)
		r, err := c.run(ctx, p)
		if ctx.Err() != nil {
			return reports, fmt.Errorf("interrupted in run %d of %d", i+1, len(cases))
		}
		if err != nil {
			return reports, fmt.Errorf("%s: %w", c, err)
		}
		p.say("%s", r.summary())
		reports = append(reports, r)
		if r.Wrong != "" {
			wrong = append(wrong, fmt.Errorf("%s: %s\nrepeat it with: %s", c, r.Wrong, c.repeat()))
		}
	}
	return reports, errors.Join(wrong...)
}

// run measures one case.
func (c Case) run(ctx context.Context, log progress) (r Report, err error) {
	s, err := setUp(ctx, c, log)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, s.tearDown()) }()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		s.controller.Wait()
		stop(fmt.Errorf("tgc controller has ended by itself:\n%s", s.controller.Log()))
	}()
	return s.measure(ctx)
}

// quiet is how long requests are sent before and after the scenario.
const quiet = 2 * time.Second

// measure sends requests while the scenario takes place.
func (s *stage) measure(ctx context.Context) (Report, error) {
	defer s.ledger.watch(ctx, s.rig.Client(), s.RealNodes)()
	nothing := func() string { return "" }
	if err := s.await(ctx, "until all pods are healthy to all nodes of the load balancer", s.calm, nothing); err != nil {
		return Report{}, err
	}
	generator, err := load.Start(ctx, s.loadOptions())
	if err != nil {
		return Report{}, err
	}
	defer generator.Stop()
	if err := rest(ctx, quiet); err != nil {
		return Report{}, err
	}
	if err := s.Scenario.begin(ctx, s); err != nil {
		return Report{}, fmt.Errorf("begin the scenario: %w", err)
	}
	count := func() string {
		now := generator.Snapshot()
		return fmt.Sprintf("%d requests sent, %d lost; %d pods told to end; ", now.Sent, now.Lost, len(s.ledger.leavers()))
	}
	if err := s.await(ctx, "until the scenario is over", s.calm, count); err != nil {
		return Report{}, err
	}
	if err := rest(ctx, quiet); err != nil {
		return Report{}, err
	}
	return s.report(generator.Stop()), nil
}

// patience is how long the wait for calm may take. It is no expectation of speed.
func (s *stage) patience() time.Duration {
	pods := time.Duration(s.Scenario.Replicas) * (time.Duration(s.timing.MinReady)*time.Second + 5*time.Second)
	slow := s.Profile.DeregistrationDelay + s.Profile.Delays.Deregister.Longest() + s.Profile.Delays.Register.Longest()
	return time.Minute + pods + time.Duration(s.timing.Grace)*time.Second + time.Duration(float64(slow)/s.Speed)
}

// await polls until a condition holds, and tells every few seconds how it goes and
// what is missing.
func (s *stage) await(ctx context.Context, what string, holds func(context.Context) error, how func() string) error {
	s.log.say("waiting %s", what)
	limited, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	tell := time.NewTicker(5 * time.Second)
	defer tell.Stop()
	for {
		err := holds(limited)
		if err == nil {
			return nil
		}
		select {
		case <-tell.C:
			s.log.say("  %s%v", how(), err)
		case <-time.After(50 * time.Millisecond):
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
type progress struct{ out io.Writer }

func (p progress) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }
