package world_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

// BenchmarkDeployment measures the time from the creation of a Deployment until
// all its pods are ready, and how long they take to leave.
func BenchmarkDeployment(b *testing.B) {
	started := time.Now()
	w, err := world.Start(b.Context(), world.Options{Nodes: 8})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Stop()
	fmt.Fprintln(os.Stderr, "world up after", time.Since(started).Round(time.Millisecond))
	for _, size := range []int32{10, 100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var up, down time.Duration
			for b.Loop() {
				u, d := deploy(b, w, size)
				up, down = up+u, down+d
			}
			b.ReportMetric(up.Seconds()/float64(b.N), "s-to-ready")
			b.ReportMetric(down.Seconds()/float64(b.N), "s-to-gone")
		})
	}
}

// deploy makes a Deployment, waits until it is ready, scales it to nothing and
// waits until it is gone.
func deploy(b *testing.B, w *world.World, size int32) (up, down time.Duration) {
	b.Helper()
	start := time.Now()
	d := deployment(size)
	deployments := w.Client().AppsV1().Deployments("default")
	if _, err := deployments.Create(b.Context(), d, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	for {
		now, err := deployments.Get(b.Context(), d.Name, metav1.GetOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if now.Status.ReadyReplicas == size {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	up = time.Since(start)
	foreground := metav1.DeletePropagationForeground
	if err := deployments.Delete(b.Context(), d.Name, metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		b.Fatal(err)
	}
	for {
		pods, err := w.Client().CoreV1().Pods("default").List(b.Context(), metav1.ListOptions{Limit: 1})
		if err != nil {
			b.Fatal(err)
		}
		if len(pods.Items) == 0 {
			return up, time.Since(start) - up
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func deployment(size int32) *appsv1.Deployment {
	labels := map[string]string{"app": "scale"}
	ready := &corev1.Probe{PeriodSeconds: 5}
	ready.HTTPGet = &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt(8080)}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("scale-%d", size)},
		Spec: appsv1.DeploymentSpec{
			Replicas: &size,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name:           "web",
					Image:          "lab.local/web",
					Ports:          []corev1.ContainerPort{{ContainerPort: 8080}},
					ReadinessProbe: ready,
				}}},
			},
		},
	}
}
