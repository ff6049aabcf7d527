package kube

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Binding is a declared binding, however it was declared.
type Binding struct {
	ID desired.BindingID
	// Object is where events about the binding go: the TargetGroupBinding, or
	// the Service of a binding made of flags; nil if those name a selector, and
	// then only the log tells.
	Object   runtime.Object
	Deleting bool
	// Invalid is why the declaration cannot be used; the fields below are empty then.
	Invalid error
	// Group is the group that the binding names; zero if Tags name it.
	Group target.Ref
	// Tags, if not empty, are those of all groups that the binding means.
	Tags map[string]string
	// Left: the group that this is about has the tags no longer.
	Left bool
	// Service is the one whose endpoints are the targets; empty if Selector chooses them.
	Service types.NamespacedName
	// Selector chooses the pods that are the targets, in the namespace of the
	// binding, and RegisterAt says from when on; nil if Service does.
	Selector   labels.Selector
	RegisterAt desired.RegisterAt
	// Port is one of the Service, or of the pods that Selector chooses.
	Port   desired.PortRef
	Policy plan.Policy
	Nodes  desired.NodePolicy
	// Shared: the group also has targets of other clusters or registrars.
	Shared bool
	// Created is when it was declared; zero for one made of flags.
	Created time.Time
	// Family and VPC are what the binding expects of its group; empty if anything.
	Family target.Family
	VPC    string
	// Role and ExternalID say with whose rights the group is worked on; empty
	// for the controller's own.
	Role, ExternalID string
	// Ours are the targets that the status remembers, in the group with the ARN OursIn;
	// of a binding that names groups by tags, those of all groups in Remembered.
	Ours   target.Set
	OursIn string
	// Remembered are the groups that the status of a binding with Tags tells of, with
	// the targets in each.
	Remembered map[target.ARN]target.Set
}

// BindingOf reads a TargetGroupBinding. The error names the field, its value and
// the remedy; the API server refuses such objects, but one may have been stored
// before its rules were.
func BindingOf(tgb *v1beta1.TargetGroupBinding) (Binding, error) {
	spec := tgb.Spec
	var ref target.Ref
	var err error
	if len(spec.TargetGroupTags) == 0 {
		ref, err = RefFields{ARN: "spec.targetGroupARN", Name: "spec.targetGroupName"}.Ref(spec.TargetGroupARN, spec.TargetGroupName)
	}
	if err != nil {
		return Binding{}, err
	}
	binding := Binding{
		ID:         desired.BindingID{Namespace: tgb.Namespace, Name: tgb.Name},
		Object:     declarer(tgb),
		Deleting:   !tgb.DeletionTimestamp.IsZero(),
		Group:      ref,
		Policy:     plan.Policy{Takeover: plan.Takeover(spec.Takeover), Drain: drainTime(tgb.Status.Drain)},
		Nodes:      desired.NodePolicy(spec.NodeNotReady),
		Family:     target.Family(spec.IPAddressType),
		VPC:        spec.VPCID,
		Role:       spec.IAMRoleARNToAssume,
		ExternalID: spec.AssumeRoleExternalID,
		Ours:       remembered(tgb.Status.Targets),
		OursIn:     tgb.Status.TargetGroupARN,
		Tags:       spec.TargetGroupTags,
		Shared:     spec.MultiClusterTargetGroup,
		Created:    tgb.CreationTimestamp.Time,
	}
	binding.remember(tgb.Status.TargetGroups)
	if err := binding.choose(tgb); err != nil {
		return Binding{}, err
	}
	return binding, nil
}

// remember reads what a status tells of several groups.
func (b *Binding) remember(groups []v1beta1.TargetGroupStatus) {
	for _, group := range groups {
		arn, err := target.ParseARN(group.ARN)
		if err != nil {
			continue // was not written by us
		}
		if b.Remembered == nil {
			b.Remembered = map[target.ARN]target.Set{}
		}
		b.Remembered[arn] = remembered(group.Targets)
		b.Ours = b.Ours.Union(b.Remembered[arn])
	}
}

// In is the binding as far as it is about one of the groups that its tags name.
func (b Binding) In(group target.ARN) Binding {
	b.Ours, b.OursIn = b.Remembered[group], group.String()
	return b
}

// Means tells people which group or groups the binding names.
func (b *Binding) Means() string {
	if len(b.Tags) == 0 {
		return b.Group.String()
	}
	return TagsText(b.Tags)
}

// TagsText writes tags in the order of their keys.
func TagsText(tags map[string]string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		pairs = append(pairs, key+"="+tags[key])
	}
	return strings.Join(pairs, ",")
}

