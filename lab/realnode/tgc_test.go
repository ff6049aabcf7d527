package realnode_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// sleep is how many seconds pods go on serving that are told to end: plenty for tgc
// to deregister them, on a machine that does much else.
const sleep = 8

// simulator is quick.
func simulator() elbsim.Options { return elbsim.Options{Speed: 20} }

// bed is a Deployment with a Service and a binding in a namespace of its own.
type bed struct {
	namespace string
	group     target.ARN
}

const replicas = 3

// beds numbers their target groups.
var beds atomic.Int64

// newBed makes a bed and waits until its pods are healthy targets.
func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{namespace: namespace(t)}
	b.plant(t)
	service(t, b.namespace, "web")
	b.bind(t, func(*v1beta1.TargetGroupBindingSpec) {})
	keep(t, b.deployment())
	b.control(t)
	b.awaitSettled(t)
	return b
}

// keep makes a Deployment, which goes with the test.
func keep(t *testing.T, d *appsv1.Deployment) {
	t.Helper()
	if err := shared.API.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.API.Delete(context.Background(), d); err != nil {
			t.Error(err)
		}
	})
}

// plant makes a target group behind a load balancer.
func (b *bed) plant(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("bed-%d", beds.Add(1)) // that of a namespace may be too long
	var err error
	b.group, err = shared.Sim.PlantGroup(elbsim.SeedGroup{
		Name: name, Protocol: "HTTP", LoadBalancer: name,
		HealthCheck: elbsim.SeedCheck{Path: "/readyz", Interval: elbsim.Duration(5 * time.Second), HealthyThreshold: 2},
		Attributes:  map[string]string{"deregistration_delay.timeout_seconds": "60"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bed) deployment() *appsv1.Deployment {
	pod := webPod(b.namespace, "web")
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
		PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: sleep}},
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(replicas)),
			Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
			Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(0)),
			}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
		},
	}
}

// pods lists the bed's pods, leaving ones included, as targets with their names.
func (b *bed) pods(ctx context.Context) (map[string]string, error) {
	list, err := shared.Client().CoreV1().Pods(b.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, p := range list.Items {
		all[net.JoinHostPort(p.Status.PodIP, "8080")] = p.Name
	}
	return all, nil
}

// awaitSettled waits until the Deployment is as it should be and exactly its pods
// are healthy targets.
func (b *bed) awaitSettled(t *testing.T) {
	t.Helper()
	eventually(t, "settled", func() error {
		var d appsv1.Deployment
		if err := shared.API.Get(t.Context(), client.ObjectKey{Namespace: b.namespace, Name: "web"}, &d); err != nil {
			return err
		}
		pods, err := b.pods(t.Context())
		if err != nil {
			return err
		}
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != replicas || s.AvailableReplicas != replicas || len(pods) != replicas {
			return fmt.Errorf("the Deployment has %+v, there are pods %v", s, pods)
		}
		healthy := healthyTargets(b.group)
		for address := range pods {
			if !slices.Contains(healthy, address) {
				return fmt.Errorf("pods %v, healthy targets %v", pods, healthy)
			}
		}
		return nil
	})
}

func healthyTargets(group target.ARN) (healthy []string) {
	for _, g := range shared.Sim.Groups() {
		if g.ARN != group.String() {
			continue
		}
		for _, t := range g.Targets {
			if t.State == target.Healthy {
				healthy = append(healthy, t.Target)
			}
		}
	}
	return healthy
}

func awaitHealthy(t *testing.T, group target.ARN, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d healthy targets", n), func() error {
		if healthy := healthyTargets(group); len(healthy) != n {
			return fmt.Errorf("have %v", healthy)
		}
		return nil
	})
}

