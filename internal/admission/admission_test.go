package admission_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission/admissiontest"
)

func injectionCases(t *testing.T) []admissiontest.Case {
	t.Helper()
	return admissiontest.Cases(t, "testdata/cases.yaml")
}

func bindingsOf(c admissiontest.Case) []admission.Binding { return admission.BindingsOf(c.Objects()) }

func patched(t *testing.T, pod *corev1.Pod, operations []admission.Operation) *corev1.Pod {
	t.Helper()
	return sorted(admissiontest.Patched(t, pod, operations))
}

// sorted puts the gates, whose order has no meaning, in one.
func sorted(pod *corev1.Pod) *corev1.Pod {
	slices.SortFunc(pod.Spec.ReadinessGates, func(a, b corev1.PodReadinessGate) int {
		return strings.Compare(string(a.ConditionType), string(b.ConditionType))
	})
	return pod
}

func asYAML(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	text, err := yaml.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func wanted(c admissiontest.Case) *corev1.Pod { return sorted(c.Wanted().DeepCopy()) }

func TestInjection(t *testing.T) {
	for _, c := range injectionCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			injection := admission.Of(&c.Pod, bindingsOf(c))
			got, want := patched(t, &c.Pod, injection.Patch), wanted(c)
			if asYAML(t, got) != asYAML(t, want) {
				t.Errorf("got\n%s\nwant\n%s", asYAML(t, got), asYAML(t, want))
			}
			if c.Want == nil && len(injection.Patch) > 0 {
				t.Errorf("a pod that is as it should be gets the patch %v", injection.Patch)
			}
			told := strings.Join(injection.Warnings, "\n")
			for _, warning := range c.Warnings {
				if !strings.Contains(told, warning) {
					t.Errorf("the warnings lack %q:\n%s", warning, told)
				}
			}
			if len(c.Warnings) == 0 && told != "" {
				t.Errorf("warned without cause: %s", told)
			}
		})
	}
}

// What was injected is not injected again, and the order of bindings, which the
// API server does not keep, does not matter; nor whether they come together, or
// one by one, as when the second was declared meanwhile.
func TestInjectionIsTheSameInAnyOrder(t *testing.T) {
	for _, c := range injectionCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			want := asYAML(t, wanted(c))
			bindings := bindingsOf(c)
			again := patched(t, wanted(c), admission.Of(wanted(c), bindings).Patch)
			if got := asYAML(t, again); got != want {
				t.Errorf("a second time: got\n%s\nwant\n%s", got, want)
			}
			for range 2 {
				slices.Reverse(bindings)
				pod := c.Pod.DeepCopy()
				for _, b := range bindings {
					pod = patched(t, pod, admission.Of(pod, []admission.Binding{b}).Patch)
				}
				if got := asYAML(t, pod); got != want {
					t.Errorf("one by one: got\n%s\nwant\n%s", got, want)
				}
			}
		})
	}
}

func TestInjectionLeavesThePodItWasGiven(t *testing.T) {
	for _, c := range injectionCases(t) {
		before := c.Pod.DeepCopy()
		admission.Of(&c.Pod, bindingsOf(c))
		if !reflect.DeepEqual(before, &c.Pod) {
			t.Errorf("%s: the pod was changed", c.Name)
		}
	}
}

func TestDeletedBindingAsksForNothing(t *testing.T) {
	now := metav1.Now()
	status := v1beta1.TargetGroupBindingStatus{PodSelector: map[string]string{"app": "web"}, ReadinessGate: string(v1beta1.ReadinessGateOf("web"))}
	got := admission.BindingsOf([]v1beta1.TargetGroupBinding{
		{ObjectMeta: metav1.ObjectMeta{Name: "leaving", DeletionTimestamp: &now}, Status: status},
		{ObjectMeta: metav1.ObjectMeta{Name: "staying"}, Status: status},
	})
	if len(got) != 1 || got[0].Name != "staying" {
		t.Errorf("got %+v, want the binding that stays", got)
	}
}

