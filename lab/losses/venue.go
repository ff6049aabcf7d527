package losses

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

// venue is a world in which cases take place side by side. They share the control plane
// and its nodes; each has a namespace, a simulator with load balancers, and a tgc of
// its own.
type venue struct {
	rig       *rig.Rig
	realNodes bool
	pods      http.RoundTripper // reaches them

	mu     sync.Mutex
	stages map[string]*stage // by namespace
}

// delivery is what brings into pods what bindings ask for; see [rig.DeliveryLabel].
const delivery = "policy"

// openVenue starts a world for cases. On an error nothing is left.
func openVenue(ctx context.Context, cases []Case, realNodes bool, progress io.Writer) (*venue, error) {
	v := &venue{realNodes: realNodes, stages: map[string]*stage{}, pods: &http.Transport{
		DialContext: vpc.DialContext, DisableKeepAlives: true,
	}}
	w := world.Options{RealNodes: realNodes, Nodes: 3, Zones: zones()}
	if !realNodes {
		w.Fleet = node.Options{Apps: v.programs()}
	}
	var err error
	if v.rig, err = rig.Start(ctx, rig.Options{Progress: progress, World: w}); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(cases, func(c Case) bool { return c.Strategy.ask != nil }) {
		if err := v.rig.InstallPolicy(ctx, delivery); err != nil {
			return nil, errors.Join(err, v.rig.Stop())
		}
	}
	return v, nil
}

func zones() []string { return []string{"eu-central-1a", "eu-central-1b", "eu-central-1c"} }

// stage of a namespace; nil if no case has it.
func (v *venue) stage(namespace string) *stage {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.stages[namespace]
}

func (v *venue) open(s *stage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stages[s.namespace] = s
}

func (v *venue) shut(s *stage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.stages, s.namespace)
}
