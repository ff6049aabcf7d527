// Command tgc keeps AWS target groups in step with the pods of a Kubernetes
// cluster. Its subcommands are wired here by hand; what they do is in internal.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	_ "golang.org/x/crypto/x509roots/fallback" // the image has no certificates by which to know AWS; those of a system, where there are some, go first

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/config"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/sidecar"
)

// version and revision are set by the linker.
var (
	version  = "dev"
	revision = "unknown"
)

// Exit codes.
const (
	exitFailure = 1 // the work failed
	exitUsage   = 2 // the command line or a setting is wrong
	exitForced  = 3 // a sidecar had to let its pod stop before it was safe
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	started := false
	root := rootCommand(&started)
	root.SetArgs(doubleDashes(root, os.Args[1:]))
	if err := root.ExecuteContext(ctx); err != nil {
		if ended, is := errors.AsType[commandEnded](err); is {
			return ended.exitCode()
		}
		fmt.Fprintf(os.Stderr, "Error: %v\n", err)
		if errors.Is(err, sidecar.ErrForced) {
			return exitForced
		}
		if started {
			return exitFailure
		}
		fmt.Fprintln(os.Stderr, "See the --help of the command.")
		return exitUsage
	}
	return 0
}

// rootCommand is `tgc`. It sets started once the command line was understood.
func rootCommand(started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:           "tgc",
		Short:         "Keep AWS target groups in step with the pods of a Kubernetes cluster",
		Version:       version + " (" + revision + ")",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		return config.FromEnv(cmd.Flags(), os.LookupEnv)
	}
	root.AddCommand(controllerCommand(), sidecarCommand(), simCommand(), installCommand(), versionCommand())
	for _, command := range root.Commands() {
		config.DocumentEnv(command.Flags())
		markStarted(command, started)
	}
	return root
}

// versionCommand is `tgc version`.
func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and the git revision",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), cmd.Root().Version)
			return err
		},
	}
}

// markStarted notes when a command's own checks have passed, so that a wrong
// command line and failed work have different exit codes.
func markStarted(command *cobra.Command, started *bool) {
	work := command.RunE
	command.RunE = func(cmd *cobra.Command, args []string) error {
		*started = true
		return work(cmd, args)
	}
}
