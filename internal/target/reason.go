package target

// Reason is why something is so: why a pod is a target or not, why a target is
// held, why a binding is not ready. The same word appears in conditions,
// events, metrics, tables and tests, and once released it is never changed or
// reused for something else.
type Reason string

// Why an endpoint is a target.
const (
	// PodReady: the pod is Ready and not terminating.
	PodReady Reason = "PodReady"
	// GatePending: the pod's containers are ready and only a readiness gate of
	// ours is still closed, which can open no other way.
	GatePending Reason = "GatePending"
	// PodRunning: the pod runs, and its binding registers pods when they do.
	PodRunning Reason = "PodRunning"
	// EndpointReady: the endpoint is ready and no pod stands behind it.
	EndpointReady Reason = "EndpointReady"
	// PodNotSeenYet: the endpoint is ready and its pod is not in the cache yet; its
	// coming makes the group be looked at again.
	PodNotSeenYet Reason = "PodNotSeenYet"
)

// Why an endpoint is no target.
const (
	// PodNotReady: the pod, or an endpoint without a pod, is not ready.
	PodNotReady Reason = "PodNotReady"
	// PodTerminating: the pod is being deleted.
	PodTerminating Reason = "PodTerminating"
	// PodGone: the pod that was registered exists no more.
	PodGone Reason = "PodGone"
	// PodFinished: all containers of the pod have ended for good.
	PodFinished Reason = "PodFinished"
	// BindingDeleted: the binding that asked for the target is being deleted.
	BindingDeleted Reason = "BindingDeleted"
	// ServiceDeleted: the binding's Service was seen to be deleted.
	ServiceDeleted Reason = "ServiceDeleted"
	// GroupLeft: the target group no longer has the tags by which the binding names it.
	GroupLeft Reason = "GroupLeft"
	// Unexplained: nothing of ours accounts for the target.
	Unexplained Reason = "Unexplained"
)

// Why a target stays although nothing wants it, or a wanted one is left out.
const (
	// NoPodReady: no pod of the binding is ready while pods still exist; the
	// load balancer does better with unhealthy targets than with none.
	NoPodReady Reason = "NoPodReady"
	// NodeNotReady: the pod is not ready only because its node fell silent.
	NodeNotReady Reason = "NodeNotReady"
	// LastHealthyTarget: the pod leaves but is the only healthy target.
	LastHealthyTarget Reason = "LastHealthyTarget"
	// TakeoverUnconfirmed: so many targets are unexplained that the group may
	// belong to someone else.
	TakeoverUnconfirmed Reason = "TakeoverUnconfirmed"
	// TooManyTargets: the group or its load balancer is at its quota.
	TooManyTargets Reason = "TooManyTargets"
	// NotOurs: the target is another cluster's or registrar's in a group that is
	// shared with them, or another pod's, which a sidecar leaves alone.
	NotOurs Reason = "NotOurs"
)

// Why a readiness gate of a pod is open or closed, besides the reasons above and
// AWS's own for a target that is not healthy, such as Elb.InitialHealthChecking.
const (
	// TargetHealthy: the load balancer finds the pod healthy.
	TargetHealthy Reason = "TargetHealthy"
	// TargetGroupNotInUse: no load balancer sends to the pod's target, so it never
	// becomes healthy, and the gate is opened.
	TargetGroupNotInUse Reason = "TargetGroupNotInUse"
	// HealthCheckDisabled: the target group has no health checks, and the gate is opened.
	HealthCheckDisabled Reason = "HealthCheckDisabled"
	// BindingNotFound: there is no binding that the gate could belong to, and it is opened.
	BindingNotFound Reason = "BindingNotFound"
	// HealthUnconfirmed: the health that is listed may still be that of a pod that
	// had the address before.
	HealthUnconfirmed Reason = "HealthUnconfirmed"
	// NotAnEndpoint: the pod is not among the endpoints of the binding's Service, or
	// not chosen by the binding's own selector.
	NotAnEndpoint Reason = "NotAnEndpoint"
)

