package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

const loadLong = `Sends requests at a fixed rate, whatever becomes of them, and counts those that no
pod answered: each has an id, and its answer must echo the id and name the pod,
as lab.local/web does. Requests are POSTs that no client library sends twice.

The mix says of what kind they are, in parts of the sum:
  keepalive  on a kept connection, if one is free
  new        on a connection of their own
  long       ask the server to take --long for them
  slow       stop for --pause amid sending and amid reading
  raw        over TCP without HTTP, to targets of the form tcp://host:port
  flow       the same on a kept connection, if one is free

It ends after --duration or at Ctrl-C, then waits for what is outstanding. Losses
are data: the exit code is 0 all the same, unless --fail-on-loss is given.`

const loadExample = `  lab load --target http://127.0.0.1:8080 --rate 300 --duration 30s
  lab load --target http://127.0.0.1:8080 --target http://127.0.0.2:8080 \
    --rate 300 --mix keepalive=60,new=30,long=10 --long 5s --fail-on-loss
  lab load --target http://127.0.0.1:8080 --rate 300 --duration 10m --json > load.json`

type loadFlags struct {
	options    load.Options
	mix        string
	arrivals   string
	json       bool
	failOnLoss bool
	progress   time.Duration
}

func loadCommand() *cobra.Command {
	var f loadFlags
	c := &cobra.Command{
		Use:     "load",
		Short:   "Send requests at a fixed rate and count those that no pod answers",
		Long:    loadLong,
		Example: loadExample,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags, o := c.Flags(), &f.options
	flags.StringSliceVar(&o.Targets, "target", nil, "where to send, http://host:port or tcp://host:port; several take turns")
	flags.Float64Var(&o.Rate, "rate", 100, "requests a second, on average")
	flags.DurationVar(&o.Duration, "duration", 0, "how long to send; 0 is until Ctrl-C")
	flags.StringVar(&f.mix, "mix", "keepalive=1", "parts of each kind of request")
	flags.StringVar(&f.arrivals, "arrivals", string(load.Poisson), "poisson or uniform")
	flags.Uint64Var(&o.Seed, "seed", 1, "decides when each request is due and of which kind it is")
	flags.DurationVar(&o.Timeout, "timeout", 30*time.Second, "how long a request may take")
	flags.DurationVar(&o.Drain, "drain", 0, "how long to wait for answers in the end (default: 5s more than --timeout)")
	flags.DurationVar(&o.Idle, "idle", 20*time.Second, "how long an unused connection is kept; must be below that of the load balancer")
	flags.DurationVar(&o.Long, "long", 2*time.Second, "how long a long request asks the server to take")
	flags.DurationVar(&o.Pause, "pause", 500*time.Millisecond, "how long a slow request stops, twice")
	flags.DurationVar(&o.Late, "late", 20*time.Millisecond, "from which lag of this program on a request counts as sent late")
	flags.IntVar(&o.MaxOutstanding, "max-outstanding", 10_000, "how many requests may be out at the same time")
	flags.IntVar(&o.KeepLosses, "keep-losses", 1000, "how many losses to describe one by one; all are counted")
	flags.BoolVar(&f.json, "json", false, "print JSON, with a time series; durations in nanoseconds")
	flags.BoolVar(&f.failOnLoss, "fail-on-loss", false, "exit with 1 if a request was lost or not sent")
	flags.DurationVar(&f.progress, "progress", 5*time.Second, "how often to print on stderr how it goes; 0 is never")
	return c
}

func (f loadFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	mix, err := load.ParseMix(f.mix)
	if err != nil {
		return fmt.Errorf("--mix: %w", err)
	}
	if len(f.options.Targets) == 0 {
		return errors.New("--target is missing: where should the requests go?")
	}
	f.options.Mix, f.options.Arrivals = mix, load.Arrivals(f.arrivals)
	generator, err := load.Start(ctx, f.options)
	if err != nil {
		return err
	}
	f.watch(generator, stderr)
	result := generator.Wait()
	write := result.WriteText
	if f.json {
		write = result.WriteJSON
	}
	if err := write(stdout); err != nil {
		return err
	}
	return f.verdict(result)
}

// watch prints how it goes until it is over.
func (f loadFlags) watch(generator *load.Generator, stderr io.Writer) {
	if f.progress <= 0 {
		return
	}
	ticker := time.NewTicker(f.progress)
	defer ticker.Stop()
	for {
		select {
		case <-generator.Done():
			return
		case <-ticker.C:
		}
		s := generator.Snapshot()
		fmt.Fprintf(stderr, "%5s  sent %d  answered %d  lost %d  outstanding %d  late %d\n",
			s.Elapsed.Round(time.Second), s.Sent, s.Answered, s.Lost, s.Outstanding, s.Punctuality.Late)
	}
}

func (f loadFlags) verdict(r load.Result) error {
	switch skipped := r.Punctuality.Skipped; {
	case !f.failOnLoss:
		return nil
	case r.Sent == 0:
		return errors.New("no request was sent")
	case r.Lost > 0 || skipped > 0:
		return fmt.Errorf("of %d requests %d were lost, %d more could not be sent", r.Sent, r.Lost, skipped)
	}
	return nil
}
