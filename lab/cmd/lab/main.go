// Command lab runs a whole Kubernetes on this machine, without root, containers
// or downloads other than Go modules.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// The first signal stops the lab in order; a second one ends the program
	// at once, and the lab's processes with it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "lab",
		Short:         "A whole Kubernetes on this machine, on loopback addresses only",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(benchCommand(), demoCommand(), loadCommand(), lossesCommand(), trialCommand(), upCommand())
	return root
}
