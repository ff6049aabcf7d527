package realnode_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BenchmarkPods measures how long a Deployment of real pods takes to be ready and
// to be gone, and how much memory everything takes meanwhile, control plane and
// nodes included.
func BenchmarkPods(b *testing.B) {
	if unsupported != nil {
		b.Skip(unsupported)
	}
	if err := shared.Namespace(b.Context(), "scale"); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int32{0, 10, 50, 100} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			for b.Loop() {
				up, memory, down := deploy(b, size)
				b.ReportMetric(up.Seconds(), "s-to-ready")
				b.ReportMetric(memory, "MiB")
				b.ReportMetric(down.Seconds(), "s-to-gone")
			}
		})
	}
}

// deploy makes a Deployment, waits until it is ready, deletes it and waits until
// its pods are gone.
func deploy(b *testing.B, size int32) (up time.Duration, memory float64, down time.Duration) {
	b.Helper()
	pod := webPod("scale", "web")
	deployments := shared.Client().AppsV1().Deployments("scale")
	started := time.Now()
	_, err := deployments.Create(b.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &size,
			Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	eventually(b, "all pods ready", func() error {
		d, err := deployments.Get(b.Context(), "web", metav1.GetOptions{})
		if err == nil && (d.Status.ReadyReplicas != size || d.Status.ObservedGeneration == 0) {
			err = fmt.Errorf("%d are", d.Status.ReadyReplicas)
		}
		return err
	})
	up, memory = time.Since(started), memoryOfAll(b)
	deleted := time.Now()
	if err := deployments.Delete(b.Context(), "web", metav1.DeleteOptions{}); err != nil {
		b.Fatal(err)
	}
	eventually(b, "all pods gone", func() error {
		pods, err := shared.Client().CoreV1().Pods("scale").List(b.Context(), metav1.ListOptions{})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d are left", len(pods.Items))
		}
		return err
	})
	return up, memory, time.Since(deleted)
}

// memoryOfAll is that of this process and all beneath it, in MiB. What several share
// counts once.
func memoryOfAll(b *testing.B) (sum float64) {
	b.Helper()
	parents := map[string]string{}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may have ended
		if _, rest, ok := strings.Cut(string(text), ") "); ok {
			parents[filepath.Base(filepath.Dir(file))] = strings.Fields(rest)[1]
		}
	}
	for pid := range parents {
		for up := pid; up != ""; up = parents[up] {
			if up == strconv.Itoa(os.Getpid()) {
				sum += memoryOf(pid)
			}
		}
	}
	return sum
}

func memoryOf(pid string) float64 {
	file, err := os.Open(filepath.Join("/proc", pid, "smaps_rollup"))
	if err != nil {
		return 0 // it has ended
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if size, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			kB, _ := strconv.ParseFloat(strings.Fields(size)[0], 64)
			return kB / 1024
		}
	}
	return 0
}
