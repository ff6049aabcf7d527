package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// delivery is a label of namespaces: which of the two deliveries of
// internal/admission is in force there. In the others pods are left alone, so that
// tests do not get in one another's way.
const delivery = "lab.local/delivery"

// nowhere is the ARN of a group that does not exist.
var nowhere = target.ARN{Partition: "aws", Region: "eu-central-1", Account: "123456789012", Name: "nowhere", ID: "0123456789abcdef"}

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

// installPolicy puts the policy of config/policy in force in namespaces with the
// label delivery=policy or delivery=both, once for all tests.
var installPolicy = sync.OnceValue(func() error {
	var policy admissionregistrationv1.MutatingAdmissionPolicy
	var binding admissionregistrationv1.MutatingAdmissionPolicyBinding
	folder := filepath.Join("..", "..", "config", "policy")
	if err := readYAML(filepath.Join(folder, "policy.yaml"), &policy); err != nil {
		return err
	}
	if err := readYAML(filepath.Join(folder, "policy_binding.yaml"), &binding); err != nil {
		return err
	}
	binding.Spec.MatchResources = &admissionregistrationv1.MatchResources{
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: delivery, Operator: metav1.LabelSelectorOpIn, Values: []string{"policy", "both"}},
		}},
	}
	for _, object := range []client.Object{&policy, &binding} {
		if err := shared.API.Create(context.Background(), object); err != nil {
			return err
		}
	}
	return nil
})

func readYAML(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return yaml.UnmarshalStrict(data, into)
}

// deliver puts a delivery in force in the test's namespace.
func (e *env) deliver(by string) {
	e.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.namespace}}
	update(e, namespace, func(n *corev1.Namespace) {
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		n.Labels[delivery] = by
	})
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
	for _, b := range c.Bindings {
		e.bindingWithStatus(b.Name, b.Status)
	}
	// What is seen last was written last.
	e.bindingWithStatus("sentinel", v1beta1.TargetGroupBindingStatus{
		PodSelector: map[string]string{"sentinel": "yes"}, ReadinessGate: v1beta1.GateType("sentinel"),
	})
	sentinel := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"sentinel": "yes"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "lab.local/web"}}},
	}
	e.eventually("bindings seen by the API server", func() error {
		pod, err := e.tried(e.namespace, sentinel)
		if err == nil && len(pod.Spec.ReadinessGates) == 0 {
			err = fmt.Errorf("no gate in %+v", pod.ObjectMeta)
		}
		return err
	})
}

// bindingWithStatus makes a binding with a status that no controller wrote.
func (e *env) bindingWithStatus(name string, status v1beta1.TargetGroupBindingStatus) {
	e.Helper()
	b := e.binding(name, "web", nowhere)
	b.Status = status
	if err := shared.API.Status().Update(e.ctx, b); err != nil {
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
	w := startWebhook(t)
	for _, c := range injectionCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			e := newEnv(t)
			e.deliver(w.name)
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

// hook is a webhook in force in namespaces with the label delivery=name or
// delivery=both.
type hook struct {
	*env
	name          string
	configuration *admissionregistrationv1.MutatingWebhookConfiguration
	process       *rig.Process
}

var hooks atomic.Int64

// startWebhook runs a controller with the configuration of config/webhook, on a
// loopback address instead of a Service, since nothing answers at those of the lab.
// The controller never becomes the leader: it serves the webhook all the same, and
// leaves the bindings of other tests alone. It returns when the API server calls
// it, and ends with the test.
func startWebhook(t *testing.T) *hook {
	t.Helper()
	w := &hook{
		env: newEnvAlone(t), name: fmt.Sprintf("tgc-webhook-%d", hooks.Add(1)),
		configuration: &admissionregistrationv1.MutatingWebhookConfiguration{},
	}
	w.takeLease("taken")
	if err := readYAML(filepath.Join("..", "..", "config", "webhook", "configuration.yaml"), w.configuration); err != nil {
		t.Fatal(err)
	}
	w.configuration.Name = w.name
	ours := &w.configuration.Webhooks[0]
	ours.NamespaceSelector.MatchExpressions = append(ours.NamespaceSelector.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: delivery, Operator: metav1.LabelSelectorOpIn, Values: []string{w.name, "both"},
	})
	nobody := "https://127.0.0.1:1/pods"
	ours.ClientConfig.Service, ours.ClientConfig.URL = nil, &nobody
	w.create(w.configuration)
	t.Cleanup(func() { shared.API.Delete(context.Background(), w.configuration) })
	w.deliver(w.name)
	w.start()
	(&injectionCase{}).plant(w.env)
	return w
}

// start runs a controller and points the configuration at it.
func (w *hook) start() {
	w.Helper()
	var err error
	w.process, err = shared.Controller(context.WithoutCancel(w.ctx), rig.ProcessOptions{Webhook: true, Args: []string{
		"--log-format=text", "--webhook-name=" + w.name, "--webhook-namespace=" + w.namespace,
		"--leader-elect-namespace=" + w.namespace, "--leader-elect-lease=taken",
	}})
	if err != nil {
		w.Fatal(err)
	}
	process := w.process
	w.Cleanup(func() {
		process.Kill()
		if w.Failed() || strings.Contains(process.Log(), "DATA RACE") {
			w.Errorf("log of tgc:\n%s", process.Log())
		}
	})
	update(w.env, w.configuration, func(c *admissionregistrationv1.MutatingWebhookConfiguration) {
		c.Webhooks[0].ClientConfig.URL = &process.Webhook
	})
}

// takeLease makes a Lease that somebody else holds for longer than any test.
func (e *env) takeLease(name string) {
	e.Helper()
	holder, seconds, now := "somebody else", int32(3600), metav1.NowMicro()
	e.create(&coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now,
		},
	})
}
