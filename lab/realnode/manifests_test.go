package realnode_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/manifests"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// home is the namespace of config where the controller runs.
const home = "targetgroupcontroller"

// applyExample does what docs/install.md tells: it copies an example, puts in what is
// ours, the old strings replaced by the new ones in turn, and applies it. Nothing of it
// is there before and after the test, but the CRDs, which are the rig's.
func applyExample(t *testing.T, name string, ours ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs/examples", name, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err == nil {
		root, err = filepath.Rel(dir, root)
	}
	if err != nil {
		t.Fatal(err)
	}
	ours = append(ours, "../../..", root)
	for i := 0; i < len(ours); i += 2 {
		if !bytes.Contains(text, []byte(ours[i])) {
			t.Fatalf("the example %s does not say %q: has it changed?", name, ours[i])
		}
	}
	text = []byte(strings.NewReplacer(ours...).Replace(string(text)))
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	objects, err := manifests.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	unapply(t, objects)
	t.Cleanup(func() { unapply(t, objects) })
	if err := manifests.Apply(t.Context(), shared.API, objects); err != nil {
		t.Fatal(err)
	}
}

// unapply removes objects, the last first, and waits until they are gone.
func unapply(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	ctx := context.Background()
	for _, object := range slices.Backward(objects) {
		if object.GetKind() == "CustomResourceDefinition" {
			continue
		}
		if err := client.IgnoreNotFound(shared.API.Delete(ctx, object)); err != nil {
			t.Error(err)
		}
		untilGone(t, object)
	}
}

// imageOf is the released image in the form in which an example names its image.
func imageOf(image string) (old, ours string) {
	at := strings.LastIndex(image, ":")
	return "newName: registry.example/tgc, newTag: v1", fmt.Sprintf("newName: %s, newTag: %s", image[:at], image[at+1:])
}

// withAWS are the lines of an example that begin with one, and those that make programs
// find the simulator.
func withAWS(t *testing.T, first string) (old, ours string) {
	t.Helper()
	return first, strings.Join(append([]string{first}, rig.AWSEnv(serveToPods(t, shared.Sim))...), "\n  - ")
}

// installed is tgc as a Deployment of two pods.
type installed struct {
	*testing.T
	namespace, app string
}

// list is its pods that stay.
func (i installed) list() []corev1.Pod {
	i.Helper()
	var list corev1.PodList
	if err := shared.API.List(i.Context(), &list, client.InNamespace(i.namespace), client.MatchingLabels{"app.kubernetes.io/name": i.app}); err != nil {
		i.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// available waits until its probes have found both pods ready, and fails if that took
// restarts.
func (i installed) available() {
	i.Helper()
	eventually(i, "tgc is available", func() error {
		var d appsv1.Deployment
		if err := shared.API.Get(i.Context(), client.ObjectKey{Namespace: i.namespace, Name: "tgc"}, &d); err != nil {
			return err
		}
		if s := d.Status; s.ObservedGeneration < d.Generation || s.UpdatedReplicas != 2 || s.AvailableReplicas != 2 {
			return fmt.Errorf("have %+v", s)
		}
		return nil
	})
	for _, pod := range i.list() {
		if n := pod.Status.ContainerStatuses[0].RestartCount; n != 0 {
			i.Errorf("%s was restarted %d times", pod.Name, n)
		}
	}
}

// leader waits until one of its pods that stay holds the Lease, and gives that one and
// the other.
func (i installed) leader() (leads, waits *corev1.Pod) {
	i.Helper()
	eventually(i, "a leader", func() error {
		var lease coordinationv1.Lease
		if err := shared.API.Get(i.Context(), client.ObjectKey{Namespace: i.namespace, Name: home}, &lease); err != nil {
			return err
		}
		holder := ""
		if lease.Spec.HolderIdentity != nil {
			holder = *lease.Spec.HolderIdentity
		}
		leads, waits = nil, nil
		for _, pod := range i.list() {
			if strings.HasPrefix(holder, pod.Name+"_") {
				leads = &pod
			} else {
				waits = &pod
			}
		}
		if leads == nil {
			return fmt.Errorf("the Lease is held by %q", holder)
		}
		return nil
	})
	return leads, waits
}

// readOnly fails unless the file system of a pod is that, to a program in it.
func (i installed) readOnly(pod *corev1.Pod) {
	i.Helper()
	said, err := execute(i.T, pod, "tgc", "/tgc", "install", "/", "--pod-namespace=x", "--pod-name=x", "--pod-uid=x")
	if err == nil || !strings.Contains(said, "read-only file system") {
		i.Errorf("writing to the root gives %v, and says %q", err, said)
	}
}

func evict(ctx context.Context, pod *corev1.Pod) error {
	return shared.Client().PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
	})
}

// disrupted evicts the leader while no node takes another pod: the other leads then, and
// may not be evicted.
func (i installed) disrupted() {
	i.Helper()
	cordon := func(on bool) {
		for _, node := range []string{"node-1", "node-2"} {
			if err := shared.Node(node).Cordon(context.Background(), on); err != nil {
				i.Fatal(err)
			}
		}
	}
	leads, waits := i.leader()
	cordon(true)
	defer cordon(false)
	eventually(i, "the leader is evicted", func() error { return evict(i.Context(), leads) })
	if err := evict(i.Context(), waits); !apierrors.IsTooManyRequests(err) {
		i.Errorf("evicting the last one gives %v", err)
	}
	if now, _ := i.leader(); now.Name != waits.Name {
		i.Errorf("%s leads after %s, want %s", now.Name, leads.Name, waits.Name)
	}
}

