package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission/admissiontest"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// injectionCase is a case of internal/admission/testdata/cases.yaml.
type injectionCase struct{ admissiontest.Case }

func injectionCases(t *testing.T) (all []injectionCase) {
	t.Helper()
	for _, c := range admissiontest.Cases(t, "../../internal/admission/testdata/cases.yaml") {
		all = append(all, injectionCase{c})
	}
	return all
}

// installPolicy puts the policy in force where the delivery is policy or both, once
// for all tests.
var installPolicy = sync.OnceValue(func() error {
	return shared.InstallPolicy(context.Background(), "policy", "both")
})

// deliver puts a delivery in force in the test's namespace.
func (e *env) deliver(by string) {
	e.Helper()
	if err := shared.Deliver(e.ctx, e.namespace, by); err != nil {
		e.Fatal(err)
	}
}

// injected returns once new pods of a Service are changed. Of a policy the API server
// may learn late.
func (e *env) injected(service string) {
	e.Helper()
	if err := shared.Injected(e.ctx, e.namespace, map[string]string{"app": service}); err != nil {
		e.Fatal(err)
	}
}

// TestInjectionByPolicy runs the cases against the policy on the API server.
func TestInjectionByPolicy(t *testing.T) {
	if err := installPolicy(); err != nil {
		t.Fatal(err)
	}
	for _, c := range injectionCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			e := newEnv(t)
			e.deliver("policy")
			c.plant(e)
			c.check(e)
		})
	}
}

// plant makes the bindings of a case, and returns when pods that are created from
// now on are changed by them.
func (c *injectionCase) plant(e *env) {
	e.Helper()
	bindings := append(c.Objects(), v1beta1.TargetGroupBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "sentinel"},
		Status: v1beta1.TargetGroupBindingStatus{
			PodSelector: map[string]string{"sentinel": "yes"}, ReadinessGate: string(v1beta1.ReadinessGateOf("sentinel")),
		},
	})
	if err := shared.PlantBindings(e.ctx, e.namespace, bindings); err != nil {
		e.Fatal(err)
	}
	if err := shared.Injected(e.ctx, e.namespace, map[string]string{"sentinel": "yes"}); err != nil {
		e.Fatal(err)
	}
}

// check compares the pod of a case, as it comes out where its bindings are, with
// the wanted one, as it comes out where none are: with the same defaults.
func (c *injectionCase) check(e *env) {
	e.Helper()
	got, err := e.tried(e.namespace, &c.Pod)
	if err != nil {
		e.Fatal(err)
	}
	expected, err := e.tried(metav1.NamespaceDefault, c.Wanted())
	if err != nil {
		e.Fatal(err)
	}
	if asYAML(e, got) != asYAML(e, expected) {
		e.Errorf("got\n%s\nwant\n%s", asYAML(e, got), asYAML(e, expected))
	}
}

// tried is what would become of a pod, of which nothing is kept that differs each time.
func (e *env) tried(namespace string, pod *corev1.Pod) (*corev1.Pod, error) {
	pod = pod.DeepCopy()
	no := false
	pod.Namespace, pod.Name, pod.Spec.AutomountServiceAccountToken = namespace, "pod", &no
	if err := shared.API.Create(e.ctx, pod, client.DryRunAll); err != nil {
		return nil, err
	}
	pod.ObjectMeta = metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}
	slices.SortFunc(pod.Spec.ReadinessGates, func(a, b corev1.PodReadinessGate) int {
		return strings.Compare(string(a.ConditionType), string(b.ConditionType))
	})
	return pod, nil
}

func asYAML(e *env, object any) string {
	e.Helper()
	raw, err := json.Marshal(object)
	if err == nil {
		raw, err = yaml.JSONToYAML(raw)
	}
	if err != nil {
		e.Fatal(err)
	}
	return string(raw)
}

// TestInjectionByWebhook runs the cases against the webhook of a real controller.
func TestInjectionByWebhook(t *testing.T) {
	home, _ := startWebhook(t)
	for _, c := range injectionCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			e := newEnv(t)
			e.deliver(home.namespace)
			c.plant(e)
			c.check(e)
			c.checkWarnings(e)
		})
	}
}

// TestInjectionByBoth runs the cases where both deliveries are in force.
func TestInjectionByBoth(t *testing.T) {
	if err := installPolicy(); err != nil {
		t.Fatal(err)
	}
	startWebhook(t)
	for _, c := range injectionCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			e := newEnv(t)
			e.deliver("both")
			c.plant(e)
			c.check(e)
		})
	}
}

// checkWarnings creates the pod of a case and looks at what its creator is told.
func (c *injectionCase) checkWarnings(e *env) {
	e.Helper()
	told := &warnings{}
	config := shared.Config()
	config.WarningHandler = told
	api, err := client.New(config, client.Options{Scheme: shared.API.Scheme()})
	if err != nil {
		e.Fatal(err)
	}
	pod := c.Pod.DeepCopy()
	pod.Namespace, pod.Name = e.namespace, "pod"
	if err := api.Create(e.ctx, pod, client.DryRunAll); err != nil {
		e.Fatal(err)
	}
	e.contains(strings.Join(told.texts, "\n"), c.Warnings...)
	if len(c.Warnings) == 0 && len(told.texts) > 0 {
		e.Errorf("warned without cause: %q", told.texts)
	}
}

// warnings notes what the API server warns of.
type warnings struct{ texts []string }

func (w *warnings) HandleWarningHeader(_ int, _, text string) { w.texts = append(w.texts, text) }

