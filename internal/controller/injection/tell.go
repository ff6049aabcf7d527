package injection

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// named bounds how many pods an event names.
const named = 5

// undrainedPod names a pod, with the containers that have a preStop hook of their
// own if it is for their sake that it is not drained.
func undrainedPod(pod *corev1.Pod) string {
	if pod.Annotations[v1beta1.AnnotationDrainMode] == "" {
		return pod.Name
	}
	return fmt.Sprintf("%s (container %s has a preStop hook of its own)", pod.Name, strings.Join(admission.Unheld(pod), ", "))
}

// missing tells that pods lack something, once for each pod.
func (r *Reconciler) missing(ctx context.Context, tgb *v1beta1.TargetGroupBinding, reason target.Reason, what string, pods []string) {
	if !r.anyNew(idOf(tgb), reason, pods) {
		return
	}
	list := strings.Join(pods[:min(len(pods), named)], ", ")
	if more := len(pods) - named; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	noun := "1 running pod lacks"
	if len(pods) > 1 {
		noun = fmt.Sprintf("%d running pods lack", len(pods))
	}
	r.record(ctx, tgb, reason, fmt.Sprintf("%s the %s: %s. It is put into pods at their creation only: replace them, as by kubectl rollout restart; "+
		"if new pods lack it too, neither config/policy nor config/webhook is in force for them", noun, what, list))
}

// anyNew notes these pods, and tells whether one was not noted before.
func (r *Reconciler) anyNew(id desired.BindingID, reason target.Reason, pods []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := strings.Fields(r.toldOf(id)[reason])
	names := make([]string, len(pods))
	for i, pod := range pods {
		names[i], _, _ = strings.Cut(pod, " ")
	}
	r.toldOf(id)[reason] = strings.Join(names, " ")
	return slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(before, name) })
}

// tell tells something once, until it changes.
func (r *Reconciler) tell(ctx context.Context, tgb *v1beta1.TargetGroupBinding, reason target.Reason, message string) {
	r.mu.Lock()
	told := r.toldOf(idOf(tgb))
	again := told[reason] == message
	told[reason] = message
	r.mu.Unlock()
	if !again {
		r.record(ctx, tgb, reason, message)
	}
}

// toldOf is what was told of a binding. The caller holds the lock.
func (r *Reconciler) toldOf(id desired.BindingID) map[target.Reason]string {
	if r.told == nil {
		r.told = map[desired.BindingID]map[target.Reason]string{}
	}
	if r.told[id] == nil {
		r.told[id] = map[target.Reason]string{}
	}
	return r.told[id]
}

func (r *Reconciler) forget(id desired.BindingID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.told, id)
}

func (r *Reconciler) record(ctx context.Context, tgb *v1beta1.TargetGroupBinding, reason target.Reason, message string) {
	binding := kube.Binding{ID: idOf(tgb), Object: runtime.Object(tgb)}
	if read, err := kube.BindingOf(tgb); err == nil {
		binding = read
	}
	r.Events.Record(ctx, binding, binding.Group.ARN, report.Event{Warning: true, Reason: reason, Message: message})
}

func idOf(tgb *v1beta1.TargetGroupBinding) desired.BindingID {
	return desired.BindingID{Namespace: tgb.Namespace, Name: tgb.Name}
}