// scraped gets the metrics of both pods, as somebody does who finds them by a Service,
// and tells how many lead.
func (i installed) scraped(service string) (leading int) {
	i.Helper()
	var addresses []string
	eventually(i, "both pods are behind "+service, func() error {
		if addresses, _ = endpoints(i.T, i.namespace, service); len(addresses) != 2 {
			return fmt.Errorf("have %v", addresses)
		}
		return nil
	})
	for _, address := range addresses {
		var page string
		eventually(i, address+" gives its metrics", func() (err error) {
			page, err = rig.Get(i.Context(), "http://"+net.JoinHostPort(address, "8080")+"/metrics")
			return err
		})
		if !strings.Contains(page, "\ntgc_drains_total{") {
			i.Errorf("%s does not export the metrics of tgc:\n%s", address, page)
		}
		leading += strings.Count(page, `leader_election_master_status{name="targetgroupcontroller"} 1`)
	}
	return leading
}

// tell logs what its pods have said if the test fails.
func (i installed) tell() {
	if i.Failed() {
		logPods(i.T, i.namespace, client.MatchingLabels{"app.kubernetes.io/name": i.app})
	}
}

// The example for a whole cluster is applied as it is, but for the image, the region and
// where AWS is. It runs as a Deployment of the released image, and pods get their gates
// by the policy.
func TestControllerOfTheExample(t *testing.T) { // alone: it works in all namespaces
	needNodes(t)
	i := installed{t, home, "targetgroupcontroller"}
	b := &bed{namespace: namespace(t)}
	b.plant(t)
	service(t, b.namespace, "web")
	defer i.tell()
	old, image := imageOf(pushImage(t))
	region, aws := withAWS(t, "- TGC_REGION=eu-central-1")
	applyExample(t, "controller", old, image, region, aws)
	i.available()
	leads, _ := i.leader()
	i.readOnly(leads)

	b.bind(t, func(s *v1beta1.TargetGroupBindingSpec) {
		s.ReadinessGate = v1beta1.ReadinessGateInject
		s.Drain = &v1beta1.Drain{Mode: v1beta1.DrainSleep, HoldSeconds: new(int32(sleep)), LateSeconds: new(int32(0)), ShutdownSeconds: new(int32(1))}
	})
	asked := map[string]string{"app": "web"}
	if err := shared.InjectedAs(t.Context(), b.namespace, asked, gatedAndHooked); err != nil {
		t.Fatal(err)
	}
	web := b.deployment()
	web.Spec.Template.Spec.Containers[0].Lifecycle = nil
	keep(t, web)
	b.awaitSettled(t)
	if n := i.scraped("tgc-metrics"); n != 1 {
		t.Errorf("%d pods lead", n)
	}

	i.disrupted()
	b.roll(t) // by the new leader
	i.available()
	if n := i.scraped("tgc-metrics"); n != 1 {
		t.Errorf("%d pods lead", n)
	}
	var pods corev1.PodList
	if err := shared.API.List(t.Context(), &pods, client.InNamespace(b.namespace), client.MatchingLabels(asked)); err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		if !gatedAndHooked(&pod) {
			t.Errorf("%s has %+v", pod.Name, pod.Spec)
		}
	}
	b.leave(t)
}

func gatedAndHooked(pod *corev1.Pod) bool {
	lifecycle := pod.Spec.Containers[0].Lifecycle
	return len(pod.Spec.ReadinessGates) == 1 && lifecycle != nil && lifecycle.PreStop != nil && lifecycle.PreStop.Sleep != nil
}

// leave removes the binding, and waits until its targets are gone with it.
func (b *bed) leave(t *testing.T) {
	t.Helper()
	binding := &v1beta1.TargetGroupBinding{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "web"}}
	if err := shared.API.Delete(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	untilGone(t, binding)
	awaitHealthy(t, b.group, 0)
}

// The example for one Service is applied as it is, but for the namespace, the image, the
// Service's target group and where AWS is. It reaches the API server where pods look for
// it, with the token of its ServiceAccount.
func TestOneServiceOfTheExample(t *testing.T) { // alone: it closes the nodes for a while
	needNodes(t)
	b := &bed{namespace: namespace(t)}
	i := installed{t, b.namespace, "tgc-one-service"}
	b.plant(t)
	service(t, b.namespace, "web")
	until(t, create(t, webPod(b.namespace, "web")), "ready", ready)
	defer i.tell()
	old, image := imageOf(pushImage(t))
	name, aws := withAWS(t, "- TGC_SERVICE=web")
	applyExample(t, "one-service", old, image, name, aws, "namespace: shop", "namespace: "+b.namespace,
		"arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef", b.group.String())
	i.available()
	leads, _ := i.leader()
	i.readOnly(leads)
	awaitHealthy(t, b.group, 1)

	i.disrupted()
	i.available()
	second := webPod(b.namespace, "second")
	second.Labels = map[string]string{"app": "web"}
	create(t, second)
	awaitHealthy(t, b.group, 2)
}
