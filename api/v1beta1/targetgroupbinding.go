package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TargetGroupBinding keeps the targets of one ELBv2 target group of type ip, or of
// all that have some tags, in step with the pods behind a Service, or with those that a selector of its own
// chooses. The target group, its listeners and its load balancer are made
// elsewhere and are never changed.
//
// Several bindings may name one target group: it then holds the pods of all.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=targetgroupbindings,singular=targetgroupbinding,shortName=tgb,categories=all
// +kubebuilder:printcolumn:name="Target-Group",type=string,JSONPath=`.status.targetGroupName`,description="Name of the target group"
// +kubebuilder:printcolumn:name="Service",type=string,JSONPath=`.spec.serviceRef.name`,description="Service whose pods are the targets"
// +kubebuilder:printcolumn:name="Port",type=string,JSONPath=`.spec.serviceRef.port`,description="Port of the Service"
// +kubebuilder:printcolumn:name="Selector",type=string,JSONPath=`.spec.podSelector`,description="Labels of the pods that are the targets, where no Service chooses them",priority=1
// +kubebuilder:printcolumn:name="Pod-Port",type=string,JSONPath=`.spec.podPort`,description="Port of those pods",priority=1
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`,description="Whether the target group holds what the binding asks for"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why the binding is ready or not"
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=`.status.desired`,description="Targets that should be registered"
// +kubebuilder:printcolumn:name="Registered",type=integer,JSONPath=`.status.registered`,description="Targets that are registered"
// +kubebuilder:printcolumn:name="Healthy",type=integer,JSONPath=`.status.healthy`,description="Registered targets that the load balancer calls healthy"
// +kubebuilder:printcolumn:name="Draining",type=integer,JSONPath=`.status.draining`,description="Targets on their way out",priority=1
// +kubebuilder:printcolumn:name="Held",type=integer,JSONPath=`.status.held`,description="Targets that a guard keeps in the group",priority=1
// +kubebuilder:printcolumn:name="Gate",type=string,JSONPath=`.spec.readinessGate`,description="Whether new pods get a readiness gate",priority=1
// +kubebuilder:printcolumn:name="Ungated",type=integer,JSONPath=`.status.ungatedPods`,description="Running pods that lack the readiness gate",priority=1
// +kubebuilder:printcolumn:name="Drain",type=string,JSONPath=`.status.drain.mode`,description="How new pods are kept serving at their end",priority=1
// +kubebuilder:printcolumn:name="ARN",type=string,JSONPath=`.status.targetGroupARN`,description="ARN of the target group",priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TargetGroupBinding struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which pods belong in which target group.
	// +required
	Spec TargetGroupBindingSpec `json:"spec"`

	// status is what the controller found and did. Only the controller writes it.
	// +optional
	Status TargetGroupBindingStatus `json:"status,omitzero"`
}

// TargetGroupBindingList is a list of bindings.
//
// +kubebuilder:object:root=true
type TargetGroupBindingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TargetGroupBinding `json:"items"`
}

// TargetGroupBindingSpec says which pods belong in which target group.
//
// Which target group a binding is about never changes in its life: to point
// pods at another group, make a second binding, wait until its targets are
// healthy, and delete the first.
//
// +kubebuilder:validation:XValidation:rule="has(self.targetGroupARN) || has(self.targetGroupName) || has(self.targetGroupTags)",fieldPath=".targetGroupARN",reason=FieldValueRequired,message="the binding names no target group: set either targetGroupARN or targetGroupName, or targetGroupTags for all groups that have them"
// +kubebuilder:validation:XValidation:rule="!(has(self.targetGroupARN) && has(self.targetGroupName))",fieldPath=".targetGroupName",reason=FieldValueForbidden,message="targetGroupARN and targetGroupName are both set",messageExpression="'targetGroupName ' + self.targetGroupName + ' is set beside targetGroupARN: remove targetGroupName, the ARN alone names the group'"
// +kubebuilder:validation:XValidation:rule="!has(self.targetGroupTags) || !has(self.targetGroupARN) && !has(self.targetGroupName)",fieldPath=".targetGroupTags",reason=FieldValueForbidden,message="targetGroupTags is set beside targetGroupARN or targetGroupName: remove targetGroupTags to mean that group alone, or the other to mean all groups that have the tags"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.targetGroupTags) || has(self.targetGroupTags) && self.targetGroupTags == oldSelf.targetGroupTags",fieldPath=".targetGroupTags",message="targetGroupTags cannot be changed: make another binding for the groups with other tags"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.targetGroupARN) || has(self.targetGroupARN) && self.targetGroupARN == oldSelf.targetGroupARN",fieldPath=".targetGroupARN",message="targetGroupARN cannot be changed",messageExpression="'targetGroupARN cannot be changed, it stays ' + oldSelf.targetGroupARN + ': make another binding for the other target group'"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.targetGroupName) || has(self.targetGroupName) && self.targetGroupName == oldSelf.targetGroupName",fieldPath=".targetGroupName",message="targetGroupName cannot be changed",messageExpression="'targetGroupName cannot be changed, it stays ' + oldSelf.targetGroupName + ': make another binding for the other target group'"
// +kubebuilder:validation:XValidation:rule="has(self.serviceRef) || has(self.podSelector)",fieldPath=".serviceRef",reason=FieldValueRequired,message="the binding chooses no pods: set either serviceRef or podSelector"
// +kubebuilder:validation:XValidation:rule="!(has(self.serviceRef) && has(self.podSelector))",fieldPath=".podSelector",reason=FieldValueForbidden,message="podSelector and serviceRef are both set",messageExpression="'podSelector is set beside serviceRef, and Service ' + self.serviceRef.name + ' chooses pods by a selector of its own: remove one of them'"
// +kubebuilder:validation:XValidation:rule="!has(self.podSelector) || has(self.podPort)",fieldPath=".podPort",reason=FieldValueRequired,message="podPort is missing: name the port of the pods that podSelector chooses, by number or by the name of a container's port"
// +kubebuilder:validation:XValidation:rule="has(self.podSelector) || !has(self.podPort)",fieldPath=".podPort",reason=FieldValueForbidden,message="podPort is set without podSelector: remove it, the port of a Service is named by serviceRef.port"
// +kubebuilder:validation:XValidation:rule="has(self.podSelector) || !has(self.registerAt)",fieldPath=".registerAt",reason=FieldValueForbidden,message="registerAt is set without podSelector: remove it, the endpoints of a Service are registered when they are ready"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.ipAddressType) || has(self.ipAddressType) && self.ipAddressType == oldSelf.ipAddressType",fieldPath=".ipAddressType",message="ipAddressType cannot be changed",messageExpression="'ipAddressType cannot be changed, it stays ' + oldSelf.ipAddressType + ': no target group ever changes its address family'"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.vpcID) || has(self.vpcID) && self.vpcID == oldSelf.vpcID",fieldPath=".vpcID",message="vpcID cannot be changed",messageExpression="'vpcID cannot be changed, it stays ' + oldSelf.vpcID + ': no target group ever moves to another VPC'"
// +kubebuilder:validation:XValidation:rule="!has(self.assumeRoleExternalId) || has(self.iamRoleArnToAssume)",fieldPath=".assumeRoleExternalId",message="assumeRoleExternalId is set without a role: set iamRoleArnToAssume to the role that asks for it, or remove assumeRoleExternalId"
// +kubebuilder:validation:XValidation:rule="!has(self.targetGroupName) || !has(oldSelf.targetGroupName) || has(self.iamRoleArnToAssume) == has(oldSelf.iamRoleArnToAssume) && (!has(self.iamRoleArnToAssume) || self.iamRoleArnToAssume == oldSelf.iamRoleArnToAssume)",fieldPath=".iamRoleArnToAssume",message="iamRoleArnToAssume cannot be changed in a binding that names its target group by targetGroupName, since the name may mean another group in another account: make another binding, or use targetGroupARN in it"
// +kubebuilder:validation:XValidation:rule="!has(self.targetGroupTags) || !has(oldSelf.targetGroupTags) || has(self.iamRoleArnToAssume) == has(oldSelf.iamRoleArnToAssume) && (!has(self.iamRoleArnToAssume) || self.iamRoleArnToAssume == oldSelf.iamRoleArnToAssume)",fieldPath=".iamRoleArnToAssume",message="iamRoleArnToAssume cannot be changed in a binding that names its target groups by targetGroupTags, since the tags may be those of other groups in another account: make another binding"
// +kubebuilder:validation:XValidation:rule="!(has(self.multiClusterTargetGroup) && self.multiClusterTargetGroup && has(self.takeover) && self.takeover == 'Confirmed')",fieldPath=".takeover",reason=FieldValueForbidden,message="takeover is Confirmed, which takes out all targets that are not of this cluster, and multiClusterTargetGroup is true, which leaves them: remove one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.networking)",fieldPath=".networking",reason=FieldValueForbidden,message="networking is set, but security groups are not managed here: keep the rules that let the load balancer reach the pods where the load balancer is made, and remove networking"
// +kubebuilder:validation:XValidation:rule="!has(self.nodeSelector)",fieldPath=".nodeSelector",reason=FieldValueForbidden,message="nodeSelector is set, but it chooses nodes for targets of type instance, and pods are targets of type ip: remove nodeSelector"
type TargetGroupBindingSpec struct {
	// targetGroupARN names the target group by its ARN; account and region are
	// taken from it. Exactly one of targetGroupARN, targetGroupName and
	// targetGroupTags is set. It cannot be changed.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^arn:aws[a-z-]*:elasticloadbalancing:[a-z]{2,}(-[a-z]+)+-[0-9]+:[0-9]{12}:targetgroup/[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?/[0-9a-f]{16,17}$')",message="targetGroupARN is not the ARN of a target group: it has the form arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID"
	TargetGroupARN string `json:"targetGroupARN,omitempty"`

	// targetGroupName names the target group by its name, in the controller's
	// region and in the account of its credentials or of iamRoleArnToAssume.
	// Exactly one of targetGroupARN, targetGroupName and targetGroupTags is set. It
	// cannot be changed.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?$')",message="targetGroupName is not the name of a target group: it has 1 to 32 letters, digits and hyphens, with no hyphen at either end"
	TargetGroupName string `json:"targetGroupName,omitempty"`

	// targetGroupTags names all target groups of type ip that have these tags, each
	// with this value, in the controller's region and in the account of its
	// credentials or of iamRoleArnToAssume. All of them get the pods; ipAddressType
	// and vpcID narrow the choice. Groups that get the tags or lose them are picked
	// up. Exactly one of targetGroupARN, targetGroupName and targetGroupTags is set.
	// It cannot be changed.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=10
	// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) >= 1 && size(key) <= 128 && size(self[key]) <= 256)",message="a tag of targetGroupTags is none that AWS knows: keys have 1 to 128 characters, values up to 256"
	TargetGroupTags map[string]string `json:"targetGroupTags,omitempty"`

	// serviceRef is the Service whose pods are the targets, in the namespace of
	// the binding, and the port of it that counts. Exactly one of serviceRef and
	// podSelector is set.
	// +optional
	ServiceRef ServiceReference `json:"serviceRef,omitzero"`

	// podSelector chooses the pods that are the targets by their labels, in the
	// namespace of the binding and without a Service. Exactly one of serviceRef
	// and podSelector is set. It must not be empty, which would choose every pod.
	// +optional
	// +kubebuilder:validation:XValidation:rule="has(self.matchLabels) && size(self.matchLabels) > 0 || has(self.matchExpressions) && size(self.matchExpressions) > 0",message="podSelector is empty and would choose every pod of the namespace: name at least one label in matchLabels or matchExpressions"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])",fieldPath=".matchExpressions",message="an operator of podSelector is unknown: it is In, NotIn, Exists or DoesNotExist"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, !(e.operator in ['In', 'NotIn']) || has(e.values) && size(e.values) > 0)",fieldPath=".matchExpressions",message="an expression of podSelector with the operator In or NotIn has no values: name at least one"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, !(e.operator in ['Exists', 'DoesNotExist']) || !has(e.values) || size(e.values) == 0)",fieldPath=".matchExpressions",message="an expression of podSelector with the operator Exists or DoesNotExist has values: remove them, or use In or NotIn"
	PodSelector *metav1.LabelSelector `json:"podSelector,omitempty"`

	// podPort is the port of the pods that podSelector chooses: a number, or the
	// name of a port of a container, which may be another number in each pod. If
	// the container's port has a hostPort, the pod is registered with the address
	// of its node and that port.
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? int(self) >= 1 && int(self) <= 65535 : string(self).matches('^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$')",message="podPort is neither a number nor the name of a port of a container: numbers go from 1 to 65535, names have 1 to 15 lower-case letters, digits and inner hyphens"
	PodPort intstr.IntOrString `json:"podPort,omitzero"`

	// registerAt says from when on a pod that podSelector chooses is a target.
	// Ready, which it is if left out: while the pod is ready, as the pods of a
	// Service are. Running: from when it has an address and its containers run
	// until it is deleted, whatever its readiness probes say. The health checks of
	// the load balancer alone decide then who gets requests; while they pass for
	// no target, a load balancer sends to all of them.
	// +optional
	RegisterAt RegisterAt `json:"registerAt,omitempty"`

	// targetType is the type of the target group. Pods can be targets of type
	// ip only.
	// +optional
	// +kubebuilder:default=ip
	// +kubebuilder:validation:XValidation:rule="self != 'instance'",message="targetType is instance, but pods can only be targets of type ip: name a target group of type ip (the type of a group cannot be changed) and set targetType to ip or leave it out"
	TargetType TargetType `json:"targetType,omitempty"`

	// ipAddressType is the address family of the target group. Left out, it is
	// read from the group; set, it must be the group's own. It cannot be
	// changed once set.
	// +optional
	IPAddressType IPAddressType `json:"ipAddressType,omitempty"`

	// vpcID is the VPC of the target group. Left out, it is read from the group;
	// set, it must be the group's own. It cannot be changed once set.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^vpc-([0-9a-f]{8}|[0-9a-f]{17})$')",message="vpcID is not the id of a VPC: it has the form vpc- and 8 or 17 hexadecimal digits, or can be left out"
	VPCID string `json:"vpcID,omitempty"`

	// iamRoleArnToAssume is the role to assume for all calls about the target
	// group, for groups in another account. It cannot be changed while
	// targetGroupName is what names the group.
	// +optional
	// +kubebuilder:validation:MaxLength=640
	// +kubebuilder:validation:XValidation:rule="self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+$')",message="iamRoleArnToAssume is not the ARN of a role: it has the form arn:aws:iam::ACCOUNT:role/NAME"
	IAMRoleARNToAssume string `json:"iamRoleArnToAssume,omitempty"`

	// assumeRoleExternalId is the external id that the trust policy of the role
	// asks for. It is not a secret.
	// +optional
	// +kubebuilder:validation:MaxLength=1224
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9_+=,.@:/-]{2,}$')",message="assumeRoleExternalId is not an external id: it has 2 to 1224 letters, digits and characters of _+=,.@:/-"
	AssumeRoleExternalID string `json:"assumeRoleExternalId,omitempty"`

	// takeover says what becomes of healthy targets in the group that nothing
	// of this controller explains, such as those another tool registered:
	// Guarded removes them only while they are a minority of the group and
	// holds them otherwise; Confirmed removes them all. The removal of a target
	// whose pod was seen to leave is never held back by this.
	// +optional
	// +kubebuilder:default=Guarded
	Takeover Takeover `json:"takeover,omitempty"`

	// nodeNotReady says what becomes of the pods of a node that is not ready or
	// cannot be reached: Hold keeps those that are registered, since most often
	// it is the node's report that fails and not its pods; Deregister takes
	// them out.
	// +optional
	// +kubebuilder:default=Hold
	NodeNotReady NodeNotReady `json:"nodeNotReady,omitempty"`

	// readinessGate says whether pods get a readiness gate: Inject puts one into
	// the pods at their creation, so that a rollout waits until
	// the load balancer finds the new pods healthy; None does not. It needs the
	// policy or the webhook of the project to be installed, and has no effect on
	// pods that exist already: status.ungatedPods counts those.
	// +optional
	// +kubebuilder:default=None
	ReadinessGate ReadinessGate `json:"readinessGate,omitempty"`

	// drain says how pods are kept serving while the load balancer stops sending
	// to them. Left out, nothing is done. Like readinessGate it is put into pods
	// at their creation.
	// +optional
	Drain *Drain `json:"drain,omitempty"`

	// targetGroupProtocol is accepted so that objects which bear it can move
	// over. It has no effect: the target group's own protocol counts.
	// +optional
	TargetGroupProtocol Protocol `json:"targetGroupProtocol,omitempty"`

	// multiClusterTargetGroup says that other clusters or tools register targets in
	// the group, too. Then only targets that status.targets names, or that were seen
	// registered for a pod of this cluster, are ever taken out, and status.targets
	// names a target before it is registered: without the API server none is. All
	// bindings of a group must agree on it; one that differs from an older one is not
	// ready, with reason SharingConflict.
	// +optional
	MultiClusterTargetGroup bool `json:"multiClusterTargetGroup,omitempty"`

	// networking is refused: security groups are not managed here. The field is
	// known only so that an object which bears it gets this answer and does not
	// lose its rules unnoticed.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Networking *runtime.RawExtension `json:"networking,omitempty"`

	// nodeSelector is refused: it chooses nodes for targets of type instance.
	// The field is known only so that an object which bears it gets this answer.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	NodeSelector *runtime.RawExtension `json:"nodeSelector,omitempty"`
}

// Drain says how pods are kept serving while the load balancer stops sending to
// them. From the deletion of a pod on, its containers wait, serving, before they
// get SIGTERM.
//
// The grace period of the pods is made long enough for all of it: at least
// lateSeconds + holdSeconds + shutdownSeconds + 5. It is never made shorter.
//
// +kubebuilder:validation:XValidation:rule="self.mode != 'None' || !(has(self.holdSeconds) || has(self.lateSeconds) || has(self.shutdownSeconds))",fieldPath=".mode",message="mode is None but numbers of seconds are set: set mode to Sleep or Hold, or remove them"
// +kubebuilder:validation:XValidation:rule="self.mode != 'Sleep' || !has(self.holdSeconds) || !has(self.lateSeconds) || self.holdSeconds + self.lateSeconds > 0",fieldPath=".holdSeconds",message="holdSeconds and lateSeconds are both 0: with mode Sleep pods would not wait at all, which is mode None"
type Drain struct {
	// mode says how the wait is made. None makes none. Sleep puts a fixed sleep
	// before SIGTERM, of holdSeconds + lateSeconds: it needs nothing in the pod,
	// takes that long each time, and loses requests when the deregistration is
	// later than lateSeconds. It needs Kubernetes 1.30. Hold runs the project's
	// own program before SIGTERM, which asks the controller when the pod was
	// deregistered and waits holdSeconds from then on.
	// +required
	Mode DrainMode `json:"mode"`

	// holdSeconds is how long after its deregistration a pod goes on serving.
	// Left out, it follows from the target group: the deregistration delay and
	// 15 seconds, at least 45, behind an Application Load Balancer; the
	// deregistration delay, at least 300 seconds, behind a Network Load Balancer.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 3600",message="holdSeconds is out of range: it goes from 0 to 3600"
	HoldSeconds *int32 `json:"holdSeconds,omitempty"`

	// lateSeconds is how many seconds after the deletion of a pod its
	// deregistration may come, as when AWS throttles. Left out, it is 15 with
	// Sleep, where every pod waits that much longer, and 120 with Hold, where a
	// pod waits only if it has to.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 3600",message="lateSeconds is out of range: it goes from 0 to 3600"
	LateSeconds *int32 `json:"lateSeconds,omitempty"`

	// shutdownSeconds is how long the application itself needs from SIGTERM to
	// its end. Left out, it is 30.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self >= 0 && self <= 3600",message="shutdownSeconds is out of range: it goes from 0 to 3600"
	ShutdownSeconds *int32 `json:"shutdownSeconds,omitempty"`
}

// ServiceReference is a port of a Service in the namespace of the binding.
type ServiceReference struct {
	// name is the name of the Service.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')",message="name is not the name of a Service: it has 1 to 63 lower-case letters, digits and inner hyphens"
	Name string `json:"name"`

	// port is a port of the Service, by number or by name. The number is the
	// one the Service serves on, not the one its pods listen on.
	// +required
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? int(self) >= 1 && int(self) <= 65535 : string(self).matches('^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')",message="port is neither the number nor the name of a port of a Service: numbers go from 1 to 65535, names have 1 to 63 lower-case letters, digits and inner hyphens"
	Port intstr.IntOrString `json:"port"`
}

// TargetType is what the targets of a target group are.
//
// +kubebuilder:validation:Enum=instance;ip
type TargetType string

// The target types that the field knows. Pods can be targets of TargetTypeIP only.
const (
	TargetTypeInstance TargetType = "instance"
	TargetTypeIP       TargetType = "ip"
)

// IPAddressType is the address family of a target group.
//
// +kubebuilder:validation:Enum=ipv4;ipv6
type IPAddressType string

// The address families of target groups.
const (
	IPAddressTypeIPv4 IPAddressType = "ipv4"
	IPAddressTypeIPv6 IPAddressType = "ipv6"
)

// Protocol is the protocol of a target group.
//
// +kubebuilder:validation:Enum=HTTP;HTTPS;TCP;TLS;UDP;TCP_UDP;QUIC;TCP_QUIC;GENEVE
type Protocol string

// Takeover says what becomes of healthy targets in the group that nothing of
// this controller explains.
//
// +kubebuilder:validation:Enum=Guarded;Confirmed
type Takeover string

const (
	// TakeoverGuarded removes unexplained healthy targets only while they are a
	// minority of the group, and holds them otherwise.
	TakeoverGuarded Takeover = "Guarded"
	// TakeoverConfirmed removes them all.
	TakeoverConfirmed Takeover = "Confirmed"
)

// NodeNotReady says what becomes of the pods of a node that is not ready or
// cannot be reached.
//
// +kubebuilder:validation:Enum=Hold;Deregister
type NodeNotReady string

const (
	// NodeNotReadyHold keeps the pods that are registered.
	NodeNotReadyHold NodeNotReady = "Hold"
	// NodeNotReadyDeregister takes them out.
	NodeNotReadyDeregister NodeNotReady = "Deregister"
)

// RegisterAt says from when on a pod is a target.
//
// +kubebuilder:validation:Enum=Ready;Running
type RegisterAt string

const (
	// RegisterAtReady registers pods while they are ready.
	RegisterAtReady RegisterAt = "Ready"
	// RegisterAtRunning registers pods from when they have an address and run.
	RegisterAtRunning RegisterAt = "Running"
)

// ReadinessGate says whether pods get a readiness gate.
//
// +kubebuilder:validation:Enum=None;Inject
type ReadinessGate string

const (
	// ReadinessGateNone leaves pods as they are.
	ReadinessGateNone ReadinessGate = "None"
	// ReadinessGateInject puts a readiness gate into pods at their creation.
	ReadinessGateInject ReadinessGate = "Inject"
)

// DrainMode says how pods are kept serving while the load balancer stops sending
// to them.
//
// +kubebuilder:validation:Enum=None;Sleep;Hold
type DrainMode string

const (
	// DrainNone leaves pods as they are.
	DrainNone DrainMode = "None"
	// DrainSleep makes containers sleep for a fixed time before SIGTERM.
	DrainSleep DrainMode = "Sleep"
	// DrainHold makes containers wait for the deregistration before SIGTERM.
	DrainHold DrainMode = "Hold"
)

// TargetGroupBindingStatus is what the controller found and did.
//
// The counts are those of this binding at the time of the last look; other
// bindings on the same target group count for themselves.
type TargetGroupBindingStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// targetGroupARN is the target group that the spec names, once found.
	// +optional
	TargetGroupARN string `json:"targetGroupARN,omitempty"`

	// targetGroupName is the name of that target group; with spec.targetGroupTags
	// the names of all groups, with commas between them.
	// +optional
	TargetGroupName string `json:"targetGroupName,omitempty"`

	// desired is how many targets should be registered.
	// +optional
	Desired int32 `json:"desired"`

	// registered is how many targets are registered and not draining.
	// +optional
	Registered int32 `json:"registered"`

	// healthy is how many of the registered targets the load balancer calls healthy.
	// +optional
	Healthy int32 `json:"healthy"`

	// draining is how many targets are on their way out of the group.
	// +optional
	Draining int32 `json:"draining"`

	// held is how many targets stay in the group only because a guard forbids
	// their removal. The condition TargetsHeld says which guard.
	// +optional
	Held int32 `json:"held"`

	// targets lists what the controller registered or confirmed for this binding
	// and has not taken out, in the form address:port and in order. It is what
	// the controller remembers across restarts.
	// +optional
	// +listType=atomic
	Targets []string `json:"targets,omitempty"`

	// targetGroups are the groups that spec.targetGroupTags names, as far as they are
	// known, and those that it named before and that still have targets of the
	// binding. Without it there is one group only, whose ARN and targets have fields
	// of their own.
	// +optional
	// +listType=map
	// +listMapKey=arn
	TargetGroups []TargetGroupStatus `json:"targetGroups,omitempty"`

	// podSelector is the selector of the Service: pods with these labels are
	// changed at their creation as readinessGate and drain say. Empty while the
	// Service does not exist, has no selector, or nothing is to be put into pods,
	// and where spec.podSelector chooses the pods.
	// +optional
	PodSelector map[string]string `json:"podSelector,omitempty"`

	// readinessGate is the conditionType of the readiness gate that new pods get;
	// empty if they get none.
	// +optional
	ReadinessGate string `json:"readinessGate,omitempty"`

	// drain is what new pods get for their end; absent if they get nothing.
	// +optional
	Drain *DrainStatus `json:"drain,omitempty"`

	// ungatedPods is how many running pods lack the readiness gate that the
	// binding asks for, most often because they are older than that wish.
	// +optional
	UngatedPods int32 `json:"ungatedPods,omitempty"`

	// undrainedPods is how many running pods have a container without the drain
	// hook that the binding asks for: because the pod is older, or because the
	// container has a preStop hook of its own that cannot be chained.
	// +optional
	UndrainedPods int32 `json:"undrainedPods,omitempty"`

	// conditions tell how the binding fares. Ready: the target group holds what
	// the binding asks for. TargetsHeld: a guard keeps targets in the group.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// TargetGroupStatus is how a binding fares in one of several target groups.
type TargetGroupStatus struct {
	// arn is the ARN of the target group.
	// +required
	ARN string `json:"arn"`

	// reason is why the group holds what the binding asks for or does not, as in the
	// condition Ready.
	// +optional
	Reason string `json:"reason,omitempty"`

	// registered is how many targets are registered and not draining.
	// +optional
	Registered int32 `json:"registered"`

	// healthy is how many of the registered targets the load balancer calls healthy.
	// +optional
	Healthy int32 `json:"healthy"`

	// targets lists what the controller registered or confirmed, and has not taken
	// out, in the form address:port and in order.
	// +optional
	// +listType=atomic
	Targets []string `json:"targets,omitempty"`
}

// DrainStatus is what new pods get for their end.
type DrainStatus struct {
	// mode is Sleep or Hold. It is Sleep although the spec says Hold if the
	// controller does not know the image of its program.
	// +required
	Mode DrainMode `json:"mode"`

	// holdSeconds is for how long a pod serves on after its deregistration: the
	// spec's, or what follows from the target group.
	// +required
	HoldSeconds int32 `json:"holdSeconds"`

	// lateSeconds is how late the deregistration may be.
	// +required
	LateSeconds int32 `json:"lateSeconds"`

	// shutdownSeconds is what is left for the application after SIGTERM.
	// +required
	ShutdownSeconds int32 `json:"shutdownSeconds"`

	// sleepSeconds is how long containers sleep before SIGTERM; absent with Hold.
	// +optional
	SleepSeconds int32 `json:"sleepSeconds,omitempty"`

	// gracePeriodSeconds is the least grace period that pods get.
	// +required
	GracePeriodSeconds int32 `json:"gracePeriodSeconds"`

	// deregistrationDelaySeconds is the deregistration delay of the target group
	// as AWS last told it; absent while AWS was not asked or did not answer. Then
	// 300 seconds, AWS's own default, are assumed.
	// +optional
	DeregistrationDelaySeconds *int32 `json:"deregistrationDelaySeconds,omitempty"`

	// image holds the program that containers run with Hold.
	// +optional
	Image string `json:"image,omitempty"`

	// endpoint is where that program asks the controller, as host:port, several with
	// commas between them.
	// +optional
	Endpoint string `json:"endpoint,omitempty"`
}