// roll does what kubectl rollout restart does, and waits until it is over.
func (b *bed) roll(t *testing.T) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"restarted":%q}}}}}`, time.Now())
	_, err := shared.Client().AppsV1().Deployments(b.namespace).Patch(t.Context(), "web", "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.awaitSettled(t)
}

// departures tells when each pod of a bed is gone, by its target.
type departures struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (b *bed) watchDepartures(t *testing.T) *departures {
	t.Helper()
	w, err := shared.Client().CoreV1().Pods(b.namespace).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := &departures{at: map[string]time.Time{}}
	go func() {
		for event := range w.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && event.Type == watch.Deleted {
				d.mu.Lock()
				d.at[net.JoinHostPort(pod.Status.PodIP, "8080")] = time.Now()
				d.mu.Unlock()
			}
		}
	}()
	return d
}

// In a rolling update every old pod is deregistered while it still serves, during
// its preStop sleep, and the new ones take their places.
func TestRollingUpdateDeregistersFirst(t *testing.T) {
	needNodes(t)
	t.Parallel()
	b := newBed(t)
	old, err := b.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone := b.watchDepartures(t)
	b.roll(t)
	for address, name := range old {
		var deregistered time.Time
		for _, call := range shared.Sim.Calls() {
			if call.Group == b.group.String() && call.Action == "DeregisterTargets" && call.Applied && slices.Contains(call.Targets, address) {
				deregistered = call.Received
				break
			}
		}
		var left time.Time
		eventually(t, name+" is gone", func() error {
			gone.mu.Lock()
			defer gone.mu.Unlock()
			if left = gone.at[address]; left.IsZero() {
				return fmt.Errorf("only %v are", gone.at)
			}
			return nil
		})
		if deregistered.IsZero() || !deregistered.Before(left) {
			t.Errorf("pod %s left at %v, its target was deregistered at %v", name, left, deregistered)
		}
	}
}

const imageVersion = "v0.0.0-test"

// push makes the image as it is released, but for machines like this one only, and pushes
// it to the nodes' registry, once for all tests.
var push = sync.OnceValues(func() (image string, err error) {
	image = shared.Real.Registry() + "/released/tgc:" + imageVersion
	made := exec.Command("make", "-C", "../..", "push", "IMAGE="+image, "VERSION="+imageVersion,
		"ARCHITECTURES="+runtime.GOARCH, "BIN="+filepath.Join(shared.LogDir(), "bin"))
	if output, err := made.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make push: %w\n%s", err, output)
	}
	return image, nil
})

// pushImage gives the name of the released image, once it can be pulled.
func pushImage(t *testing.T) string {
	t.Helper()
	image, err := push()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// restricted is what a pod may do by the strictest of Kubernetes' standards.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsNonRoot: new(true), ReadOnlyRootFilesystem: new(true), AllowPrivilegeEscalation: new(false),
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// The image is built and pushed with one command and pulled by nodes, and tells its
// version.
func TestImageTellsItsVersion(t *testing.T) {
	needNodes(t)
	t.Parallel()
	pod := until(t, create(t, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace(t), Name: "version"},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "tgc", Image: pushImage(t), Args: []string{"version"}, SecurityContext: restricted(),
			}},
		},
	}), "has ended", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	log, err := shared.Client().CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil || !strings.HasPrefix(string(log), imageVersion+" (") {
		t.Errorf("%v, it said %q", err, log)
	}
}

// logPods prints what pods with these labels have said.
func logPods(t *testing.T, namespace string, labels client.MatchingLabels) {
	t.Helper()
	var pods corev1.PodList
	if err := shared.API.List(context.Background(), &pods, client.InNamespace(namespace), labels); err != nil {
		t.Log(err)
	}
	for _, pod := range pods.Items {
		log, err := shared.Client().CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(context.Background())
		t.Logf("%s: %v, %v\n%s", pod.Name, pod.Status, err, log)
	}
}

// serveToPods serves a simulator where pods can reach it, and gives its URL.
func serveToPods(t *testing.T, sim *elbsim.Sim) string {
	t.Helper()
	endpoint, stop, err := rig.ServeToPods(sim)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop() })
	return endpoint
}
