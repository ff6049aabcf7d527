package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/bench"
)

func benchCommand() *cobra.Command {
	var options bench.Options
	c := measurement("bench", "Measure how quickly the controller acts and how many AWS calls it takes", bench.Run, &options)
	c.Flags().IntVar(&options.Services, "services", 100, "number of Services, each with a target group")
	c.Flags().IntVar(&options.Pods, "pods", 10, "number of pods of each Service")
	c.Flags().DurationVar(&options.Latency, "latency", 80*time.Millisecond, "how long each AWS call takes")
	c.Flags().IntVar(&options.Replacements, "replacements", 120, "number of pods to replace")
	c.Flags().DurationVar(&options.Every, "every", time.Second, "how often a pod is replaced")
	c.AddCommand(benchGatesCommand(), benchAdmissionCommand(), benchSidecarsCommand())
	return c
}

// measurement is a command that measures with options, which its flags set.
func measurement[O any](use, short string, measure func(context.Context, O, io.Writer) error, options *O) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return measure(c.Context(), *options, c.OutOrStdout()) },
	}
}

func benchGatesCommand() *cobra.Command {
	var options bench.GateOptions
	c := measurement("gates", "Measure how soon readiness gates open after the load balancer says healthy", bench.Gates, &options)
	c.Flags().IntVar(&options.Deployments, "deployments", 20, "number of Deployments, each with a target group")
	c.Flags().IntVar(&options.Pods, "pods", 5, "number of pods of each Deployment")
	c.Flags().DurationVar(&options.Latency, "latency", 80*time.Millisecond, "how long each AWS call takes")
	c.Flags().DurationVar(&options.Registration, "registration", 3*time.Second, "for how long the load balancer registers a target")
	c.Flags().IntVar(&options.Rolls, "rolls", 2, "how often all Deployments are rolled at once")
	return c
}

func benchAdmissionCommand() *cobra.Command {
	var options bench.AdmissionOptions
	c := measurement("admission", "Measure what the policy and the webhook add to the creation of a pod", bench.Admission, &options)
	c.Flags().IntSliceVar(&options.Bindings, "bindings", []int{1, 10, 100, 1000}, "numbers of bindings in a namespace")
	c.Flags().IntVar(&options.Pods, "pods", 500, "number of pods for each figure")
	return c
}

func benchSidecarsCommand() *cobra.Command {
	var options bench.SidecarOptions
	c := &cobra.Command{
		Use:   "sidecars",
		Short: "Measure how many sidecars come into service at once, and how many AWS calls it takes",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return bench.Sidecars(c.Context(), options, c.OutOrStdout())
		},
	}
	c.Flags().IntVar(&options.Sidecars, "sidecars", 300, "number of sidecars in the account")
	c.Flags().DurationVar(&options.Latency, "latency", 80*time.Millisecond, "how long each AWS call takes")
	c.Flags().DurationVar(&options.Spread, "spread", 0, "--start-spread of each")
	return c
}
