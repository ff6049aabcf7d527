package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

// Injection is what a binding puts into new pods, and how many of the running ones
// lack it. The zero value is that of a binding which asks for nothing.
type Injection struct {
	Selector map[string]string
	Gate     string
	Drain    *v1beta1.DrainStatus
	// Ungated and Undrained count running pods.
	Ungated, Undrained int
}

// put sets the fields of a status that tell of the injection.
func (i Injection) put(status *v1beta1.TargetGroupBindingStatus) {
	status.PodSelector, status.ReadinessGate, status.Drain = i.Selector, i.Gate, i.Drain
	status.UngatedPods, status.UndrainedPods = int32(i.Ungated), int32(i.Undrained)
}

// injectionOwner applies the fields of the status that tell of the injection. They
// have an owner of their own, because they are written without waiting for AWS,
// when the rest of the status may be known less well than the object knows it.
const injectionOwner = FieldOwner + "-injection"

// WriteInjection applies what a binding puts into new pods to its status, where
// the policy and the webhook read it, if it differs.
func WriteInjection(ctx context.Context, c client.Client, tgb *v1beta1.TargetGroupBinding, injection Injection) error {
	var status v1beta1.TargetGroupBindingStatus
	injection.put(&status)
	same := *tgb.Status.DeepCopy()
	injection.put(&same)
	if equality.Semantic.DeepEqual(tgb.Status, same) {
		return nil
	}
	fields, err := fieldsOf(&status)
	if err != nil {
		return err
	}
	for _, counted := range []string{"desired", "registered", "healthy", "draining", "held"} {
		delete(fields, counted) // are told even if zero, and are not ours
	}
	return applyStatus(ctx, c, tgb, fields, injectionOwner)
}

// DrainSettings is what a binding says of draining.
func DrainSettings(spec *v1beta1.Drain) drain.Settings {
	if spec == nil {
		return drain.Settings{Mode: drain.None}
	}
	return drain.Settings{
		Mode: drain.Mode(spec.Mode),
		Hold: Seconds(spec.HoldSeconds), Late: Seconds(spec.LateSeconds), Shutdown: Seconds(spec.ShutdownSeconds),
	}
}

// Seconds is a duration of so many seconds; nil for nil.
func Seconds(n *int32) *time.Duration {
	if n == nil {
		return nil
	}
	d := time.Duration(*n) * time.Second
	return &d
}

// DrainStatus is how a status tells times; nil for those of no draining.
func DrainStatus(t drain.Times) *v1beta1.DrainStatus {
	if t == (drain.Times{}) {
		return nil
	}
	return &v1beta1.DrainStatus{
		Mode:        v1beta1.DrainMode(t.Mode),
		HoldSeconds: whole(t.Hold), LateSeconds: whole(t.Late), ShutdownSeconds: whole(t.Shutdown),
		SleepSeconds: whole(t.Sleep), GracePeriodSeconds: whole(t.Grace),
	}
}

func whole(d time.Duration) int32 { return int32(d / time.Second) }

// Selector gives the selector of a Service; nil if the Service does not exist or
// selects no pods.
func (c *Cluster) Selector(ctx context.Context, name types.NamespacedName) (map[string]string, error) {
	var service corev1.Service
	err := c.reader.Get(ctx, name, &service)
	switch {
	case apierrors.IsNotFound(err) || err == nil && service.Spec.Type == corev1.ServiceTypeExternalName:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read Service %s: %w", name, err)
	}
	return service.Spec.Selector, nil
}

// Running lists the pods that a binding chooses, that run and are to stay, by name.
func (c *Cluster) Running(ctx context.Context, binding Binding) ([]*corev1.Pod, error) {
	pods, err := c.behind(ctx, binding)
	if err != nil {
		return nil, err
	}
	pods = slices.DeleteFunc(pods, func(pod *corev1.Pod) bool { return !pod.DeletionTimestamp.IsZero() || PodOf(pod).Finished })
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return pods, nil
}

// behind lists the pods that a binding chooses, in no order.
func (c *Cluster) behind(ctx context.Context, binding Binding) ([]*corev1.Pod, error) {
	var pods []*corev1.Pod
	if binding.Selector != nil {
		chosen, err := c.choosing(ctx, binding)
		for i := range chosen {
			pods = append(pods, &chosen[i])
		}
		return pods, err
	}
	service := binding.Service
	var list discoveryv1.EndpointSliceList
	err := c.reader.List(ctx, &list, client.InNamespace(service.Namespace), client.MatchingFields{sliceByService: service.Name})
	if err != nil {
		return nil, fmt.Errorf("list the slices of Service %s: %w", service, err)
	}
	names := map[string]bool{}
	for i := range list.Items {
		for _, name := range podNames(&list.Items[i]) {
			names[name] = true
		}
	}
	for name := range names {
		var pod corev1.Pod
		err := c.reader.Get(ctx, types.NamespacedName{Namespace: service.Namespace, Name: name}, &pod)
		switch {
		case err == nil:
			pods = append(pods, &pod)
		case client.IgnoreNotFound(err) != nil:
			return nil, fmt.Errorf("read pod %s/%s: %w", service.Namespace, name, err)
		}
	}
	return pods, nil
}

// HasGate tells whether a pod has a readiness gate.
func HasGate(pod *corev1.Pod, gate string) bool {
	return slices.ContainsFunc(pod.Spec.ReadinessGates, func(g corev1.PodReadinessGate) bool {
		return string(g.ConditionType) == gate
	})
}

// HasDrainHook tells whether every container of a pod has a drain hook.
func HasDrainHook(pod *corev1.Pod) bool {
	return pod.Annotations[v1beta1.AnnotationDrainMode] != "" && len(admission.Unheld(pod)) == 0
}
