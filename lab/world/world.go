// Package world is a whole Kubernetes on one machine: a control plane (package
// cluster) and nodes whose pods are servers on loopback addresses (package
// node). The demo, the integration tests and the benchmarks run in it.
package world

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/cluster"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
)

// Options of a world. The zero value is one of three nodes in three zones.
type Options struct {
	// Nodes is their number; they are named node-1 and so on. Zero: 3. Below
	// zero: none.
	Nodes int
	// Zones are given to the nodes in turn. Empty: us-east-1a, -1b, -1c.
	Zones []string
	// NodeGrace is how long a node may be silent until it counts as lost; the
	// leases are renewed at a quarter of it. Zero: 40 s.
	NodeGrace time.Duration
	// Log receives what containers print and what goes wrong. Nil: nothing.
	Log *slog.Logger
	// Cluster and Fleet are passed on; what is said above wins.
	Cluster cluster.Options
	Fleet   node.Options
}

// World is a running Kubernetes with nodes.
type World struct {
	*cluster.Cluster
	// Nodes runs the pods.
	Nodes *node.Fleet
}

// Start brings a world up. It returns when all nodes are registered. On an error,
// also when ctx ends meanwhile, nothing is left.
func Start(ctx context.Context, options Options) (*World, error) {
	withDefaults(&options)
	c, err := cluster.Start(ctx, options.Cluster)
	if err != nil {
		return nil, fmt.Errorf("world: %w", err)
	}
	options.Fleet.Config = c.Config()
	fleet, err := node.Start(ctx, options.Fleet)
	if err != nil {
		c.Stop()
		return nil, fmt.Errorf("world: %w", err)
	}
	w := &World{Cluster: c, Nodes: fleet}
	for i := range options.Nodes {
		spec := node.Spec{Name: fmt.Sprintf("node-%d", i+1), Zone: options.Zones[i%len(options.Zones)]}
		if _, err := fleet.Add(ctx, spec); err != nil {
			w.Stop()
			return nil, fmt.Errorf("world: %w", err)
		}
	}
	return w, nil
}

func withDefaults(o *Options) {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if len(o.Zones) == 0 {
		o.Zones = []string{"us-east-1a", "us-east-1b", "us-east-1c"}
	}
	if o.NodeGrace == 0 {
		o.NodeGrace = 40 * time.Second
	}
	o.Cluster.NodeGrace = o.NodeGrace
	o.Fleet.LeaseEvery = o.NodeGrace / 4
	o.Fleet.Log = o.Log
}

// Stop ends everything and leaves nothing behind.
func (w *World) Stop() error {
	w.Nodes.Stop()
	if err := w.Cluster.Stop(); err != nil {
		return fmt.Errorf("world: %w", err)
	}
	return nil
}
