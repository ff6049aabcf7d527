package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

const (
	namespace = "default"
	// app is the name of Deployment, Service, binding, target group and load balancer.
	app      = "web"
	podPort  = 8080
	replicas = 4
	// maxReplicas is what a laptop takes without a fan.
	maxReplicas = 20
	// speed is how much faster than AWS's the simulated load balancer's time runs,
	// so that one can watch it.
	speed = 5
	// drainDelay is the deregistration delay of the target group, in AWS's time.
	drainDelay = 50 * time.Second
	// checkInterval is the shortest that AWS allows, in AWS's time.
	checkInterval = 5 * time.Second
	// leaseDuration is how long a controller that was killed keeps the Lease.
	leaseDuration = 5 * time.Second

	// rate of the requests that are sent to the load balancer, per second.
	rate = 100
	// answerTime is how long pods take to answer one.
	answerTime = 20 * time.Millisecond
)

// preStopSleep is how long a protected pod goes on serving after its deletion:
// until the last node of the load balancer has learned that it leaves, and a
// second for everything before.
var preStopSleep = (routing.ALB().Deregister.Longest()/speed + 2*time.Second).Truncate(time.Second)

// Stage is where the acts take place: a world, a target group behind a load
// balancer, clients that send requests to it, and tgc at work.
type Stage struct {
	Rig        *rig.Rig
	Group      target.ARN
	controller *rig.Keeper
	log        *os.File
	drains     drains

	mu     sync.Mutex
	load   *load.Generator // nil before clients send requests
	victim string          // the pod that an act or a person has picked
}

// setUp brings everything up but the Deployment. On an error nothing is left.
func setUp(ctx context.Context, t terminal) (_ *Stage, err error) {
	g := startProgress(t)
	defer g.end()
	s := &Stage{}
	options := rig.Options{
		Progress:  g,
		World:     world.Options{Nodes: 3, Zones: []string{"eu-central-1a", "eu-central-1b", "eu-central-1c"}},
		Simulator: simulator(),
	}
	if s.Rig, err = rig.Start(ctx, options); err != nil {
		return nil, err
	}
	g.begin("making a load balancer with a listener, and a target group")
	if err = s.makeGroup(); err == nil {
		g.begin("making a Service, a TargetGroupBinding and a PodDisruptionBudget")
		err = s.makeObjects(ctx)
	}
	if err == nil {
		g.begin("starting tgc controller")
		err = s.startController(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.tearDown())
	}
	return s, nil
}

// simulator has load balancers that carry traffic. The budgets are given per
// second of its time, so that they are AWS's, or close to them, in ours.
func simulator() elbsim.Options {
	settings, plane := elbsim.DefaultSettings(), dataplane.DefaultOptions()
	for class, bucket := range settings.Buckets {
		bucket.PerSecond = max(1, bucket.PerSecond/speed)
		settings.Buckets[class] = bucket
	}
	return elbsim.Options{Settings: &settings, Speed: speed, DataPlane: &plane}
}

// tearDown ends everything and removes all files.
func (s *Stage) tearDown() error {
	s.drains.stop()
	if s.load != nil {
		s.load.Stop()
	}
	if s.controller != nil {
		s.controller.Stop()
	}
	if s.log != nil {
		s.log.Close()
	}
	return s.Rig.Stop()
}

func (s *Stage) makeGroup() (err error) {
	s.Group, err = s.Rig.Sim.PlantGroup(elbsim.SeedGroup{
		Name: app, Protocol: "HTTP", Port: 80, LoadBalancer: app,
		HealthCheck: elbsim.SeedCheck{Path: "/healthz", Interval: elbsim.Duration(checkInterval)},
		Attributes: map[string]string{
			"deregistration_delay.timeout_seconds": fmt.Sprintf("%.0f", drainDelay.Seconds()),
		},
	})
	return err
}

