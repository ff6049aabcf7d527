package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/config"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

const simExample = `  # One group behind an Application Load Balancer, with real health checks on
  # loopback: the target 10.1.2.3:8080 is checked at 127.1.2.3:8080.
  tgc sim --group name=web,protocol=HTTP,port=80,loadBalancer=front --dial-map 10.0.0.0/8=127.0.0.0/8

  # Point the AWS CLI at it.
  aws --endpoint-url http://127.0.0.1:8480 elbv2 describe-target-groups

  # Run a program with a simulator of its own, and end with its exit code. The
  # AWS SDKs find it by the environment.
  tgc sim --listen 127.0.0.1:0 --health-checks pass --group name=web,loadBalancer=front -- npm test

  # A whole world from a file, without throttling, every call taking 80 ms or more.
  tgc sim --seed world.yaml --no-throttling --latency 80ms --latency-spread 20ms

  # See the calls that were made, and make the next registration lose its reply.
  curl http://127.0.0.1:8480/_sim/calls
  curl -d '{"action":"RegisterTargets","kind":"lose","count":1}' http://127.0.0.1:8480/_sim/faults`

const simLong = `Run an ELBv2 simulator: target groups, targets with health checks and draining, load balancers, listeners,
quotas and throttling, over AWS's query protocol. An admin API scripts faults and tells which calls were made.
Nothing is stored; the simulator needs no credentials and reaches no network but the targets it checks.

A line that begins with "ready" tells when it listens, and where. SIGTERM or an interrupt ends it with exit code 0.
A command after -- is run in an environment that points the AWS SDKs at the simulator; when it ends, so does the
simulator, with its exit code.`

// simCommand is `+"`tgc sim`"+`.
func simCommand() *cobra.Command {
	var flags simFlags
	var sim *elbsim.Sim
	command := &cobra.Command{
		Use:     "sim [-- COMMAND [ARGUMENT...]]",
		Short:   "Run an ELBv2 simulator that speaks AWS's own protocol",
		Long:    simLong,
		Example: simExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return fmt.Errorf("%q is no flag: a command to run with the simulator comes after --", args[0])
			}
			return nil
		},
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			options, err := flags.options(cmd.Flags())
			if err == nil {
				sim, err = elbsim.New(options)
			}
			return config.NameEnv(cmd.Flags(), err)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := sim.Listen(cmd.Context(), flags.listen, flags.admin)
			if err != nil {
				return fmt.Errorf("%w (--listen and --admin-listen say where; port 0 picks a free one)", err)
			}
			if len(args) > 0 {
				return serveDuring(cmd, server, args)
			}
			return serve(cmd.Context(), server, cmd.OutOrStdout(), nil)
		},
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return config.Explain(err) })
	flags.add(command.Flags())
	addSettingFlags(command.Flags())
	return command
}

// serve tells where the server is and serves until ctx ends, or until during
// returns if that is not nil.
func serve(ctx context.Context, server *elbsim.Server, out io.Writer, during func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(ctx)
		stop()
	}()
	err := announce(out, server)
	if err == nil && during != nil {
		err = during(ctx)
	}
	if err != nil || during != nil {
		stop()
	}
	return cmp.Or(<-served, err)
}

// announce writes a line for each group and, with a data plane, for each listener,
// then the line that says that all is ready.
func announce(out io.Writer, server *elbsim.Server) error {
	for _, group := range server.Groups() {
		fmt.Fprintf(out, "group name=%s arn=%s\n", group.Name, group.ARN)
	}
	if server.CarriesTraffic() {
		balancers, err := server.LoadBalancers()
		if err != nil {
			return err
		}
		for _, b := range balancers {
			for _, l := range b.Listeners {
				fmt.Fprintf(out, "listener loadbalancer=%s port=%d nodes=%s\n", b.Name, l.Port, strings.Join(l.Nodes, ","))
			}
		}
	}
	fmt.Fprintf(out, "ready endpoint=%s admin=%s page=%[2]s/\n", server.Endpoint, server.Admin)
	return nil
}

// endGrace is how long a command may take to end once it was told to.
const endGrace = 10 * time.Second

// serveDuring serves while a command runs. Standard output is the command's.
func serveDuring(cmd *cobra.Command, server *elbsim.Server, command []string) error {
	return serve(cmd.Context(), server, cmd.ErrOrStderr(), func(ctx context.Context) error {
		child := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // running it is what was asked for
		child.Env = append(os.Environ(), server.Environ(os.Getenv)...)
		child.Stdin, child.Stdout, child.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
		child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
		child.WaitDelay = endGrace
		err := child.Run()
		if _, ended := errors.AsType[*exec.ExitError](err); ended || ctx.Err() != nil && child.ProcessState != nil {
			return commandEnded{child.ProcessState}
		}
		return err
	})
}

// commandEnded is the end of a command that a user asked to run, and no failure
// of ours.
type commandEnded struct{ state *os.ProcessState }

// Error tells how the command ended.
func (c commandEnded) Error() string { return "the command ended: " + c.state.String() }

// exitCode is the command's own, or as in shells 128 and the number of the signal
// that ended it.
func (c commandEnded) exitCode() int {
	if status, is := c.state.Sys().(syscall.WaitStatus); is && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return c.state.ExitCode()
}
