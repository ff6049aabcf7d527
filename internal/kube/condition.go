package kube

import (
	"context"
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// find gives the condition of a pod; nil if it has none of the type.
func find(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &pod.Status.Conditions[i]
}

// conditionPatch is a strategic merge patch of a pod's status: it adds or replaces the
// conditions it names, and leaves all others to the kubelet.
type conditionPatch struct {
	Metadata struct {
		UID             types.UID `json:"uid"`
		ResourceVersion string    `json:"resourceVersion,omitempty"`
	} `json:"metadata"`
	Status struct {
		Conditions []corev1.PodCondition `json:"conditions"`
	} `json:"status"`
}

// patchOf is a patch without conditions for this pod and no other.
func patchOf(pod *corev1.Pod) conditionPatch {
	var patch conditionPatch
	patch.Metadata.UID = pod.UID
	return patch
}

// write sends the patch. The error is that of a missing pod, too, if another pod has
// the name by now.
func (p conditionPatch) write(ctx context.Context, c client.Client, pod *corev1.Pod) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	named := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	err = c.Status().Patch(ctx, named, client.RawPatch(types.StrategicMergePatchType, data), FieldOwner)
	if cause, known := apierrors.StatusCause(err, metav1.CauseTypeFieldValueInvalid); known && cause.Field == "metadata.uid" {
		// The UID of an object never changes: it is another object.
		return apierrors.NewNotFound(corev1.Resource("pods"), pod.Name)
	}
	return err
}