// startLoad lets clients send requests to all nodes of the load balancer, until
// ctx ends.
func (s *Stage) startLoad(ctx context.Context) error {
	balancers, err := s.Rig.Sim.LoadBalancers()
	if err != nil {
		return err
	}
	var targets []string
	for _, node := range balancers[0].Listeners[0].Nodes {
		targets = append(targets, "http://"+node)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load, err = load.Start(ctx, load.Options{
		Targets: targets, Rate: rate, Mix: load.Mix{load.KeepAlive: 7, load.New: 3},
	})
	return err
}

// requests tells what has become of the clients' requests, and of those of the seconds
// that are shown.
func (s *Stage) requests() load.Result {
	s.mu.Lock()
	generator := s.load
	s.mu.Unlock()
	if generator == nil {
		return load.Result{}
	}
	return generator.Recent(shownSeconds + 1)
}

func (s *Stage) makeObjects(ctx context.Context) error {
	service := &corev1.Service{
		ObjectMeta: objectMeta(),
		Spec: corev1.ServiceSpec{
			Selector: labels(),
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}
	binding := &v1beta1.TargetGroupBinding{
		ObjectMeta: objectMeta(),
		Spec: v1beta1.TargetGroupBindingSpec{
			TargetGroupARN: s.Group.String(),
			ServiceRef:     v1beta1.ServiceReference{Name: app, Port: intstr.FromString("http")},
		},
	}
	one := intstr.FromInt32(1)
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: objectMeta(),
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: labels()}},
	}
	return errors.Join(s.Rig.API.Create(ctx, service), s.Rig.API.Create(ctx, binding), s.Rig.API.Create(ctx, budget))
}

func (s *Stage) startController(ctx context.Context) (err error) {
	if s.log, err = os.Create(filepath.Join(s.Rig.LogDir(), "tgc.log")); err != nil {
		return err
	}
	s.controller = newController(s.Rig, s.log)
	return s.controller.Start(ctx)
}

// deployment is what the opening makes.
func deployment() *appsv1.Deployment {
	count, grace := int32(replicas), int64(30)
	return &appsv1.Deployment{
		ObjectMeta: objectMeta(),
		Spec: appsv1.DeploymentSpec{
			Replicas: &count,
			Selector: &metav1.LabelSelector{MatchLabels: labels()},
			// Without readiness gates Kubernetes does not wait for the load
			// balancer: a rollout must not be faster than its health checks.
			MinReadySeconds: 4,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels()},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: &grace,
					Containers: []corev1.Container{{
						Name: app, Image: "lab.local/web",
						Args:      []string{"--latency=" + answerTime.String()},
						Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: podPort}},
						Lifecycle: lifecycle(true),
						ReadinessProbe: &corev1.Probe{
							ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromString("http")}},
							PeriodSeconds: 1,
						},
					}},
				},
			},
		},
	}
}

// lifecycle keeps a pod serving for a while after its deletion, or does not.
func lifecycle(protected bool) *corev1.Lifecycle {
	if !protected {
		return nil
	}
	return &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: int64(preStopSleep.Seconds())}}}
}

func objectMeta() metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: app} }

func labels() map[string]string { return map[string]string{"app": app} }

// objectKey is the name of all objects of the demo.
func objectKey() client.ObjectKey { return client.ObjectKey{Namespace: namespace, Name: app} }

const announcement = `
Watch it, and play along, in a browser:

  %[14]s

What there is
  load balancer   %[1]s, an Application Load Balancer of three nodes with a listener on port 80; simulated,
                  with a clock that runs %[11]d times as fast as ours
  target group    %[2]s
                  health check GET /healthz every %[3]s, deregistration delay %[4]s, of its time
  Kubernetes      Service %[1]s and TargetGroupBinding %[1]s in the namespace %[5]s; each pod has a preStop
                  sleep of %[12]s, longer than the load balancer's nodes take to learn that it leaves
  clients         %[13]d requests per second to the load balancer, none sent twice
  tgc controller  its log: %[6]s

In another terminal
  export KUBECONFIG=%[7]s
  kubectl get tgb,pods -o wide
  tail -f %[6]s

  export AWS_DEFAULT_REGION=%[9]s AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any
  aws --endpoint-url %[8]s elbv2 describe-target-health --target-group-arn %[2]s
  curl -s '%[8]s%[10]s/calls?action=RegisterTargets'

How to read what follows: seconds since the first act, then who did it. kube is a node or the
control plane, tgc a call to AWS, elb the load balancer, event an Event on the binding, demo the play.
`

// setVictim remembers the pod that something is done to.
func (s *Stage) setVictim(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.victim = name
}

func (s *Stage) victimName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.victim
}

// announce tells what was made, where the page is, and how to look at it from
// another terminal.
func (s *Stage) announce(t terminal, url string) {
	t.say(announcement, app, s.Group, checkInterval, drainDelay, namespace, s.log.Name(),
		s.Rig.Kubeconfig(), s.Rig.Endpoint, s.Group.Region, elbsim.AdminPath, speed, preStopSleep, rate, url)
}
