package losses

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

// Strategy is how pods are protected while they leave.
type Strategy struct {
	Name, About string
	// Protects says that nothing may be lost. Otherwise something must be, or the
	// run shows nothing.
	Protects bool
	// equip gives a pod what the strategy consists of, in plain Kubernetes. May be nil.
	equip func(*corev1.PodSpec, Timing)
	// ask makes the binding ask tgc for what the strategy consists of. May be nil.
	ask func(*v1beta1.TargetGroupBindingSpec, Timing)
	// Loopback: it needs loopback nodes, whose pods reach the controller.
	Loopback bool
}

// Strategies are all there are.
func Strategies() []Strategy {
	return []Strategy{
		{
			Name: "none", About: "SIGTERM as soon as the pod is told to end",
		},
		{
			Name: "sleep", About: "a preStop sleep, of plain Kubernetes, longer than the load balancer takes to learn",
			Protects: true,
			equip: func(pod *corev1.PodSpec, t Timing) {
				pod.Containers[0].Lifecycle = &corev1.Lifecycle{
					PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: t.Sleep}},
				}
			},
		},
		{
			Name: "gate", About: "a readiness gate of tgc, and nothing at the end of a pod's life",
			ask: func(b *v1beta1.TargetGroupBindingSpec, _ Timing) { b.ReadinessGate = v1beta1.ReadinessGateInject },
		},
		{
			Name: "hold", About: "a readiness gate and the drain mode Hold of tgc", Protects: true, Loopback: true,
			ask: func(b *v1beta1.TargetGroupBindingSpec, t Timing) {
				b.ReadinessGate = v1beta1.ReadinessGateInject
				b.Drain = &v1beta1.Drain{Mode: v1beta1.DrainHold, HoldSeconds: &t.Hold, LateSeconds: &t.Late, ShutdownSeconds: &t.Shutdown}
			},
		},
	}
}

// Scenario is what ends pods.
type Scenario struct {
	Name, About string
	// Replicas at first and in the end.
	Replicas int32
	// Surge is how many more pods there may be during an update.
	Surge intstr.IntOrString
	// Ends is how many pods it ends.
	Ends int
	// begin is followed by the wait for calm.
	begin func(context.Context, *stage) error
}

// Scenarios are all there are.
func Scenarios() []Scenario {
	return []Scenario{{
		Name: "rolling-update", About: "every pod of a Deployment is replaced, one after the other",
		Replicas: 4, Surge: intstr.FromInt32(1), Ends: 4,
		begin: rollingUpdate,
	}}
}

// rollingUpdate does what kubectl rollout restart does.
func rollingUpdate(ctx context.Context, s *stage) error {
	deployment := s.deployment()
	before := client.MergeFrom(deployment.DeepCopy())
	deployment.Spec.Template.Annotations = map[string]string{
		"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339),
	}
	return s.rig.API.Patch(ctx, deployment, before)
}
