package losses

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

const (
	// name of Deployment, Service, and the first binding and target group.
	name = "web"
	// keptEntries of the access log are more than any run sends.
	keptEntries = 1_000_000
	// connectTimeout of the load balancer is in real time: pods that are gone refuse
	// connections, so only a machine that is busy with other things would meet it.
	connectTimeout = 5 * time.Second
	// requestTimeout is far above what a request takes.
	requestTimeout = 10 * time.Second
	// unused connections are closed by clients after that time: well before the load
	// balancer or a pod that ends do it, which must not close what is about to be used.
	unused = time.Second
)

// stage is where a case takes place.
type stage struct {
	Case
	timing    Timing
	traffic   Traffic
	namespace string
	log       progress

	venue       *venue
	rig         *rig.Rig // of the venue
	simulator   *elbsim.Running
	sim         *elbsim.Sim
	endpoint    string       // of the simulator, to pods
	unserve     func() error // ends that; nil if it is the simulator's own
	groups      []target.ARN
	nodes       []balancerNode
	controllers []*controller
	own         []string // nodes
	ledger      *ledger
	collector   *load.Collector // nil on real nodes
	tasks       sync.WaitGroup  // in the background, until the case's context ends

	replicas int32  // that are wanted now
	unwanted window // while none was
}

// controller is a tgc, which may have been killed.
type controller struct {
	*rig.Process
	fallen atomic.Bool
}

// fell kills it, as part of the scenario.
func (c *controller) fell() {
	c.fallen.Store(true)
	c.Kill()
}

// setUp brings up a stage whose Deployment is on its way. On an error nothing is
// left.
func setUp(ctx context.Context, v *venue, c Case, log progress) (*stage, error) {
	s := &stage{
		Case: c, timing: c.Timing(), traffic: c.traffic(), namespace: c.name(), log: log,
		venue: v, rig: v.rig, ledger: newLedger(), replicas: c.Scenario.Replicas,
	}
	if !v.realNodes {
		s.collector = load.NewCollector()
	}
	v.open(s)
	for _, step := range []func(context.Context) error{
		s.makeNamespace, s.addNodes, s.makeBalancers, s.makeBindings, s.startControllers, s.makePods,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.tearDown())
		}
	}
	return s, nil
}

// tearDown ends everything but the namespace, with what is not worth the time, and
// forgets the pods.
func (s *stage) tearDown() error {
	for _, c := range s.controllers {
		c.fallen.Store(true)
		force := time.AfterFunc(2*time.Second, c.Kill)
		c.Stop()
		force.Stop()
	}
	s.tasks.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := errors.Join(s.removePods(ctx), s.removeNodes(ctx))
	if s.unserve != nil {
		err = errors.Join(err, s.unserve())
	}
	if s.simulator != nil {
		err = errors.Join(err, s.simulator.Stop())
	}
	s.venue.shut(s)
	return err
}

// removePods ends all pods at once.
func (s *stage) removePods(ctx context.Context) error {
	deployment := s.deployment()
	err := s.rig.API.Delete(ctx, deployment, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove the Deployment: %w", err)
	}
	for {
		pods, err := s.list(ctx)
		if err != nil {
			return fmt.Errorf("remove the pods: %w", err)
		}
		if len(pods) == 0 {
			return nil
		}
		// Those that are made meanwhile are found the next time.
		err = s.rig.API.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(s.namespace), client.GracePeriodSeconds(0))
		if err != nil {
			return fmt.Errorf("remove the pods: %w", err)
		}
		if err := rest(ctx, glance); err != nil {
			return fmt.Errorf("remove the pods: %w", err)
		}
	}
}

// ownNode is a label of nodes that one case has to itself: its namespace.
const ownNode = "lab.targetgroupcontroller.io/case"

// addNodes makes the nodes that the scenario has to itself.
func (s *stage) addNodes(ctx context.Context) error {
	for i := range s.Scenario.Nodes {
		spec := node.Spec{
			Name: fmt.Sprintf("%s-%d", s.namespace, i+1), Zone: zones()[i%len(zones())],
			Labels: map[string]string{ownNode: s.namespace},
		}
		if _, err := s.rig.Add(ctx, spec); err != nil {
			return err
		}
		s.own = append(s.own, spec.Name)
	}
	return nil
}

func (s *stage) removeNodes(ctx context.Context) (err error) {
	for _, name := range s.own {
		err = errors.Join(err, s.rig.Node(name).Remove(ctx))
	}
	return err
}