// choose reads what chooses the pods: a Service or a selector, one of them.
func (b *Binding) choose(tgb *v1beta1.TargetGroupBinding) (err error) {
	spec := tgb.Spec
	if spec.PodSelector == nil {
		b.Service = types.NamespacedName{Namespace: tgb.Namespace, Name: spec.ServiceRef.Name}
		if b.Port, err = PortOf(spec.ServiceRef.Port); err != nil {
			return fmt.Errorf("spec.serviceRef.port: %w", err)
		}
		return nil
	}
	if spec.ServiceRef.Name != "" {
		return fmt.Errorf("spec.serviceRef %q and spec.podSelector are both set: remove one", spec.ServiceRef.Name)
	}
	b.Selector, err = metav1.LabelSelectorAsSelector(spec.PodSelector)
	switch {
	case err != nil:
		return fmt.Errorf("spec.podSelector: %w", err)
	case b.Selector.Empty():
		return errors.New("spec.podSelector is empty and would choose every pod of the namespace: name at least one label")
	}
	if b.Port, err = PortOf(spec.PodPort); err != nil {
		return fmt.Errorf("spec.podPort: %w", err)
	}
	b.RegisterAt = cmp.Or(desired.RegisterAt(spec.RegisterAt), desired.AtReady)
	return nil
}

// Chooses tells whether the binding chooses a pod, which is listed in the slices of
// these Services.
func (b *Binding) Chooses(pod *corev1.Pod, services []types.NamespacedName) bool {
	if b.Selector == nil {
		return slices.Contains(services, b.Service)
	}
	return pod.Namespace == b.ID.Namespace && b.Selector.Matches(labels.Set(pod.Labels))
}

// drainTime is how long before its pod stops serving a target must be deregistered;
// zero if the binding gives pods no time for it. What a hook has beyond the sum is for
// the call.
func drainTime(status *v1beta1.DrainStatus) time.Duration {
	if status == nil {
		return 0
	}
	return time.Duration(status.HoldSeconds)*time.Second + drain.Margin - drain.Reserve
}

// declarer is the object in which the user declared the binding: the Service, if
// the binding was made of its annotations.
func declarer(tgb *v1beta1.TargetGroupBinding) runtime.Object {
	owner := metav1.GetControllerOf(tgb)
	if owner == nil || owner.Kind != "Service" {
		return tgb
	}
	return &corev1.ObjectReference{
		APIVersion: owner.APIVersion, Kind: owner.Kind, Namespace: tgb.Namespace, Name: owner.Name, UID: owner.UID,
	}
}

// FlagBinding completes the binding that flags declare: with either its Service or
// its Selector. Its name cannot be that of a TargetGroupBinding: service/NAME, or
// pods/GROUP, since a selector has no name, or pods/tagged, since tags have none either.
func FlagBinding(namespace string, b Binding) Binding {
	b.ID = desired.BindingID{Namespace: namespace, Name: "service/" + b.Service.Name}
	b.Nodes = desired.HoldOnSilentNode
	if b.Selector != nil {
		b.ID.Name = "pods/" + cmp.Or(b.Group.Name, b.Group.ARN.Name, "tagged")
		return b
	}
	b.Object = &corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: namespace, Name: b.Service.Name}
	return b
}

// groupName is the form of the names of target groups.
var groupName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?$`)

// RefFields are the names of the two fields of which exactly one names the group,
// as the user wrote them.
type RefFields struct{ ARN, Name string }

// Ref reads the two fields. The error names the one to mend.
func (f RefFields) Ref(arn, name string) (target.Ref, error) {
	switch {
	case arn != "" && name != "":
		return target.Ref{}, fmt.Errorf("%s %q and %s %q are both set: remove one", f.ARN, arn, f.Name, name)
	case arn == "" && name == "":
		return target.Ref{}, fmt.Errorf("neither %s nor %s is set: set one to name the target group, or its tags", f.ARN, f.Name)
	case name != "" && !groupName.MatchString(name):
		return target.Ref{}, fmt.Errorf("%s %q: want 1 to 32 letters, digits and inner hyphens", f.Name, name)
	case name != "":
		return target.Ref{Name: name}, nil
	}
	parsed, err := target.ParseARN(arn)
	if err != nil {
		return target.Ref{}, fmt.Errorf("%s: %w", f.ARN, err)
	}
	return target.Ref{ARN: parsed}, nil
}

// PortOf reads a port by name or number; digits in a string are a number.
func PortOf(port intstr.IntOrString) (desired.PortRef, error) {
	number := port.IntValue()
	switch {
	case port.Type == intstr.String && port.StrVal == "":
		return desired.PortRef{}, fmt.Errorf("is empty: give the name or the number of a port")
	case port.Type == intstr.String && port.StrVal != strconv.Itoa(number):
		return desired.PortRef{Name: port.StrVal}, nil
	case number < 1 || number > 65535:
		return desired.PortRef{}, fmt.Errorf("%d is out of range: want 1 to 65535", number)
	}
	return desired.PortRef{Number: uint16(number)}, nil
}

func remembered(targets []string) target.Set {
	var keys []target.Key
	for _, s := range targets {
		// What cannot be read was not written by us.
		if key, err := target.ParseKey(s); err == nil {
			keys = append(keys, key)
		}
	}
	return target.SetOf(keys...)
}
