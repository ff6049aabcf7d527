package losses

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Strategy is how pods are protected while they leave.
type Strategy struct {
	Name, About string
	// Protects says that nothing may be lost. Otherwise something must be, or the
	// run shows nothing.
	Protects bool
	// equip gives a pod what the strategy consists of.
	equip func(*corev1.PodSpec, Timing)
}

// Strategies are all there are.
func Strategies() []Strategy {
	return []Strategy{
		{
			Name: "none", About: "SIGTERM as soon as the pod is told to end",
			equip: func(*corev1.PodSpec, Timing) {},
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
