package kube

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// FieldOwner is the name under which the controller applies fields.
const FieldOwner = client.FieldOwner("targetgroupcontroller")

// StatusOf is the status of a binding after a report. Group is zero if it was not
// found, and then what the status remembers of it stays.
func StatusOf(tgb *v1beta1.TargetGroupBinding, r report.Binding, group target.Group) v1beta1.TargetGroupBindingStatus {
	status := *tgb.Status.DeepCopy()
	status.ObservedGeneration = tgb.Generation
	setCondition(&status, v1beta1.ConditionReady, r.Ready)
	if group.ARN.IsZero() {
		return status
	}
	if arn := group.ARN.String(); status.TargetGroupARN != arn {
		status.Targets = nil // they were in another group
	}
	status.TargetGroupARN, status.TargetGroupName = group.ARN.String(), group.ARN.Name
	if !r.Counted {
		return status
	}
	status.Desired, status.Registered = int32(r.Counts.Desired), int32(r.Counts.Registered)
	status.Healthy, status.Draining = int32(r.Counts.Healthy), int32(r.Counts.Draining)
	status.Held = int32(r.Counts.Held)
	status.Targets = nil
	for _, key := range r.Targets {
		status.Targets = append(status.Targets, key.String())
	}
	setCondition(&status, v1beta1.ConditionTargetsHeld, r.Held)
	return status
}

func setCondition(status *v1beta1.TargetGroupBindingStatus, kind string, c report.Condition) {
	value := metav1.ConditionFalse
	if c.True {
		value = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: kind, Status: value, Reason: string(c.Reason), Message: c.Message,
		ObservedGeneration: status.ObservedGeneration,
	})
}

// WriteStatus applies a status if it differs from the object's. What WriteInjection
// writes is left out.
func WriteStatus(ctx context.Context, c client.Client, tgb *v1beta1.TargetGroupBinding, status v1beta1.TargetGroupBindingStatus) error {
	was := *tgb.Status.DeepCopy()
	Injection{}.put(&was)
	Injection{}.put(&status)
	if equality.Semantic.DeepEqual(was, status) {
		return nil
	}
	fields, err := fieldsOf(&status)
	if err != nil {
		return err
	}
	return applyStatus(ctx, c, tgb, fields, FieldOwner)
}

func fieldsOf(status *v1beta1.TargetGroupBindingStatus) (map[string]any, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
	if err != nil {
		return nil, fmt.Errorf("convert status: %w", err)
	}
	return fields, nil
}

func applyStatus(ctx context.Context, c client.Client, tgb *v1beta1.TargetGroupBinding, fields map[string]any, owner client.FieldOwner) error {
	object := &unstructured.Unstructured{Object: map[string]any{"status": fields}}
	object.SetGroupVersionKind(v1beta1.GroupVersion.WithKind("TargetGroupBinding"))
	object.SetNamespace(tgb.Namespace)
	object.SetName(tgb.Name)
	err := c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object), owner, client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("write status of %s/%s: %w", tgb.Namespace, tgb.Name, err)
	}
	return nil
}
