package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

const (
	namespace = "default"
	// app is the name of Deployment, Service, binding, target group and load balancer.
	app      = "web"
	podPort  = 8080
	replicas = 4
	// drainDelay is the deregistration delay of the target group, and how long
	// pods go on serving after they were told to end. AWS's default is 300 s.
	drainDelay = 5 * time.Second
	// checkInterval is the shortest that AWS allows.
	checkInterval = 5 * time.Second
)

// Stage is where the acts take place: a world, a target group behind a load
// balancer, and tgc at work.
type Stage struct {
	Rig        *rig.Rig
	Group      target.ARN
	Controller *rig.Process
	// Victim is the pod that an act has picked, for later acts and checks.
	Victim string

	log *os.File
}

// setUp brings everything up but the Deployment. On an error nothing is left.
func setUp(ctx context.Context, t terminal) (_ *Stage, err error) {
	g := startProgress(t)
	defer g.end()
	options := rig.Options{
		Progress: g,
		World:    world.Options{Nodes: 3, Zones: []string{"eu-central-1a", "eu-central-1b", "eu-central-1c"}},
	}
	s := &Stage{}
	if s.Rig, err = rig.Start(ctx, options); err != nil {
		return nil, err
	}
	g.begin("making a load balancer with a listener, and a target group")
	if err = s.makeGroup(); err == nil {
		g.begin("making a Service and a TargetGroupBinding")
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

// tearDown ends everything and removes all files.
func (s *Stage) tearDown() error {
	if s.Controller != nil {
		s.endController()
	}
	if s.log != nil {
		s.log.Close()
	}
	return s.Rig.Stop()
}

// endController gives tgc a moment to hand back its Lease.
func (s *Stage) endController() {
	force := time.AfterFunc(2*time.Second, s.Controller.Kill)
	defer force.Stop()
	s.Controller.Stop()
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
	return errors.Join(s.Rig.API.Create(ctx, service), s.Rig.API.Create(ctx, binding))
}

func (s *Stage) startController(ctx context.Context) (err error) {
	if s.log, err = os.Create(filepath.Join(s.Rig.LogDir(), "tgc.log")); err != nil {
		return err
	}
	s.Controller, err = s.Rig.Controller(ctx, rig.ProcessOptions{
		Args: []string{"--namespace=" + namespace, "--log-format=text"}, Log: s.log,
	})
	return err
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
			MinReadySeconds: 3,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels()},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: &grace,
					Containers: []corev1.Container{{
						Name: app, Image: "lab.local/web",
						// Who is drained must go on serving meanwhile.
						Args:  []string{"--linger=" + drainDelay.String()},
						Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: podPort}},
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

func objectMeta() metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: app} }

func labels() map[string]string { return map[string]string{"app": app} }

// objectKey is the name of all objects of the demo.
func objectKey() client.ObjectKey { return client.ObjectKey{Namespace: namespace, Name: app} }

const announcement = `
What there is
  load balancer   %[1]s, an Application Load Balancer with a listener on port 80
  target group    %[2]s
                  health check GET /healthz every %[3]s; deregistration delay %[4]s (AWS's default of
                  300 s is shortened so that draining can be seen to end)
  Kubernetes      Service %[1]s and TargetGroupBinding %[1]s in the namespace %[5]s
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

// announce tells what was made, and how to look at it from another terminal.
func (s *Stage) announce(t terminal) {
	t.say(announcement, app, s.Group, checkInterval, drainDelay, namespace, s.log.Name(),
		s.Rig.Kubeconfig(), s.Rig.Endpoint, s.Group.Region, elbsim.AdminPath)
}
