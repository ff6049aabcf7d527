package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
	count(&status, r.Counts)
	status.Targets = texts(r.Targets)
	setCondition(&status, v1beta1.ConditionTargetsHeld, r.Held)
	return status
}

// GroupReport is the report on a binding as far as it is about one of several groups.
type GroupReport struct {
	Group  target.ARN
	Report report.Binding
}

// StatusOfAll is the status of a binding that means several groups, after a report on
// all of them. Groups is nil while it is not known which they are, and then what the
// status remembers of them stays.
func StatusOfAll(tgb *v1beta1.TargetGroupBinding, r report.Binding, groups []GroupReport) v1beta1.TargetGroupBindingStatus {
	status := *tgb.Status.DeepCopy()
	status.ObservedGeneration = tgb.Generation
	setCondition(&status, v1beta1.ConditionReady, r.Ready)
	if groups == nil {
		return status
	}
	status.TargetGroups = nil
	var names []string
	for _, g := range groups {
		status.TargetGroups = append(status.TargetGroups, groupStatus(g, tgb.Status.TargetGroups))
		names = append(names, g.Group.Name)
	}
	status.TargetGroupName = strings.Join(names, ",")
	if r.Counted || len(groups) == 0 {
		count(&status, r.Counts)
		setCondition(&status, v1beta1.ConditionTargetsHeld, r.Held)
	}
	return status
}

// groupStatus tells of one of several groups. What is not known anew is as it was.
func groupStatus(g GroupReport, before []v1beta1.TargetGroupStatus) v1beta1.TargetGroupStatus {
	status := v1beta1.TargetGroupStatus{ARN: g.Group.String()}
	if i := slices.IndexFunc(before, func(b v1beta1.TargetGroupStatus) bool { return b.ARN == status.ARN }); i >= 0 {
		status = *before[i].DeepCopy()
	}
	status.Reason = string(g.Report.Ready.Reason)
	if !g.Report.Counted {
		return status
	}
	status.Registered, status.Healthy = int32(g.Report.Counts.Registered), int32(g.Report.Counts.Healthy)
	status.Targets = texts(g.Report.Targets)
	return status
}

func texts(keys []target.Key) []string {
	var texts []string
	for _, key := range keys {
		texts = append(texts, key.String())
	}
	return texts
}

func count(status *v1beta1.TargetGroupBindingStatus, counts report.Counts) {
	status.Desired, status.Registered = int32(counts.Desired), int32(counts.Registered)
	status.Healthy, status.Draining = int32(counts.Healthy), int32(counts.Draining)
	status.Held = int32(counts.Held)
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
