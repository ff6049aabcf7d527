package losses

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

const (
	namespace = "default"
	// name of Deployment, Service, binding, target group and load balancer.
	name = "web"
	// keptEntries of the access log are more than any run sends.
	keptEntries = 1_000_000
	// connectTimeout of the load balancer is in real time: pods that are gone refuse
	// connections, so only a machine that is busy with other things would meet it.
	connectTimeout = 5 * time.Second
	// requestTimeout is far above what a request takes.
	requestTimeout = 10 * time.Second
)

// stage is where a case takes place.
type stage struct {
	Case
	timing     Timing
	rig        *rig.Rig
	group      target.ARN
	controller *rig.Process
	nodes      []string // addresses of the load balancer
	ledger     *ledger
	collector  *load.Collector // nil on real nodes
	log        progress
}

// setUp brings up a stage whose Deployment is on its way. On an error nothing is
// left.
func setUp(ctx context.Context, c Case, log progress) (_ *stage, err error) {
	s := &stage{Case: c, timing: c.Profile.Timing(c.Speed), ledger: newLedger(), log: log}
	if !c.RealNodes {
		s.collector = load.NewCollector()
	}
	if s.rig, err = rig.Start(ctx, s.rigOptions()); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{s.makeBalancer, s.makeBinding, s.startController, s.makePods} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.tearDown())
		}
	}
	return s, nil
}

func (s *stage) rigOptions() rig.Options {
	p := &s.Profile
	settings := elbsim.DefaultSettings()
	settings.ALBRegistration, settings.NLBRegistration = elbsim.Duration(p.Registration), elbsim.Duration(p.Registration)
	w := world.Options{
		RealNodes: s.RealNodes,
		Nodes:     3, Zones: []string{"eu-central-1a", "eu-central-1b", "eu-central-1c"},
	}
	if !s.RealNodes {
		w.Fleet = node.Options{Apps: programs(s.collector, s.ledger)}
	}
	return rig.Options{
		Progress: s.log.out,
		World:    w,
		Simulator: elbsim.Options{
			Settings: &settings, Speed: s.Speed,
			DataPlane: &dataplane.Options{
				Seed: s.Seed, ALB: &p.Delays, NLB: &p.Delays, ALBIdle: p.Idle, NLBIdle: p.Idle,
				ConnectTimeout: time.Duration(s.Speed * float64(connectTimeout)),
				LogLimit:       keptEntries, OnNews: s.ledger.hear,
			},
		},
	}
}

// tearDown ends everything and removes all files.
func (s *stage) tearDown() error {
	if s.controller != nil {
		force := time.AfterFunc(2*time.Second, s.controller.Kill)
		defer force.Stop()
		s.controller.Stop()
	}
	return s.rig.Stop()
}

// makeBalancer makes the target group with the load balancer that uses it.
func (s *stage) makeBalancer(context.Context) (err error) {
	p := s.Profile
	s.group, err = s.rig.Sim.PlantGroup(elbsim.SeedGroup{
		Name: name, Protocol: p.Protocol, LoadBalancer: name,
		HealthCheck: elbsim.SeedCheck{
			Protocol: p.Protocol, Interval: elbsim.Duration(checkInterval), Timeout: elbsim.Duration(checkInterval),
			HealthyThreshold: healthyThreshold, UnhealthyThreshold: 2,
		},
		Attributes: map[string]string{
			"deregistration_delay.timeout_seconds": fmt.Sprint(seconds(p.DeregistrationDelay)),
		},
	})
	if err != nil {
		return err
	}
	balancers, err := s.rig.Sim.LoadBalancers()
	if err != nil {
		return err
	}
	s.nodes = balancers[0].Listeners[0].Nodes
	return nil
}

