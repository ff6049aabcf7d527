package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/cluster"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

const upLong = `Starts etcd, kube-apiserver, kube-controller-manager, kube-scheduler and some
nodes, prints where the kubeconfig is, and runs until Ctrl-C. The first time it
compiles Kubernetes, which takes minutes.

Pods run built-in apps, chosen by the image: lab.local/web, lab.local/echo,
lab.local/job, lab.local/pause, lab.local/host. A pod with the address 10.a.b.c is reached at
127.a.b.c.

Try:
  kubectl create deployment web --image=lab.local/web --replicas=3 --port=8080
  kubectl get pods -o wide
  curl 127.1.1.2:8080

With --real-nodes there is a kubelet, containerd and runc for each node, and pods
are real containers. That takes root, Linux and a Debian or a relative of it,
whose packages are downloaded but not installed. Everything is in a network of its
own; a command before which the printed prefix stands runs in it. Images are
web:1, echo:1, job:1, pause:1 and tgc:1 of lab.local/, and what you push to the
printed registry. Give the tag, or the kubelet looks for latest.`

type upFlags struct {
	nodes      int
	zones      []string
	grace      time.Duration
	kubeconfig string
	verbose    bool
	ipv6       bool
	real       bool
}

func upCommand() *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a control plane with nodes and run until Ctrl-C",
		Long:  upLong,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return up(c.Context(), f, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().IntVar(&f.nodes, "nodes", 3, "number of nodes, at most 250")
	c.Flags().StringSliceVar(&f.zones, "zones", []string{"us-east-1a", "us-east-1b", "us-east-1c"}, "availability zones, given to the nodes in turn")
	c.Flags().DurationVar(&f.grace, "node-grace", 40*time.Second, "how long a node may be silent until it counts as lost")
	c.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "also write the kubeconfig to this file; it is not removed")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "print what containers print")
	c.Flags().BoolVar(&f.ipv6, "ipv6", false, "give pods a second, IPv6 address")
	c.Flags().BoolVar(&f.real, "real-nodes", false, "run kubelets and containers instead of loopback nodes")
	c.MarkFlagsMutuallyExclusive("real-nodes", "ipv6")
	return c
}

func up(ctx context.Context, f upFlags, stdout, stderr io.Writer) error {
	if f.nodes < 1 || f.nodes > 250 {
		return fmt.Errorf("--nodes=%d is not between 1 and 250", f.nodes)
	}
	if f.real {
		if err := realnode.Enter(ctx, stderr); err != nil {
			return err
		}
	}
	w, err := world.Start(ctx, f.world(stderr))
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	}
	if err := announce(w, f, stdout); err != nil {
		return errors.Join(err, w.Stop())
	}
	<-ctx.Done()
	return w.Stop()
}

func (f upFlags) world(stderr io.Writer) world.Options {
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	options := world.Options{
		Nodes:     f.nodes,
		RealNodes: f.real,
		Zones:     f.zones,
		NodeGrace: f.grace,
		Log:       slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	}
	options.Cluster.Progress = stderr
	options.Fleet.IPv6 = f.ipv6
	return options
}

func announce(w *world.World, f upFlags, stdout io.Writer) error {
	path := w.Kubeconfig()
	if f.kubeconfig != "" {
		path = f.kubeconfig
		if err := cluster.WriteKubeconfig(path, w.Config(), "default"); err != nil {
			return err
		}
	}
	if f.real {
		fmt.Fprintf(stdout, "alias inside='nsenter --net=/proc/%d/ns/net'   # inside kubectl get nodes\n", os.Getpid())
		fmt.Fprintf(stdout, "# images come from %s: inside make push IMAGE=%[1]s/tgc:mine\n", w.Real.Registry())
	}
	fmt.Fprintf(stdout, "export KUBECONFIG=%s\n", path)
	fmt.Fprintf(stdout, "# %d nodes; logs in %s; Ctrl-C ends it all\n", f.nodes, w.LogDir())
	return nil
}
