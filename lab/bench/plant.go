package bench

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

const namespace = "default"

// plant makes the Services with their pods, groups and bindings, and returns when
// all pods are ready.
func (b *bench) plant(ctx context.Context) error {
	for i := range b.Services {
		name := fmt.Sprintf("web-%03d", i)
		arn, err := b.rig.Sim.PlantGroup(elbsim.SeedGroup{
			Name: name, Protocol: "HTTP", LoadBalancer: fmt.Sprintf("front-%d", i/50),
			HealthCheck: elbsim.SeedCheck{Path: "/readyz", Interval: elbsim.Duration(30 * time.Second)},
		})
		if err != nil {
			return err
		}
		for _, object := range b.objects(name, arn.String()) {
			if err := b.rig.API.Create(ctx, object); err != nil {
				return fmt.Errorf("create %s: %w", name, err)
			}
		}
	}
	return poll(ctx, 200*time.Millisecond, func() bool {
		var list appsv1.DeploymentList
		if err := b.rig.API.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return false
		}
		ready := 0
		for i := range list.Items {
			ready += int(list.Items[i].Status.ReadyReplicas)
		}
		return ready == b.Services*b.Pods
	})
}

func (b *bench) objects(name, arn string) []client.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	labels := map[string]string{"app": name}
	replicas := int32(b.Pods)
	probe := &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(8080)}},
		PeriodSeconds: 10,
	}
	pod := corev1.PodSpec{Containers: []corev1.Container{{
		Name: "web", Image: "lab.local/web", ReadinessProbe: probe,
		Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
	}}}
	return []client.Object{
		&appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		}},
		&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
			Selector: labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		}},
		&v1beta1.TargetGroupBinding{ObjectMeta: meta, Spec: v1beta1.TargetGroupBindingSpec{
			TargetGroupARN: arn, ServiceRef: v1beta1.ServiceReference{Name: name, Port: intstr.FromInt32(80)},
		}},
	}
}
