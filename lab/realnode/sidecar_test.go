package realnode_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/manifests"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// example is one of config/sidecar in a namespace of its own, behind a load balancer of
// its own.
type example struct {
	t         *testing.T
	namespace string
	sim       *elbsim.Running
	group     target.ARN

	mu sync.Mutex
	// early are the pods that were Ready before the load balancer found them healthy.
	early []string
}

// newExample makes the account that an example is for.
func newExample(t *testing.T) *example {
	t.Helper()
	settings := elbsim.DefaultSettings()
	// Real seconds pass until a target turns healthy, within which nothing else keeps a
	// pod from being Ready.
	settings.ALBRegistration = elbsim.Duration(time.Minute)
	c := clock.New(10)
	sim, err := rig.StartSimulator(elbsim.Options{Settings: &settings, Speed: c.Speed(), DataPlane: &dataplane.Options{
		// A busy machine takes its time, whatever the load balancer's clock.
		ConnectTimeout: c.Simulated(10 * time.Second), ALBIdle: c.Simulated(time.Minute),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Stop(); err != nil {
			t.Error(err)
		}
	})
	group, err := sim.PlantGroup(elbsim.SeedGroup{
		Name: "web", LoadBalancer: "front", Port: 8080,
		HealthCheck: elbsim.SeedCheck{Path: "/readyz", Interval: elbsim.Duration(5 * time.Second)},
		Attributes:  map[string]string{target.DelayAttribute: "30"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &example{t: t, namespace: namespace(t), sim: sim, group: group}
}

// deploy applies an example with what its users fill in: their images, their target group,
// and where AWS is.
func (e *example) deploy(kind, containers string) {
	e.t.Helper()
	objects, err := manifests.Build(e.overlay(kind, containers, serveToPods(e.t, e.sim.Sim)))
	if err != nil {
		e.t.Fatal(err)
	}
	e.watch()
	if err := manifests.Apply(e.t.Context(), shared.API, objects); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		if e.t.Failed() {
			logPods(e.t, e.namespace, client.MatchingLabels{"app.kubernetes.io/name": "web"})
		}
		ctx := context.Background()
		if err := shared.API.DeleteAllOf(ctx, &appsv1.Deployment{}, client.InNamespace(e.namespace)); err != nil {
			e.t.Error(err)
		}
		if err := shared.API.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(e.namespace), client.GracePeriodSeconds(0)); err != nil {
			e.t.Error(err)
		}
	})
}

// overlay is a folder with the kustomization that a user makes of an example.
func (e *example) overlay(kind, containers, endpoint string) string {
	e.t.Helper()
	folder := e.t.TempDir()
	config, err := filepath.Abs("../../config/sidecar")
	if err != nil {
		e.t.Fatal(err)
	}
	base, err := filepath.Rel(folder, filepath.Join(config, kind))
	if err != nil {
		e.t.Fatal(err)
	}
	image := strings.TrimSuffix(pushImage(e.t), ":"+imageVersion)
	env := []corev1.EnvVar{{Name: "TGC_TARGET_GROUP_ARN", Value: e.group.String()}}
	for _, entry := range rig.AWSEnv(endpoint) {
		name, value, _ := strings.Cut(entry, "=")
		env = append(env, corev1.EnvVar{Name: name, Value: value})
	}
	patch, err := yaml.Marshal(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web"},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			containers: []any{map[string]any{"name": "tgc", "env": env}},
		}}},
	})
	if err != nil {
		e.t.Fatal(err)
	}
	text, err := yaml.Marshal(types.Kustomization{
		TypeMeta:  types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Namespace: e.namespace, Resources: []string{base},
		Images: []types.Image{
			{Name: "registry.invalid/tgc", NewName: image, NewTag: imageVersion},
			{Name: "registry.invalid/web", NewName: "lab.local/web", NewTag: strings.TrimPrefix(realnode.Tag, ":")},
		},
		Patches: []types.Patch{{Patch: string(patch)}},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "kustomization.yaml"), text, 0o600)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	return folder
}

