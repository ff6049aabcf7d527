// Package admissiontest reads the cases of what becomes of pods at their creation,
// which are run against each delivery of package admission.
package admissiontest

import (
	"encoding/json"
	"os"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission"
)

// Case is a case of testdata/cases.yaml, which tells what it means.
type Case struct {
	Name     string      `json:"name"`
	Bindings []Binding   `json:"bindings"`
	Pod      corev1.Pod  `json:"pod"`
	Want     *corev1.Pod `json:"want"`
	Warnings []string    `json:"warnings"`
}

// Binding is a binding, of which only the status counts and spec.podSelector.
type Binding struct {
	Name        string                           `json:"name"`
	PodSelector *metav1.LabelSelector            `json:"podSelector"`
	Status      v1beta1.TargetGroupBindingStatus `json:"status"`
}

// Cases reads the cases of a file.
func Cases(t testing.TB, file string) []Case {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []Case
	if err := yaml.UnmarshalStrict(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		for _, b := range c.Bindings {
			if gate := b.Status.ReadinessGate; gate != "" && gate != string(v1beta1.ReadinessGateOf(b.Name)) {
				t.Errorf("%s: the gate of %s is %s, want %s", c.Name, b.Name, gate, v1beta1.ReadinessGateOf(b.Name))
			}
		}
	}
	return cases
}

// Objects are the bindings of a case as objects.
func (c *Case) Objects() []v1beta1.TargetGroupBinding {
	var list []v1beta1.TargetGroupBinding
	for _, b := range c.Bindings {
		list = append(list, v1beta1.TargetGroupBinding{
			ObjectMeta: metav1.ObjectMeta{Name: b.Name}, Spec: v1beta1.TargetGroupBindingSpec{PodSelector: b.PodSelector}, Status: b.Status,
		})
	}
	return list
}

// Wanted is what is to become of the pod of a case.
func (c *Case) Wanted() *corev1.Pod {
	if c.Want == nil {
		return &c.Pod
	}
	return c.Want
}

// Patched applies a patch as the API server does, to a copy.
func Patched(t testing.TB, pod *corev1.Pod, operations []admission.Operation) *corev1.Pod {
	t.Helper()
	if len(operations) == 0 {
		return pod.DeepCopy()
	}
	document, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(operations)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(raw)
	if err != nil {
		t.Fatal(err)
	}
	if document, err = patch.Apply(document); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	var result corev1.Pod
	if err := json.Unmarshal(document, &result); err != nil {
		t.Fatal(err)
	}
	return &result
}
