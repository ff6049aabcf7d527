package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
)

// gateTypes are the readiness gates of ours that a pod has.
func gateTypes(obj client.Object) []string {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	var kinds []string
	for _, gate := range pod.Spec.ReadinessGates {
		if v1beta1.IsReadinessGate(gate.ConditionType) {
			kinds = append(kinds, string(gate.ConditionType))
		}
	}
	return kinds
}

// WithGate lists the pods of a namespace that have a readiness gate of ours. The
// reader is a cache with the indexes of AddIndexes.
func WithGate(ctx context.Context, reader client.Reader, namespace, gate string) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := reader.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{podByGate: gate}); err != nil {
		return nil, fmt.Errorf("list the pods of %s with gate %s: %w", namespace, gate, err)
	}
	return list.Items, nil
}

// gated lists the facts of the pods that have a gate.
func (c *Cluster) gated(ctx context.Context, namespace, gate string) ([]desired.Pod, error) {
	pods, err := WithGate(ctx, c.reader, namespace, gate)
	var facts []desired.Pod
	for i := range pods {
		facts = append(facts, PodOf(&pods[i]))
	}
	return facts, err
}

// WriteGates writes what gates of a pod should say. The error is that of a missing
// pod, too, if another pod has the name by now. It is a conflict if a gate is to be
// closed and the pod is not as it was read: what another process opened meanwhile
// must stay open.
func WriteGates(ctx context.Context, c client.Client, pod *corev1.Pod, gates []report.Gate, now time.Time) error {
	patch := patchOf(pod)
	for _, gate := range gates {
		if !gate.True {
			patch.Metadata.ResourceVersion = pod.ResourceVersion
		}
		patch.Status.Conditions = append(patch.Status.Conditions, conditionOf(pod, gate, now))
	}
	if err := patch.write(ctx, c, pod); err != nil {
		return fmt.Errorf("write the gates of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// conditionOf is the condition of a gate. A gate that opens does so no earlier than
// the kubelet says that the pod is not ready, whose clock may be ahead of ours:
// by that order it is told that the kubelet is yet to look.
func conditionOf(pod *corev1.Pod, gate report.Gate, now time.Time) corev1.PodCondition {
	condition := corev1.PodCondition{
		Type: corev1.PodConditionType(gate.Type), Status: corev1.ConditionFalse,
		Reason: string(gate.Reason), Message: gate.Message, LastTransitionTime: metav1.NewTime(now),
	}
	if gate.True {
		condition.Status = corev1.ConditionTrue
	}
	if before := value(find(pod, condition.Type)); before.Status == condition.Status {
		condition.LastTransitionTime = before.LastTransitionTime
	} else if ready := value(find(pod, corev1.PodReady)); ready.LastTransitionTime.After(now) {
		condition.LastTransitionTime = ready.LastTransitionTime
	}
	return condition
}