// watch notes pods that are Ready too early.
func (e *example) watch() {
	e.t.Helper()
	w, err := shared.Client().CoreV1().Pods(e.namespace).Watch(e.t.Context(), metav1.ListOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	go func() {
		wasReady := map[string]bool{}
		for event := range w.ResultChan() {
			pod, is := event.Object.(*corev1.Pod)
			if !is || event.Type == watch.Deleted || !ready(pod) || wasReady[pod.Name] {
				continue
			}
			wasReady[pod.Name] = true
			if e.states()[address(pod)] != target.Healthy {
				e.mu.Lock()
				e.early = append(e.early, pod.Name)
				e.mu.Unlock()
			}
		}
	}()
}

func address(pod *corev1.Pod) string { return net.JoinHostPort(pod.Status.PodIP, "8080") }

// states of the targets by address.
func (e *example) states() map[string]target.State {
	states := map[string]target.State{}
	for _, t := range e.sim.Groups()[0].Targets {
		states[t.Target] = t.State
	}
	return states
}

// settled waits until there are two pods, none of which is one of these, and just they are
// targets, and healthy.
func (e *example) settled(but ...corev1.Pod) []corev1.Pod {
	e.t.Helper()
	var pods corev1.PodList
	eventually(e.t, "settled", func() error {
		if err := shared.API.List(e.t.Context(), &pods, client.InNamespace(e.namespace)); err != nil {
			return err
		}
		states := e.states()
		for i := range pods.Items {
			pod := &pods.Items[i]
			old := slices.ContainsFunc(but, func(b corev1.Pod) bool { return b.Name == pod.Name })
			if state := states[address(pod)]; old || pod.DeletionTimestamp != nil || !ready(pod) || state != target.Healthy {
				return fmt.Errorf("pod %s is %s, old %t, deleted %v, %q to the load balancer", pod.Name, pod.Status.Phase, old, pod.DeletionTimestamp, state)
			}
		}
		if len(pods.Items) != 2 || len(states) != 2 {
			return fmt.Errorf("%d pods, targets %v", len(pods.Items), states)
		}
		return nil
	})
	return pods.Items
}

// send sends requests to the load balancer until the returned function is called, which
// fails the test if one was lost.
func (e *example) send() (finish func()) {
	e.t.Helper()
	balancers, err := e.sim.LoadBalancers()
	if err != nil {
		e.t.Fatal(err)
	}
	var targets []string
	for _, address := range balancers[0].Listeners[0].Nodes {
		targets = append(targets, "http://"+address)
	}
	generator, err := load.Start(e.t.Context(), load.Options{
		Targets: targets, Rate: 30, Mix: load.Mix{load.KeepAlive: 1, load.New: 1}, Idle: time.Second,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { generator.Stop() })
	return func() {
		e.t.Helper()
		result := generator.Stop()
		e.t.Logf("%d of %d requests were lost", result.Lost, result.Sent)
		if result.Lost > 0 || result.Answered == 0 {
			e.t.Errorf("%d answered, lost: %+v", result.Answered, result.Losses)
		}
	}
}

// The examples of config/sidecar work as they are: pods are Ready once the load balancer
// finds them healthy, and a rolling update and a deletion lose nothing.
func TestSidecarExamples(t *testing.T) {
	needNodes(t)
	for kind, containers := range map[string]string{"native": "initContainers", "container": "containers"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := newExample(t)
			e.deploy(kind, containers)
			first := e.settled()
			finish := e.send()
			restart := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339))
			_, err := shared.Client().AppsV1().Deployments(e.namespace).Patch(t.Context(), "web", "application/merge-patch+json", []byte(restart), metav1.PatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			second := e.settled(first...)
			remove(t, &second[0])
			e.settled(append(first, second[0])...)
			finish()
			e.mu.Lock()
			defer e.mu.Unlock()
			if len(e.early) > 0 {
				t.Errorf("Ready before the load balancer found them healthy: %v", e.early)
			}
		})
	}
}
