package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/losses"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
)

const lossesLong = `Measures how many requests are lost when pods leave: real requests through a
simulated load balancer, whose nodes learn of changes as late as those of AWS, to
pods that the real tgc registers. Each run starts a cluster of its own and leaves
nothing behind. What a preStop sleep gives, and what not, is told in
docs/zero-downtime.md.

%s
It exits with 1 if something is lost in spite of a protection, if nothing is lost
without, and if a loss is not explained by a pod that left.

Equal seeds send the same requests at the same times, to nodes with the same
delays. What Kubernetes and tgc do takes longer or shorter each time, so numbers
differ a little.`

const lossesExample = `  lab losses
  lab losses --runs 10 --profile ALB,NLB --strategy none,hold
  lab losses --strategy none --seed 7 --output json > losses.json`

type lossesFlags struct {
	strategies, scenarios, profiles []string
	speed, rate                     float64
	seed                            uint64
	runs                            int
	output                          string
	realNodes                       bool
}

func lossesCommand() *cobra.Command {
	var f lossesFlags
	c := &cobra.Command{
		Use:     "losses",
		Short:   "Measure how many requests are lost when pods leave",
		Long:    fmt.Sprintf(lossesLong, lossesLists()),
		Example: lossesExample,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.strategies, "strategy", []string{"none", "sleep", "gate", "hold"}, "how pods are protected")
	flags.StringSliceVar(&f.scenarios, "scenario", []string{"rolling-update"}, "what ends them")
	flags.StringSliceVar(&f.profiles, "profile", []string{"ALB"}, "what load balancer is before them")
	flags.Float64Var(&f.speed, "speed", 0, "how many times as fast as the clock the load balancer's time runs; 0 is what suits the profile")
	flags.Float64Var(&f.rate, "rate", 200, "requests a second, on average")
	flags.Uint64Var(&f.seed, "seed", 1, "draws requests and delays in the first run; each further one has the next")
	flags.IntVar(&f.runs, "runs", 1, "how many runs of each combination")
	flags.StringVar(&f.output, "output", "table", "table or json, with each lost request and each pod that ended; durations in nanoseconds")
	flags.BoolVar(&f.realNodes, "real-nodes", false, "run the pods on real nodes; see lab up --help")
	return c
}

// lossesLists tells what there is to choose from.
func lossesLists() string {
	var b strings.Builder
	line := func(name, about string) { fmt.Fprintf(&b, "  %-16s %s\n", name, about) }
	b.WriteString("Strategies:\n")
	for _, s := range losses.Strategies() {
		line(s.Name, s.About)
	}
	b.WriteString("Scenarios:\n")
	for _, s := range losses.Scenarios() {
		line(s.Name, s.About)
	}
	b.WriteString("Profiles:\n")
	for _, p := range losses.Profiles() {
		line(p.Name, p.About)
	}
	return b.String()
}

func (f lossesFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	cases, err := f.cases()
	if err != nil {
		return err
	}
	write := losses.WriteTable
	switch f.output {
	case "table":
	case "json":
		write = losses.WriteJSON
	default:
		return fmt.Errorf("--output %q is neither table nor json", f.output)
	}
	if f.realNodes {
		if i := slices.IndexFunc(cases, func(c losses.Case) bool { return c.Strategy.Loopback }); i >= 0 {
			return fmt.Errorf("--strategy %s needs loopback nodes: leave out --real-nodes", cases[i].Strategy.Name)
		}
		if err := realnode.Enter(ctx, stderr); err != nil {
			return err
		}
	}
	reports, wrong := losses.Run(ctx, cases, stderr)
	if err := write(stdout, reports); err != nil {
		return err
	}
	return wrong
}

// cases are all combinations, those with the same seed together.
func (f lossesFlags) cases() ([]losses.Case, error) {
	if f.speed < 0 || f.rate <= 0 || f.runs < 1 {
		return nil, fmt.Errorf("--speed %g, --rate %g, --runs %d: want a speed of at least 0, a rate above 0 and at least one run", f.speed, f.rate, f.runs)
	}
	strategies, err := chosen("--strategy", f.strategies, losses.Strategies(), func(s losses.Strategy) string { return s.Name })
	if err != nil {
		return nil, err
	}
	scenarios, err := chosen("--scenario", f.scenarios, losses.Scenarios(), func(s losses.Scenario) string { return s.Name })
	if err != nil {
		return nil, err
	}
	profiles, err := chosen("--profile", f.profiles, losses.Profiles(), func(p losses.Profile) string { return p.Name })
	if err != nil {
		return nil, err
	}
	var cases []losses.Case
	for _, profile := range profiles {
		for _, scenario := range scenarios {
			for i := range f.runs {
				for _, strategy := range strategies {
					cases = append(cases, losses.Case{
						Strategy: strategy, Scenario: scenario, Profile: profile,
						Speed: cmp.Or(f.speed, profile.Speed), Rate: f.rate, Seed: f.seed + uint64(i),
						RealNodes: f.realNodes,
					})
				}
			}
		}
	}
	return cases, nil
}

// chosen are those of all that have the names, in the order of the names.
func chosen[T any](flag string, names []string, all []T, nameOf func(T) string) ([]T, error) {
	var some []T
	for _, name := range names {
		i := slices.IndexFunc(all, func(t T) bool { return nameOf(t) == name })
		if i < 0 {
			var known []string
			for _, t := range all {
				known = append(known, nameOf(t))
			}
			return nil, fmt.Errorf("%s %q is none of %s", flag, name, strings.Join(known, ", "))
		}
		some = append(some, all[i])
	}
	return some, nil
}
