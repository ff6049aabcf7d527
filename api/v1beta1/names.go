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
)

// ReadinessGatePrefix begins the conditionType of every readiness gate that the
// controller answers; what follows tells for which binding.
const ReadinessGatePrefix = "target-health." + GroupName + "/"

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