// Why a binding is ready or not.
const (
	// Synced: everything wanted is registered and nothing else is.
	Synced Reason = "Synced"
	// Syncing: calls are under way or wait for their turn.
	Syncing Reason = "Syncing"
	// InvalidBinding: a field of the binding cannot be used.
	InvalidBinding Reason = "InvalidBinding"
	// ServiceNotFound: the Service does not exist and was never seen.
	ServiceNotFound Reason = "ServiceNotFound"
	// PortNotFound: the Service, or the pod that the binding itself chooses, has no
	// such port.
	PortNotFound Reason = "PortNotFound"
	// TargetGroupNotFound: the target group does not exist.
	TargetGroupNotFound Reason = "TargetGroupNotFound"
	// TargetTypeMismatch: the group is not of type ip.
	TargetTypeMismatch Reason = "TargetTypeMismatch"
	// AddressFamilyMismatch: the binding expects another address family than the group has.
	AddressFamilyMismatch Reason = "AddressFamilyMismatch"
	// VPCMismatch: the binding expects the group in another VPC.
	VPCMismatch Reason = "VPCMismatch"
	// SharingConflict: the binding shares the group with other clusters and an older
	// binding has it to itself, or the other way round.
	SharingConflict Reason = "SharingConflict"
	// RegionUnknown: neither the binding nor the configuration names a region.
	RegionUnknown Reason = "RegionUnknown"
	// AccessDenied: the credentials may not make the call.
	AccessDenied Reason = "AccessDenied"
	// CredentialsInvalid: there are no credentials, or they are expired or unknown.
	CredentialsInvalid Reason = "CredentialsInvalid"
	// Throttled: the account's call budget is spent.
	Throttled Reason = "Throttled"
	// InvalidTarget: AWS refuses a target.
	InvalidTarget Reason = "InvalidTarget"
	// ZoneRequired: an address lies outside the group's VPC and no zone was accepted.
	ZoneRequired Reason = "ZoneRequired"
	// InvalidRequest: AWS refuses the request.
	InvalidRequest Reason = "InvalidRequest"
	// Unreachable: AWS could not be reached or gave no answer.
	Unreachable Reason = "Unreachable"
	// AWSUnavailable: AWS answered that it failed.
	AWSUnavailable Reason = "AWSUnavailable"
)

// How far a pod with a drain hook is on its way out, besides Deregistered, Syncing and
// the reasons of failures.
const (
	// NotRegistered: no target group held the pod when its end was decided, nor
	// shortly before.
	NotRegistered Reason = "NotRegistered"
)

// What happened: the reasons of events.
const (
	// Registered: targets were added to the group.
	Registered Reason = "Registered"
	// Deregistered: targets were taken out of the group.
	Deregistered Reason = "Deregistered"
	// Held: targets stay although nothing wants them.
	Held Reason = "Held"
	// Drift: someone else changed the group, and it is repaired.
	Drift Reason = "Drift"
	// GateMissing: running pods lack the readiness gate that the binding asks for.
	GateMissing Reason = "GateMissing"
	// DrainHookMissing: running pods have containers without the drain hook that
	// the binding asks for.
	DrainHookMissing Reason = "DrainHookMissing"
	// DrainImageUnknown: the binding asks for the drain mode Hold, and the controller
	// was not told the image of its program.
	DrainImageUnknown Reason = "DrainImageUnknown"
	// DrainForced: the grace period of a pod ends before load balancers can be
	// expected to have stopped sending to it.
	DrainForced Reason = "DrainForced"
	// DrainUncovered: a pod with a drain hook was gone early, as when it is deleted by
	// force or its node is lost.
	DrainUncovered Reason = "DrainUncovered"
	// GracePeriodShortened: a pod with a drain hook was deleted with a grace period
	// that is shorter than its drain can take.
	GracePeriodShortened Reason = "GracePeriodShortened"
	// DrainDefaults: the deregistration delay of the target group could not be
	// read, and AWS's default is assumed.
	DrainDefaults Reason = "DrainDefaults"
)