// startWebhook puts a webhook in force where the delivery is the test's namespace or
// both, and returns when the API server calls it. It ends with the test.
func startWebhook(t *testing.T) (*env, *rig.Webhook) {
	t.Helper()
	e := newEnvAlone(t)
	w, err := shared.StartWebhook(context.WithoutCancel(e.ctx), e.namespace, e.namespace, e.namespace, "both")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		shared.API.Delete(context.Background(), w.Configuration)
		w.Process.Stop()
		if t.Failed() || strings.Contains(w.Process.Log(), "DATA RACE") {
			t.Errorf("log of tgc:\n%s", w.Process.Log())
		}
	})
	e.deliver(e.namespace)
	(&injectionCase{}).plant(e)
	return e, w
}

// TestDeliveriesAgreeOnAnyPod creates pods of every make among bindings of every
// make, by the policy, by the webhook and by the function itself.
func TestDeliveriesAgreeOnAnyPod(t *testing.T) {
	if err := installPolicy(); err != nil {
		t.Fatal(err)
	}
	home, _ := startWebhook(t)
	all := &injectionCase{}
	for i := range 8 {
		all.Bindings = append(all.Bindings, anyBinding(rand.New(rand.NewPCG(0, uint64(i))), i))
	}
	envs := map[string]*env{"policy": newEnvAlone(t), "webhook": newEnvAlone(t)}
	envs["policy"].deliver("policy")
	envs["webhook"].deliver(home.namespace)
	for _, e := range envs {
		all.plant(e)
	}
	changed := 0
	for seed := range uint64(150) {
		pod := anyPod(rand.New(rand.NewPCG(1, seed)))
		injection := admission.Of(pod, admission.BindingsOf(all.Objects()))
		if len(injection.Patch) > 0 {
			changed++
		}
		want, err := home.tried(metav1.NamespaceDefault, admissiontest.Patched(t, pod, injection.Patch))
		if err != nil {
			t.Fatalf("pod %d: the wanted pod is refused: %v", seed, err)
		}
		for by, e := range envs {
			got, err := e.tried(e.namespace, pod)
			if err != nil {
				t.Fatalf("pod %d by the %s: %v", seed, by, err)
			}
			if asYAML(e, got) != asYAML(e, want) {
				t.Fatalf("pod %d by the %s: got\n%s\nwant\n%s", seed, by, asYAML(e, got), asYAML(e, want))
			}
		}
	}
	if changed < 50 {
		t.Errorf("only %d of 150 pods are changed, so that little is shown", changed)
	}
}

// one picks one of several.
func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func anyBinding(r *rand.Rand, n int) admissiontest.Binding {
	b := admissiontest.Binding{Name: fmt.Sprintf("binding-%d", n)}
	b.Status.PodSelector = one(r, map[string]string{"app": "a"}, map[string]string{"app": "b"}, map[string]string{"app": "a", "tier": "front"}, map[string]string{"tier": "front"}, nil)
	b.Status.ReadinessGate = one(r, "", string(v1beta1.ReadinessGateOf(b.Name)))
	if mode := one(r, v1beta1.DrainNone, v1beta1.DrainSleep, v1beta1.DrainHold); mode != v1beta1.DrainNone {
		b.Status.Drain = &v1beta1.DrainStatus{
			Mode: mode, HoldSeconds: one[int32](r, 1, 45, 180), LateSeconds: one[int32](r, 0, 15, 120), ShutdownSeconds: one[int32](r, 0, 30),
			Image: one(r, "", "lab.local/tgc:1", "lab.local/tgc:2"),
		}
	}
	return b
}

func anyPod(r *rand.Rand) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Labels = one(r, map[string]string{"app": "a"}, map[string]string{"app": "b"}, map[string]string{"app": "a", "tier": "front"}, map[string]string{"app": "c"})
	pod.Annotations = one(r, nil, map[string]string{"example.com/own": "kept"}, map[string]string{
		v1beta1.AnnotationDrainMode: one(r, "Sleep", "Hold", "?"), v1beta1.AnnotationDrainHold: one(r, "7", "200", "-1", "?"),
		v1beta1.AnnotationDrainContainers: one(r, "", "c0", "c0,c1", "?"),
	})
	if r.IntN(3) == 0 {
		pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: one[corev1.PodConditionType](r, "example.com/warm", v1beta1.ReadinessGateOf("binding-0"))}}
	}
	pod.Spec.TerminationGracePeriodSeconds = one(r, nil, ptr(int64(100)), ptr(int64(1000)))
	if r.IntN(5) == 0 {
		pod.Spec.OS = &corev1.PodOS{Name: corev1.Windows}
	}
	pod.Spec.Volumes = one(r, nil, []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}})
	pod.Spec.InitContainers = one(r, nil, []corev1.Container{{Name: "prepare", Image: "lab.local/job"}})
	for n := range 1 + r.IntN(3) {
		pod.Spec.Containers = append(pod.Spec.Containers, anyContainer(r, n, pod.Spec.Volumes))
	}
	return pod
}

func anyContainer(r *rand.Rand, n int, volumes []corev1.Volume) corev1.Container {
	c := corev1.Container{Name: fmt.Sprintf("c%d", n), Image: "lab.local/web"}
	if len(volumes) > 0 && r.IntN(2) == 0 {
		c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	}
	hello := &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/hello"}}}
	c.Lifecycle = one(r, nil, nil, &corev1.Lifecycle{PostStart: hello}, &corev1.Lifecycle{PreStop: hello},
		&corev1.Lifecycle{PostStart: hello, PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 5}}},
		&corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/bye", Port: intstr.FromInt32(80), Scheme: corev1.URISchemeHTTP}}})
	return c
}
