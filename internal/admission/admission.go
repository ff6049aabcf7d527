// Package admission says what is put into a pod at its creation: readiness gates,
// a drain hook and a grace period that is long enough, for the bindings that
// select the pod and ask for it.
//
// Of is the one description of it, and pure. It is delivered in two ways: by a
// MutatingAdmissionPolicy, config/policy, which says the same in CEL; and by a
// webhook of the controller, which calls Of. The cases in testdata/cases.yaml are
// run against Of here, and against both deliveries on a real API server in the lab.
//
// A pod may come by twice: the API server asks again when somebody else changed
// the pod, both deliveries may be in force, and people make pods of the YAML of
// other pods. So what was injected is written on the pod, in labels
// and annotations, and Of adds to that and repeats nothing.
package admission

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

// Binding is what counts of a binding. It is all in the binding's status, and of
// all bindings of a namespace together in its PodInjection.
type Binding = v1beta1.BindingInjection

// BindingsOf reads what counts of bindings, and leaves out those that put nothing
// into pods or are being deleted. The order is that of the names, so that the same
// bindings always give the same.
func BindingsOf(list []v1beta1.TargetGroupBinding) []Binding {
	var bindings []Binding
	for i := range list {
		tgb := &list[i]
		asks := tgb.Status.ReadinessGate != "" || tgb.Status.Drain != nil
		b := Binding{
			Name: tgb.Name, PodSelector: tgb.Status.PodSelector,
			ReadinessGate: tgb.Status.ReadinessGate, Drain: tgb.Status.Drain,
		}
		if own := tgb.Spec.PodSelector; own != nil {
			b.PodSelector, b.PodExpressions = own.MatchLabels, own.MatchExpressions
		}
		if asks && len(b.PodSelector)+len(b.PodExpressions) > 0 && tgb.DeletionTimestamp.IsZero() {
			bindings = append(bindings, b)
		}
	}
	slices.SortFunc(bindings, func(a, b Binding) int { return strings.Compare(a.Name, b.Name) })
	return bindings
}

// anyPod is under which bindings are filed that ask for no value of any label. It is
// the label of no pod.
const anyPod = "="

// ByLabel files bindings, as BindingsOf gives them, each under one label of its
// selector: the one that the fewest others have, since who looks under it looks at
// all that are there. One that takes several values of a label is under each of them,
// of which a pod has one at most.
func ByLabel(bindings []Binding) map[string]v1beta1.BindingInjections {
	sharing := map[string]int{}
	for _, b := range bindings {
		for key, value := range b.PodSelector {
			sharing[key+"="+value]++
		}
	}
	filed := map[string]v1beta1.BindingInjections{}
	for _, b := range bindings {
		for _, label := range labelsOf(b, sharing) {
			filed[label] = append(filed[label], b)
		}
	}
	return filed
}

// labelsOf gives the labels under which a binding is filed. Sharing has how many
// bindings ask for each.
func labelsOf(b Binding, sharing map[string]int) []string {
	rarest := ""
	for key, value := range b.PodSelector {
		label := key + "=" + value
		if rarest == "" || cmp.Or(cmp.Compare(sharing[label], sharing[rarest]), cmp.Compare(label, rarest)) < 0 {
			rarest = label
		}
	}
	if rarest != "" {
		return []string{rarest}
	}
	for _, e := range b.PodExpressions {
		if e.Operator == metav1.LabelSelectorOpIn {
			return valuesOf(e)
		}
	}
	return []string{anyPod}
}

// valuesOf gives the labels that an expression takes, each once.
func valuesOf(e metav1.LabelSelectorRequirement) []string {
	taken := make([]string, len(e.Values))
	for i, value := range e.Values {
		taken[i] = e.Key + "=" + value
	}
	slices.Sort(taken)
	return slices.Compact(taken)
}