func TestUnheldNamesContainersWithoutAHook(t *testing.T) {
	for _, c := range injectionCases(t) {
		want := wanted(c)
		if want.Annotations[v1beta1.AnnotationDrainMode] == "" || c.Want == nil {
			continue
		}
		if got := len(admission.Unheld(want)); got != strings.Count(strings.Join(admission.Of(&c.Pod, bindingsOf(c)).Warnings, "\n"), "container ") {
			t.Errorf("%s: %d containers are unheld, and as many warnings are wanted", c.Name, got)
		}
	}
}

func TestBindingsAreFiledUnderTheirRarestLabel(t *testing.T) {
	var bindings []admission.Binding
	for _, app := range []string{"a", "b", "c"} {
		bindings = append(bindings, admission.Binding{Name: app, PodSelector: map[string]string{"env": "live", "app": app}})
	}
	expressions := func(operator metav1.LabelSelectorOperator, values ...string) []metav1.LabelSelectorRequirement {
		return []metav1.LabelSelectorRequirement{{Key: "track", Operator: operator, Values: values}}
	}
	bindings = append(bindings, admission.Binding{Name: "d", PodSelector: map[string]string{"app": "a", "tier": "front"}},
		admission.Binding{Name: "e", PodSelector: map[string]string{"env": "live"}, PodExpressions: expressions("In", "beta")},
		admission.Binding{Name: "f", PodExpressions: expressions("In", "beta", "alpha", "beta")},
		admission.Binding{Name: "g", PodExpressions: expressions("NotIn", "beta")},
		admission.Binding{Name: "h", PodExpressions: append(expressions("Exists"), expressions("In", "beta")...)})
	got := admission.ByLabel(bindings)
	for label, names := range map[string][]string{"app=b": {"b"}, "app=c": {"c"}, "app=a": {"a"}, "tier=front": {"d"}, "env=live": {"e"}, "track=alpha": {"f"}, "track=beta": {"f", "h"}, "=": {"g"}} {
		var filed []string
		for _, b := range got[label] {
			filed = append(filed, b.Name)
		}
		if !slices.Equal(filed, names) {
			t.Errorf("under %s are %v, want %v", label, filed, names)
		}
	}
	if len(got) != 8 {
		t.Errorf("%d labels, want 8", len(got))
	}
}

// Kubernetes' own matching is what counts, and a binding is filed where each pod that
// it selects looks for it.
func TestBehaviour37_SelectorsAreKubernetesOwn(t *testing.T) {
	words := rapid.SampledFrom([]string{"a", "b", "c"})
	labelsOf := rapid.MapOfN(words, words, 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		own := &metav1.LabelSelector{MatchLabels: labelsOf.Draw(t, "match labels")}
		for range rapid.IntRange(0, 2).Draw(t, "expressions") {
			e := metav1.LabelSelectorRequirement{Key: words.Draw(t, "key"), Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist"}).Draw(t, "operator")}
			if e.Operator == "In" || e.Operator == "NotIn" {
				e.Values = rapid.SliceOfN(words, 1, 3).Draw(t, "values")
			}
			own.MatchExpressions = append(own.MatchExpressions, e)
		}
		selector, err := metav1.LabelSelectorAsSelector(own)
		if err != nil {
			t.Fatal(err)
		}
		bindings := admission.BindingsOf([]v1beta1.TargetGroupBinding{{
			ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: v1beta1.TargetGroupBindingSpec{PodSelector: own},
			Status: v1beta1.TargetGroupBindingStatus{ReadinessGate: "gate"},
		}})
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: labelsOf.Draw(t, "labels")}}
		want := !selector.Empty() && selector.Matches(labels.Set(pod.Labels))
		if got := len(admission.Of(pod, bindings).Patch) > 0; got != want {
			t.Errorf("selected is %v, want %v", got, want)
		}
		filed := admission.ByLabel(bindings)
		found := len(filed["="])
		for key, value := range pod.Labels {
			found += len(filed[key+"="+value])
		}
		if want && found != 1 {
			t.Errorf("the pod finds the binding %d times", found)
		}
	})
}
