package v1beta1

// Finalizer keeps a binding until its targets have left the target group.
const Finalizer = GroupName + "/targets"

// Annotations that make a Service a binding by itself. Exactly one of the first
// two names the target group.
const (
	// AnnotationTargetGroupARN names the target group by ARN.
	AnnotationTargetGroupARN = GroupName + "/target-group-arn"
	// AnnotationTargetGroupName names the target group by name, in the account
	// and region that the controller runs in.
	AnnotationTargetGroupName = GroupName + "/target-group-name"
	// AnnotationPort names the port of the Service, by name or number. A
	// Service with a single port can do without.
	AnnotationPort = GroupName + "/port"
	// AnnotationReadinessGate is spec.readinessGate of the binding.
	AnnotationReadinessGate = GroupName + "/readiness-gate"
	// AnnotationDrain is spec.drain.mode of the binding. Who needs the numbers
	// declares the binding as an object.
	AnnotationDrain = GroupName + "/drain"
)

// ReadinessGatePrefix begins the conditionType of every readiness gate that the
// controller answers; what follows tells for which binding.
const ReadinessGatePrefix = "target-health." + GroupName + "/"

// Labels of pods.
const (
	// LabelInject, with the value InjectFalse, keeps a pod from being changed at
	// its creation, whatever bindings select it.
	LabelInject = GroupName + "/inject"
	// InjectFalse is the value of LabelInject that has an effect.
	InjectFalse = "false"
	// LabelInjected is "true" on pods that were changed at their creation.
	LabelInjected = GroupName + "/injected"
)

// Annotations of pods that have a drain hook. They tell what was injected, so
// that a second binding, or a second look at the same pod, adds to it and does
// not repeat it.
const (
	// AnnotationDrainMode is the DrainMode of the pod.
	AnnotationDrainMode = GroupName + "/drain-mode"
	// AnnotationDrainHold is for how many seconds after its deregistration the
	// pod must go on serving: the most that any of its bindings asks for.
	AnnotationDrainHold = GroupName + "/drain-hold-seconds"
	// AnnotationDrainLate is how many seconds late the deregistration may be.
	AnnotationDrainLate = GroupName + "/drain-late-seconds"
	// AnnotationDrainShutdown is how many seconds the application needs between
	// SIGTERM and its end.
	AnnotationDrainShutdown = GroupName + "/drain-shutdown-seconds"
	// AnnotationDrainContainers names the containers with a drain hook, with a
	// comma between them. A container that is missing there ends without one.
	AnnotationDrainContainers = GroupName + "/drain-containers"
)

// PodDeregistered is the type of the condition of a pod that has a drain hook and is
// being deleted: True when every target group has let go of it, which its
// lastTransitionTime and message date; False while one has not, with the reason. From
// that moment on load balancers may still send requests for some time, for which the
// pod is held.
const PodDeregistered = GroupName + "/Deregistered"

// Condition types of a TargetGroupBinding.
const (
	// ConditionReady is True when the target group holds what the binding asks
	// for, False with a reason when it does not.
	ConditionReady = "Ready"
	// ConditionTargetsHeld is True while targets stay in the group although the
	// binding no longer asks for them, because a guard forbids their removal.
	// Its reason and message name the guard and what would release them.
	ConditionTargetsHeld = "TargetsHeld"
)