// selects tells whether a binding means pods with these labels.
func selects(b Binding, labels map[string]string) bool {
	for key, value := range b.PodSelector {
		if own, has := labels[key]; !has || own != value {
			return false
		}
	}
	return !slices.ContainsFunc(b.PodExpressions, func(e metav1.LabelSelectorRequirement) bool {
		return !satisfies(labels, e)
	})
}

// satisfies tells whether labels are as an expression asks, as Kubernetes has it.
func satisfies(labels map[string]string, e metav1.LabelSelectorRequirement) bool {
	own, has := labels[e.Key]
	switch e.Operator {
	case metav1.LabelSelectorOpIn:
		return has && slices.Contains(e.Values, own)
	case metav1.LabelSelectorOpNotIn:
		return !has || !slices.Contains(e.Values, own)
	case metav1.LabelSelectorOpExists:
		return has
	case metav1.LabelSelectorOpDoesNotExist:
		return !has
	}
	return false
}

// Injection is what becomes of a pod.
type Injection struct {
	// Patch changes the pod; empty if nothing is to be changed.
	Patch []Operation
	// Warnings tell what the bindings ask for and the pod does not get, for people.
	Warnings []string
}

// Operation is one of a JSON patch (RFC 6902). What it does not name stays as it
// is in the pod, be it known here or not.
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// Of says what becomes of a pod that is about to be created among these bindings
// of its namespace, as BindingsOf gives them.
func Of(pod *corev1.Pod, bindings []Binding) Injection {
	var asking []Binding
	for _, b := range bindings {
		if selects(b, pod.Labels) {
			asking = append(asking, b)
		}
	}
	if len(asking) == 0 || exempt(pod) {
		return Injection{}
	}
	var injection Injection
	injection.gates(pod, asking)
	injection.drain(pod, asking)
	switch {
	case len(pod.Labels) == 0:
		injection.add("/metadata/labels", map[string]string{v1beta1.LabelInjected: "true"})
	case pod.Labels[v1beta1.LabelInjected] != "true":
		injection.add("/metadata/labels/"+escape(v1beta1.LabelInjected), "true")
	}
	return injection
}

// exempt tells whether a pod is never changed: its owner said so, or it mirrors
// one that a kubelet made of a file and of which it takes no changes.
func exempt(pod *corev1.Pod) bool {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return mirror || pod.Labels[v1beta1.LabelInject] == v1beta1.InjectFalse
}

func (i *Injection) gates(pod *corev1.Pod, asking []Binding) {
	present := map[string]bool{}
	for _, gate := range pod.Spec.ReadinessGates {
		present[string(gate.ConditionType)] = true
	}
	var missing []any
	for _, b := range asking {
		if b.ReadinessGate != "" && !present[b.ReadinessGate] {
			present[b.ReadinessGate] = true
			missing = append(missing, corev1.PodReadinessGate{ConditionType: corev1.PodConditionType(b.ReadinessGate)})
		}
	}
	i.extend("/spec/readinessGates", len(pod.Spec.ReadinessGates), missing)
}

func (i *Injection) add(path string, value any) {
	i.Patch = append(i.Patch, Operation{Op: "add", Path: path, Value: value})
}

// extend puts values at the end of a list that has so many elements.
func (i *Injection) extend(path string, elements int, values []any) {
	switch {
	case len(values) == 0:
	case elements == 0:
		i.add(path, values)
	default:
		for _, value := range values {
			i.add(path+"/-", value)
		}
	}
}

// annotate sets annotations that differ.
func (i *Injection) annotate(pod *corev1.Pod, annotations map[string]string) {
	if len(pod.Annotations) == 0 {
		i.add("/metadata/annotations", annotations)
		return
	}
	for key, value := range annotations {
		if own, has := pod.Annotations[key]; !has || own != value {
			i.add("/metadata/annotations/"+escape(key), value)
		}
	}
}

func (i *Injection) warn(format string, args ...any) {
	i.Warnings = append(i.Warnings, "targetgroupcontroller: "+fmt.Sprintf(format, args...))
}

// escape writes a key as a part of a JSON pointer.
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
