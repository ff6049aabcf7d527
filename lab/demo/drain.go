package demo

import (
	"context"
	"fmt"
	"sync"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
)

// drains are the nodes that are being drained.
type drains struct {
	mu      sync.Mutex
	cancel  map[string]func() // by the node's name
	running sync.WaitGroup
}

// start evicts a node's pods in the background, as fast as the
// PodDisruptionBudget allows.
func (d *drains) start(n *node.Node) {
	d.stopOf(n.Name())
	ctx, cancel := context.WithCancel(context.Background())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel == nil {
		d.cancel = map[string]func(){}
	}
	d.cancel[n.Name()] = cancel
	d.running.Go(func() { _ = n.Drain(ctx) }) // who takes it back, or ends the demo, ends it
}

// stopOf lets the pods stay that are still there.
func (d *drains) stopOf(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if cancel, running := d.cancel[name]; running {
		cancel()
		delete(d.cancel, name)
	}
}

// stop ends them all.
func (d *drains) stop() {
	d.mu.Lock()
	for _, cancel := range d.cancel {
		cancel()
	}
	d.mu.Unlock()
	d.running.Wait()
}

// drain cordons a node and returns; its pods leave one after the other.
func drain(ctx context.Context, s *Stage, name string) (string, error) {
	n, err := s.node(name)
	if err != nil {
		return "", err
	}
	if err := n.Cordon(ctx, true); err != nil {
		return "", err
	}
	s.drains.start(n)
	return "kubectl drain " + name, nil
}

func uncordon(ctx context.Context, s *Stage, name string) (string, error) {
	n, err := s.node(name)
	if err != nil {
		return "", err
	}
	s.drains.stopOf(name)
	return "kubectl uncordon " + name, n.Cordon(ctx, false)
}

func (s *Stage) node(name string) (*node.Node, error) {
	if n := s.Rig.Nodes.Node(name); n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("node %q: there is no such node", name)
}
