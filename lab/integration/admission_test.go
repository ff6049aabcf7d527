package integration

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// injectionCase is a case of internal/admission/testdata/cases.yaml, which tells
// what it means.
type injectionCase struct {
	Name     string `json:"name"`
	Bindings []struct {
		Name   string                           `json:"name"`
		Status v1beta1.TargetGroupBindingStatus `json:"status"`
	} `json:"bindings"`
	Pod      corev1.Pod  `json:"pod"`
	Want     *corev1.Pod `json:"want"`
	Warnings []string    `json:"warnings"`
}

func injectionCases(t *testing.T) []injectionCase {
	t.Helper()
	raw, err := os.ReadFile("../../internal/admission/testdata/cases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []injectionCase
	if err := yaml.UnmarshalStrict(raw, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
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
	var bindings []v1beta1.TargetGroupBinding
	for _, b := range c.Bindings {
		bindings = append(bindings, v1beta1.TargetGroupBinding{ObjectMeta: metav1.ObjectMeta{Name: b.Name}, Status: b.Status})
	}
	bindings = append(bindings, v1beta1.TargetGroupBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "sentinel"},
		Status: v1beta1.TargetGroupBindingStatus{
			PodSelector: map[string]string{"sentinel": "yes"}, ReadinessGate: v1beta1.GateType("sentinel"),
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
	want := c.Want
	if want == nil {
		want = &c.Pod
	}
	got, err := e.tried(e.namespace, &c.Pod)
	if err != nil {
		e.Fatal(err)
	}
	expected, err := e.tried(metav1.NamespaceDefault, want)
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
