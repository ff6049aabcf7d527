package main

import (
	"github.com/spf13/cobra"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/trial"
)

const trialLong = `Kills the controller again and again while pods, Services and bindings come and
go, AWS throttles, fails, hangs and loses replies, watches break, the API server
and etcd are killed, and etcd goes back to an older snapshot. It fails if a target
of a pod that was ready all along is deregistered, or if the end state is wrong.

What happens follows from the seed, when exactly does not: a failure may take some
repetitions to show again.`

func trialCommand() *cobra.Command {
	var o trial.Options
	c := &cobra.Command{
		Use:   "trial",
		Short: "Kill the controller again and again while everything else goes wrong too",
		Long:  trialLong,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := trial.Run(c.Context(), o, c.OutOrStdout())
			return err
		},
	}
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of the first round; each further round has the next")
	c.Flags().IntVar(&o.Kills, "kills", 200, "how often the controller is killed")
	c.Flags().BoolVar(&o.Race, "race", false, "build the controller with the race detector")
	return c
}
