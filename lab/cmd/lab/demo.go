package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/demo"
)

const demoLong = `Starts a control plane, nodes, the ELBv2 simulator and tgc, and tells live what
becomes of the targets while pods come, go and fall ill. It runs until Ctrl-C
and leaves nothing behind.

The first time it compiles Kubernetes, which takes minutes.`

func demoCommand() *cobra.Command {
	var once bool
	var listen string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show tgc at work in a whole cluster, with nothing but this machine",
		Long:  demoLong,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return demo.Run(c.Context(), demo.Options{Once: once, Listen: listen, Out: c.OutOrStdout(), Color: demo.Colored(os.Stdout)})
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8640", "where the page is served; port 0 picks a free one")
	c.Flags().BoolVar(&once, "once", false, "play each act once, and fail if one does not end as it should")
	return c
}
