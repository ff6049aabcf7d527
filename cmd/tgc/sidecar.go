package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/config"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/awselb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/sidecar"
)

const sidecarExample = `  # Register the pod (POD_IP from the downward API) in a target group, once the
  # application answers, on the port of the group.
  tgc sidecar --target-group-name web --wait-for http://127.0.0.1:8080/ready

  # Two target groups, another port, and a drain that is given its time.
  tgc sidecar --target-group-arn arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef \
    --target-group-name internal-web --port 8443 --grace-period 120s --shutdown-period 10s

  # With a volume of the pod at /hook, which the application's container mounts too, its
  # preStop hook is exec: {command: [/hook/tgc, wait]}
  tgc sidecar --target-group-name web --grace-period 120s --state-dir /hook --hook-dir /hook

  # As for the earlier sidecar, whose commands were run by a shell.
  tgc sidecar -target-group-name web -target-id 10.1.2.3 -wait-in-service-timeout 2m \
    -post-deregister-command 'echo gone > /shared/state' -shell`

const sidecarLong = `Register this pod in target groups, and deregister it before it stops, without a controller: a container beside
the application that needs no rights in Kubernetes, and in AWS those to register, deregister and describe targets.

It serves /healthz, /in-service, /metrics and /drain. A preStop hook of the other containers calls /drain, which
deregisters the pod and answers when no load balancer sends requests any more. The program that --hook-dir puts into a
volume does that, and holds even if this program crashes meanwhile. SIGTERM does the same as /drain and ends the
program after it.

Exit codes: 0 told to end, and left in order; 1 a failure; 2 a wrong command line or setting; 3 told to end, and
the grace period was too short for load balancers to stop sending first.`

// sidecarCommand is `tgc sidecar`.
func sidecarCommand() *cobra.Command {
	var flags config.Sidecar
	command := &cobra.Command{
		Use:     "sidecar",
		Short:   "Keep the pod that it runs in registered in target groups",
		Long:    sidecarLong,
		Example: sidecarExample,
		Args:    cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			interfaces, err := config.InterfaceAddrs()
			if err == nil {
				err = flags.Complete(os.LookupEnv, interfaces)
			}
			if err == nil {
				err = flags.Check()
			}
			return config.NameEnv(cmd.Flags(), err)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Who waits at a terminal ends it for good with a second Ctrl-C.
			context.AfterFunc(cmd.Context(), func() { signal.Reset(os.Interrupt) })
			return runSidecar(cmd.Context(), flags)
		},
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return config.Explain(err) })
	flags.AddFlags(command.Flags())
	return command
}

func runSidecar(ctx context.Context, flags config.Sidecar) error {
	settings, err := flags.Settings()
	if err != nil {
		return err
	}
	if len(flags.TargetGroupNames) > 0 && settings.Region == "" {
		if settings.Region, err = awselb.Region(ctx); err != nil {
			return err
		}
	}
	if flags.HookDir != "" {
		if err := installHook(flags.HookDir, settings.Hook()); err != nil {
			return fmt.Errorf("--hook-dir %s: want a directory that can be written to, such as an emptyDir volume: %w", flags.HookDir, err)
		}
	}
	registry := prometheus.NewRegistry()
	meter := metrics.New(registry)
	log := slog.New(logHandler(flags.Logs))
	s, err := sidecar.New(settings, sidecar.Surroundings{
		Accounts: newAccounts(meter, pace.OneOfMany()), Metrics: meter, Log: log,
		Samples: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	})
	if err != nil {
		return err
	}
	log.Info("Starting", "version", version, "revision", revision, "addresses", settings.Addrs)
	return s.Run(ctx)
}
