package losses

import (
	"context"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

func (s *stage) makeNamespace(ctx context.Context) error {
	return s.create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: s.namespace, Labels: map[string]string{rig.DeliveryLabel: delivery},
	}})
}

// makeBindings makes the Service and a binding for each target group, which asks for what
// the strategy needs of tgc. There is none where pods register themselves.
func (s *stage) makeBindings(ctx context.Context) error {
	objects := []client.Object{&corev1.Service{
		ObjectMeta: s.objectMeta(),
		Spec: corev1.ServiceSpec{
			Selector: labels(),
			Ports:    []corev1.ServicePort{{Name: "main", Port: 80, TargetPort: intstr.FromInt32(podPort)}},
		},
	}}
	bound := s.groups
	if s.Strategy.selfRegistered {
		bound = nil
	}
	for i, group := range bound {
		binding := &v1beta1.TargetGroupBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: numbered(i)},
			Spec: v1beta1.TargetGroupBindingSpec{
				TargetGroupARN: group.String(),
				ServiceRef:     v1beta1.ServiceReference{Name: name, Port: intstr.FromInt32(80)},
			},
		}
		if s.Strategy.ask != nil {
			s.Strategy.ask(&binding.Spec, s.timing)
		}
		objects = append(objects, binding)
	}
	if s.Scenario.furnish != nil {
		objects = append(objects, s.Scenario.furnish(s)...)
	}
	return s.create(ctx, objects...)
}

// makePods makes the Deployment, whose pods get what the bindings ask for.
func (s *stage) makePods(ctx context.Context) error {
	if err := s.await(ctx, "until pods get what the bindings ask for", s.injected); err != nil {
		return err
	}
	return s.create(ctx, s.deployment())
}

// injected is nil when new pods get what all bindings ask for.
func (s *stage) injected(ctx context.Context) error {
	if s.Strategy.ask == nil {
		return nil
	}
	pod := &corev1.Pod{ObjectMeta: s.objectMeta(), Spec: s.deployment().Spec.Template.Spec}
	pod.Labels = labels()
	if err := s.rig.API.Create(ctx, pod, client.DryRunAll); err != nil {
		return err
	}
	if have := len(pod.Spec.ReadinessGates); have != len(s.groups) {
		return fmt.Errorf("a pod gets %d gates, and there are %d bindings", have, len(s.groups))
	}
	return nil
}

func (s *stage) create(ctx context.Context, objects ...client.Object) error {
	for _, object := range objects {
		if err := s.rig.API.Create(ctx, object); err != nil {
			return fmt.Errorf("make the %T: %w", object, err)
		}
	}
	return nil
}

// led is nil when a tgc holds the Lease.
func (s *stage) led(ctx context.Context) error {
	var leases coordinationv1.LeaseList
	if err := s.rig.API.List(ctx, &leases, client.InNamespace(s.namespace)); err != nil {
		return err
	}
	for _, lease := range leases.Items {
		if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" {
			return nil
		}
	}
	return fmt.Errorf("nobody holds any of %d Leases", len(leases.Items))
}

// deployment is the same for all strategies but for what they equip pods with.
func (s *stage) deployment() *appsv1.Deployment {
	none, replicas := intstr.FromInt32(0), s.replicas
	pod := corev1.PodSpec{
		TerminationGracePeriodSeconds: &s.timing.Grace,
		Containers:                    []corev1.Container{s.container()},
		Affinity:                      &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: s.where()}},
	}
	if s.Strategy.equip != nil {
		s.Strategy.equip(&pod, s)
	}
	return &appsv1.Deployment{
		ObjectMeta: s.objectMeta(),
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
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

func (s *stage) container() corev1.Container {
	c := corev1.Container{
		Name: name, Image: s.Profile.Image,
		Env: []corev1.EnvVar{
			{Name: "LAB_LATENCY", Value: s.traffic.Answer.String()},
			{Name: "LAB_STARTUP_DELAY", Value: clock.New(s.Speed).Real(s.Scenario.StartsIn).String()},
		},
		Ports: []corev1.ContainerPort{{ContainerPort: podPort}},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(podPort)}},
			PeriodSeconds: 1, TimeoutSeconds: 5,
		},
	}
	if s.Profile.LivePort != podPort {
		c.Env = append(c.Env, corev1.EnvVar{Name: "LAB_LIVE_PORT", Value: strconv.Itoa(int(s.Profile.LivePort))})
	}
	if s.Scenario.Probed {
		c.LivenessProbe = &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(s.Profile.LivePort)}},
			PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 1,
		}
	}
	return c
}

// where pods may be: on the case's own nodes if it has any, and else on those that are
// nobody's own.
func (s *stage) where() *corev1.NodeSelector {
	rule := corev1.NodeSelectorRequirement{Key: ownNode, Operator: corev1.NodeSelectorOpDoesNotExist}
	if s.Scenario.Nodes > 0 {
		rule.Operator, rule.Values = corev1.NodeSelectorOpIn, []string{s.namespace}
	}
	return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{rule}}}}
}

func (s *stage) objectMeta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.namespace, Name: name}
}

func labels() map[string]string { return map[string]string{"app": name} }

// patience is how long a wait may take. It is no expectation of speed.
func (s *stage) patience() time.Duration {
	pods := time.Duration(s.Scenario.Replicas+1) * (time.Duration(s.timing.MinReady)*time.Second + 5*time.Second)
	slow := s.Profile.DeregistrationDelay + s.Profile.Delays.Deregister.Longest() + s.Profile.Delays.Register.Longest() + s.Scenario.StartsIn
	kept := time.Duration(s.timing.Grace)*time.Second + time.Duration(s.timing.Late+s.timing.Hold)*time.Second
	return 2*time.Minute + pods + kept + s.Lateness.Of + clock.New(s.Speed).Real(slow)
}
