package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/losses"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
)

const lossesLong = `Measures how many requests are lost when pods leave: real requests through
simulated load balancers, whose nodes learn of changes as late as those of AWS, to
pods that the real tgc registers. It starts one cluster for all cases and leaves
nothing behind. Each case has a namespace, a tgc and a load balancer of its own, so
that several can be measured at a time. What came out of it, and what it means, is
told in docs/zero-downtime.md.

%s
It exits with 1 if something is lost in spite of a protection, if nothing is lost
without where something must be, and if a loss is not explained by a pod that left.

Equal seeds send the same requests at the same times, to nodes with the same
delays. What Kubernetes and tgc do takes longer or shorter each time, so numbers
differ a little.

With --results each report is appended to a file as soon as there is one, in a line
of JSON, and what is in there is not measured again: a measurement can be
interrupted at any time and gone on with by the same command. "lab losses report"
prints such files.`

const lossesExample = `  lab losses
  lab losses --scenario scale-down,node-drain --strategy none,hold --profile all
  lab losses --runs 10 --parallel 4 --profile ALB,NLB --strategy none,hold
  lab losses --strategy none --seed 7 --output json > losses.json

  # The whole table, side by side, in pieces as long as you like.
  lab losses --strategy all --scenario all --profile all --lateness all \
    --parallel 12 --rate 60 --results losses.jsonl
  lab losses report --output markdown losses.jsonl`

type lossesFlags struct {
	strategies, scenarios, profiles, latenesses []string

	speed, rate float64
	seed        uint64
	runs        int
	parallel    int
	output      string
	results     string
	realNodes   bool
}

const outputHelp = "table, json or markdown: a line for each case, all that is known of it, or what was lost in each"

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
	flags.StringSliceVar(&f.strategies, "strategy", []string{everything}, "how pods are protected")
	flags.StringSliceVar(&f.scenarios, "scenario", []string{"rolling-update"}, "what ends them")
	flags.StringSliceVar(&f.profiles, "profile", []string{"ALB"}, "what load balancer is before them")
	flags.StringSliceVar(&f.latenesses, "lateness", []string{"normal"}, "how late deregistrations are")
	flags.Float64Var(&f.speed, "speed", 0, "how many times as fast as the clock the load balancer's time runs; 0 is what suits the profile")
	flags.Float64Var(&f.rate, "rate", 200, "requests a second in each case, on average")
	flags.Uint64Var(&f.seed, "seed", 1, "draws requests and delays in the first run; each further one has the next")
	flags.IntVar(&f.runs, "runs", 1, "how many runs of each combination")
	flags.IntVar(&f.parallel, "parallel", 1, "how many cases are measured at a time")
	flags.StringVar(&f.output, "output", "table", outputHelp)
	flags.StringVar(&f.results, "results", "", "file to keep reports in; what is in there is not measured again")
	flags.BoolVar(&f.realNodes, "real-nodes", false, "run the pods on real nodes; see lab up --help")
	c.AddCommand(lossesReportCommand())
	return c
}

func lossesReportCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "report FILE...",
		Short:   "Print what lab losses --results has kept",
		Example: "  lab losses report --output markdown losses.jsonl more.jsonl",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			write, err := lossesWriter(output)
			if err != nil {
				return err
			}
			var reports []losses.Report
			for _, file := range files {
				some, err := losses.ReadStore(file)
				if err != nil {
					return err
				}
				reports = append(reports, some...)
			}
			return write(c.OutOrStdout(), reports)
		},
	}
	c.Flags().StringVar(&output, "output", "table", outputHelp)
	return c
}

func lossesWriter(output string) (func(io.Writer, []losses.Report) error, error) {
	switch output {
	case "table":
		return losses.WriteTable, nil
	case "json":
		return losses.WriteJSON, nil
	case "markdown":
		return losses.WriteMatrix, nil
	}
	return nil, fmt.Errorf("--output %q is none of table, json, markdown", output)
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
	b.WriteString("Lateness of deregistrations:\n")
	for _, l := range losses.Latenesses() {
		line(l.Name, l.About)
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
	write, err := lossesWriter(f.output)
	if err != nil {
		return err
	}
	if f.realNodes {
		if err := realnode.Enter(ctx, stderr); err != nil {
			return err
		}
	}
	options := losses.Options{RealNodes: f.realNodes, Parallel: f.parallel, Progress: stderr}
	if f.results == "" {
		reports, wrong := losses.Run(ctx, cases, options)
		return errors.Join(wrong, write(stdout, reports))
	}
	store, err := losses.OpenStore(f.results)
	if err != nil {
		return err
	}
	options.Keep = store.Add
	_, wrong := losses.Run(ctx, store.Missing(cases, f.realNodes), options)
	return errors.Join(wrong, write(stdout, store.Reports()), store.Close())
}

// cases are all combinations that make sense, those with the same seed together.
func (f lossesFlags) cases() ([]losses.Case, error) {
	strategies, err1 := chosen("--strategy", f.strategies, losses.Strategies(), func(s losses.Strategy) string { return s.Name })
	scenarios, err2 := chosen("--scenario", f.scenarios, losses.Scenarios(), func(s losses.Scenario) string { return s.Name })
	profiles, err3 := chosen("--profile", f.profiles, losses.Profiles(), func(p losses.Profile) string { return p.Name })
	latenesses, err4 := chosen("--lateness", f.latenesses, losses.Latenesses(), func(l losses.Lateness) string { return l.Name })
	if err := errors.Join(f.check(), err1, err2, err3, err4); err != nil {
		return nil, err
	}
	var cases []losses.Case
	for i := range f.runs {
		c := losses.Case{Rate: f.rate, Seed: f.seed + uint64(i)}
		for _, c.Lateness = range latenesses {
			for _, c.Scenario = range scenarios {
				for _, c.Profile = range profiles {
					for _, c.Strategy = range strategies {
						c.Speed = cmp.Or(f.speed, c.Profile.Speed)
						cases = append(cases, c)
					}
				}
			}
		}
	}
	cases = slices.DeleteFunc(cases, func(c losses.Case) bool { return !c.Shows() })
	if len(cases) == 0 {
		return nil, fmt.Errorf("--scenario %s with --strategy %s and --lateness %s shows nothing: restart-storm deregisters nothing that could be late, it and new-leader need a controller, and sidecar-crash a sidecar",
			strings.Join(f.scenarios, ","), strings.Join(f.strategies, ","), strings.Join(f.latenesses, ","))
	}
	return cases, nil
}

func (f lossesFlags) check() error {
	if f.speed < 0 || f.rate <= 0 || f.runs < 1 || f.parallel < 1 {
		return fmt.Errorf("--speed %g, --rate %g, --runs %d, --parallel %d: want a speed of at least 0, a rate above 0, at least one run and one case at a time",
			f.speed, f.rate, f.runs, f.parallel)
	}
	return nil
}

// everything stands for all names.
const everything = "all"

// chosen are those of all that have the names, in the order of the names.
func chosen[T any](flag string, names []string, all []T, nameOf func(T) string) ([]T, error) {
	if slices.Equal(names, []string{everything}) {
		return all, nil
	}
	var some []T
	for _, name := range names {
		i := slices.IndexFunc(all, func(t T) bool { return nameOf(t) == name })
		if i < 0 {
			var known []string
			for _, t := range all {
				known = append(known, nameOf(t))
			}
			return nil, fmt.Errorf("%s %q is none of %s, %s", flag, name, strings.Join(known, ", "), everything)
		}
		some = append(some, all[i])
	}
	return some, nil
}