// makeBalancers makes the target groups, each with the load balancer that uses it.
func (s *stage) makeBalancers(context.Context) (err error) {
	if s.simulator, err = rig.StartSimulator(s.simulatorOptions()); err != nil {
		return err
	}
	s.sim, s.endpoint = s.simulator.Sim, s.simulator.Endpoint
	if s.venue.realNodes && s.Strategy.selfRegistered {
		if s.endpoint, s.unserve, err = rig.ServeToPods(s.sim); err != nil {
			return err
		}
	}
	for i := range max(1, s.Scenario.Groups) {
		group, err := s.sim.PlantGroup(s.groupSeed(i))
		if err != nil {
			return err
		}
		s.groups = append(s.groups, group)
	}
	balancers, err := s.sim.LoadBalancers()
	if err != nil {
		return err
	}
	for _, b := range balancers {
		for i, address := range b.Listeners[0].Nodes {
			s.nodes = append(s.nodes, balancerNode{balancer: b.Name, index: i, address: s.Profile.scheme() + address})
		}
	}
	return nil
}

func (s *stage) simulatorOptions() elbsim.Options {
	p, c := &s.Profile, clock.New(s.Speed)
	settings := elbsim.DefaultSettings()
	settings.ALBRegistration, settings.NLBRegistration = elbsim.Duration(p.Registration), elbsim.Duration(p.Registration)
	return elbsim.Options{
		Settings: &settings, Speed: s.Speed,
		DataPlane: &dataplane.Options{
			Seed: s.Seed, ALB: &p.Delays, NLB: &p.Delays, ALBIdle: c.Simulated(p.Idle), NLBIdle: c.Simulated(p.Idle),
			ConnectTimeout: c.Simulated(connectTimeout),
			LogLimit:       keptEntries, OnNews: s.ledger.hear,
		},
	}
}

func (s *stage) groupSeed(i int) elbsim.SeedGroup {
	p := s.Profile
	path := "" // where there are none
	if p.Protocol == "HTTP" {
		path = "/readyz" // which answers at once, however long requests take
	}
	return elbsim.SeedGroup{
		Name: numbered(i), Protocol: p.Protocol, LoadBalancer: numbered(i),
		HealthCheck: elbsim.SeedCheck{
			Protocol: p.Protocol, Path: path, Interval: elbsim.Duration(p.CheckInterval), Timeout: elbsim.Duration(min(p.CheckInterval, maxCheckTimeout)),
			HealthyThreshold: healthyThreshold, UnhealthyThreshold: 2,
		},
		Attributes: map[string]string{
			"deregistration_delay.timeout_seconds": fmt.Sprint(seconds(p.DeregistrationDelay)),
		},
	}
}

// maxCheckTimeout is how long a health check may take.
const maxCheckTimeout = 5 * time.Second

// numbered is the name of the i-th binding, target group and load balancer, from 0.
func numbered(i int) string {
	if i == 0 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, i+1)
}

// startControllers starts tgc, unless pods register themselves, and waits until the
// first leads, so that it is known which one does.
func (s *stage) startControllers(ctx context.Context) error {
	if s.Strategy.selfRegistered {
		return nil
	}
	args := []string{"--namespace=" + s.namespace, "--drain-image=" + rig.Image, "--leader-elect-duration=3s"}
	if s.Scenario.Controllers < 2 {
		return s.startController(ctx, rig.ProcessOptions{Args: args[:2]})
	}
	var endpoints string
	desks := make([]string, s.Scenario.Controllers)
	for i := range desks {
		desks[i] = s.rig.NextDesk()
		endpoints += "," + desks[i]
	}
	args = append(args, "--drain-endpoint="+endpoints[1:])
	for _, desk := range desks {
		if err := s.startController(ctx, rig.ProcessOptions{Args: args, Desk: desk}); err != nil {
			return err
		}
		if err := s.await(ctx, "until tgc leads", s.led); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) startController(ctx context.Context, options rig.ProcessOptions) error {
	options.Env = []string{"AWS_ENDPOINT_URL=" + s.simulator.Endpoint}
	process, err := s.rig.Controller(ctx, options)
	if err == nil {
		s.controllers = append(s.controllers, &controller{Process: process})
	}
	return err
}

// loadOptions of the requests to the load balancer.
func (s *stage) loadOptions() load.Options {
	targets := make([]string, 0, len(s.nodes))
	for _, n := range s.nodes {
		targets = append(targets, n.address)
	}
	return load.Options{
		Targets: targets, Rate: s.Rate, Mix: s.traffic.Mix, Seed: s.Seed, Run: s.namespace,
		Timeout: requestTimeout, Long: s.traffic.Long,
		Idle: unused, KeepLosses: keptEntries, Collector: s.collector,
	}
}
