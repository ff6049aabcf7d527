// Package world is a whole Kubernetes on one machine: a control plane (package
// cluster) and nodes, either such whose pods are servers on loopback addresses
// (package node) or real ones (package realnode). The demo, the integration tests
// and the benchmarks run in it.
package world

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/cluster"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
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
	// RealNodes are wanted instead of loopback nodes. The program must have
	// entered a network of its own, see [realnode.Enter].
	RealNodes bool
	// Log receives what containers print and what goes wrong. Nil: nothing.
	Log *slog.Logger
	// Cluster, Fleet and Real are passed on; what is said above wins. Fleet is
	// for loopback nodes, Real for real ones.
	Cluster cluster.Options
	Fleet   node.Options
	Real    realnode.Options
}

// Node is one node, loopback or real.
type Node interface {
	Name() string
	// Address of the node in the cluster.
	Address() netip.Addr
	// PowerOff cuts the node's power: its pods fall silent, connections hang.
	// The control plane finds out by itself.
	PowerOff()
	// PowerOn boots a node whose power was cut. Its pods start anew, with new
	// addresses and a restart counted.
	PowerOn(ctx context.Context) error
	// Remove cuts the node's power and deletes the Node object.
	Remove(ctx context.Context) error
	// Cordon makes the scheduler avoid the node, or takes that back.
	Cordon(ctx context.Context, on bool) error
	// Drain cordons the node and evicts its pods; it returns when they are gone.
	Drain(ctx context.Context) error
}

// World is a running Kubernetes with nodes.
type World struct {
	*cluster.Cluster
	// Nodes runs the pods on loopback nodes; nil in a world of real ones.
	Nodes *node.Fleet
	// Real runs the real nodes; nil in a world of loopback nodes.
	Real *realnode.Fleet
}

// Start brings a world up. It returns when all nodes are registered. On an error,
// also when ctx ends meanwhile, nothing is left.
func Start(ctx context.Context, options Options) (*World, error) {
	withDefaults(&options)
	c, err := cluster.Start(ctx, options.Cluster)
	if err != nil {
		return nil, fmt.Errorf("world: %w", err)
	}
	w := &World{Cluster: c}
	if err := w.start(ctx, options); err != nil {
		return nil, errors.Join(fmt.Errorf("world: %w", err), w.Stop())
	}
	return w, nil
}

func (w *World) start(ctx context.Context, options Options) (err error) {
	specs := make([]node.Spec, max(0, options.Nodes))
	for i := range specs {
		specs[i] = node.Spec{Name: fmt.Sprintf("node-%d", i+1), Zone: options.Zones[i%len(options.Zones)]}
	}
	if options.RealNodes {
		options.Real.Config, options.Real.Dir = w.Config(), w.LogDir()
		if w.Real, err = realnode.Start(ctx, options.Real); err != nil {
			return err
		}
		return w.Real.AddAll(ctx, specs)
	}
	options.Fleet.Config = w.Config()
	if w.Nodes, err = node.Start(ctx, options.Fleet); err != nil {
		return err
	}
	for _, spec := range specs {
		if _, err := w.Nodes.Add(ctx, spec); err != nil {
			return err
		}
	}
	return nil
}

// Add makes one more node and returns when it is Ready.
func (w *World) Add(ctx context.Context, spec node.Spec) (Node, error) {
	if w.Real != nil {
		return w.Real.Add(ctx, spec)
	}
	return w.Nodes.Add(ctx, spec)
}

// Node finds a node by its name; nil when there is none.
func (w *World) Node(name string) Node {
	if w.Real != nil {
		if n := w.Real.Node(name); n != nil {
			return n
		}
		return nil
	}
	if n := w.Nodes.Node(name); n != nil {
		return n
	}
	return nil
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
	o.Fleet.LeaseEvery, o.Real.LeaseEvery = o.NodeGrace/4, o.NodeGrace/4
	o.Real.Progress = o.Cluster.Progress
	if o.RealNodes {
		o.Cluster.Address = realnode.APIServer()
	}
	o.Fleet.Log = o.Log
}

// Stop ends everything and leaves nothing behind.
func (w *World) Stop() error {
	var err error
	if w.Nodes != nil {
		w.Nodes.Stop()
	}
	if w.Real != nil {
		err = w.Real.Stop()
	}
	if err := errors.Join(err, w.Cluster.Stop()); err != nil {
		return fmt.Errorf("world: %w", err)
	}
	return nil
}