// makeBinding makes the Service and its binding, which asks for what the strategy needs
// of tgc.
func (s *stage) makeBinding(ctx context.Context) error {
	service := &corev1.Service{
		ObjectMeta: objectMeta(),
		Spec: corev1.ServiceSpec{
			Selector: labels(),
			Ports:    []corev1.ServicePort{{Name: "main", Port: 80, TargetPort: intstr.FromInt32(podPort)}},
		},
	}
	binding := &v1beta1.TargetGroupBinding{
		ObjectMeta: objectMeta(),
		Spec: v1beta1.TargetGroupBindingSpec{
			TargetGroupARN: s.group.String(),
			ServiceRef:     v1beta1.ServiceReference{Name: name, Port: intstr.FromInt32(80)},
		},
	}
	if s.Strategy.ask != nil {
		s.Strategy.ask(&binding.Spec, s.timing)
		if err := errors.Join(s.rig.InstallPolicy(ctx, namespace), s.rig.Deliver(ctx, namespace, namespace)); err != nil {
			return err
		}
	}
	return s.create(ctx, service, binding)
}

// makePods makes the Deployment, whose pods get what the binding asks for.
func (s *stage) makePods(ctx context.Context) error {
	if s.Strategy.ask != nil {
		if err := s.rig.Injected(ctx, namespace, labels()); err != nil {
			return fmt.Errorf("wait until pods get what the binding asks for: %w", err)
		}
	}
	return s.create(ctx, s.deployment())
}

func (s *stage) create(ctx context.Context, objects ...client.Object) error {
	for _, object := range objects {
		if err := s.rig.API.Create(ctx, object); err != nil {
			return fmt.Errorf("make the %T: %w", object, err)
		}
	}
	return nil
}

func (s *stage) startController(ctx context.Context) (err error) {
	s.controller, err = s.rig.Controller(ctx, rig.ProcessOptions{Args: []string{
		"--namespace=" + namespace, "--drain-image=" + rig.Image,
	}})
	return err
}

// deployment is the same for all strategies but for what they equip pods with.
func (s *stage) deployment() *appsv1.Deployment {
	none := intstr.FromInt32(0)
	pod := corev1.PodSpec{
		TerminationGracePeriodSeconds: &s.timing.Grace,
		Containers: []corev1.Container{{
			Name: name, Image: s.Profile.Image,
			Env:   []corev1.EnvVar{{Name: "LAB_LATENCY", Value: answerTime.String()}},
			Ports: []corev1.ContainerPort{{ContainerPort: podPort}},
			ReadinessProbe: &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(podPort)}},
				PeriodSeconds: 1, TimeoutSeconds: 5,
			},
		}},
	}
	if s.Strategy.equip != nil {
		s.Strategy.equip(&pod, s.timing)
	}
	return &appsv1.Deployment{
		ObjectMeta: objectMeta(),
		Spec: appsv1.DeploymentSpec{
			Replicas: &s.Scenario.Replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels()},
			// Without readiness gates Kubernetes does not wait for the load balancer.
			MinReadySeconds: int32(s.timing.MinReady),
			Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxSurge: &s.Scenario.Surge, MaxUnavailable: &none,
			}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels()}, Spec: pod},
		},
	}
}

func objectMeta() metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }

func labels() map[string]string { return map[string]string{"app": name} }

// loadTargets are the nodes of the load balancer, in the order of their numbers.
func (s *stage) loadTargets() []string {
	targets := make([]string, 0, len(s.nodes))
	for _, address := range s.nodes {
		targets = append(targets, s.Profile.scheme()+address)
	}
	return targets
}

// loadOptions of the requests to the load balancer.
func (s *stage) loadOptions() load.Options {
	return load.Options{
		Targets: s.loadTargets(), Rate: s.Rate, Mix: s.Profile.Mix, Seed: s.Seed, Run: fmt.Sprintf("%s-%d", s.Strategy.Name, s.Seed),
		Timeout: requestTimeout, Long: longRequest,
		// Well below that of the load balancer, which must not close what is about to be used.
		Idle:       clock.New(s.Speed).Timeout(s.Profile.Idle) / 3,
		KeepLosses: keptEntries, Collector: s.collector,
	}
}
