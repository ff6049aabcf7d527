package v1beta1

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// gateNameLimit is how long Kubernetes lets the part of a conditionType behind
// the slash be.
const gateNameLimit = 63

// ReadinessGateOf is the conditionType of the readiness gate that is answered for
// the binding of that name: ReadinessGatePrefix and the name. Of a name that is
// too long for that, what fits is followed by a hash of the whole.
//
// The binding that flags make of a Service is called service/NAME, and its gate
// service_NAME, which is the gate of no TargetGroupBinding.
func ReadinessGateOf(binding string) corev1.PodConditionType {
	name := strings.ReplaceAll(binding, "/", "_")
	if len(name) > gateNameLimit {
		sum := sha256.Sum256([]byte(name))
		hash := hex.EncodeToString(sum[:5])
		name = name[:gateNameLimit-len(hash)-1] + "-" + hash
	}
	return corev1.PodConditionType(ReadinessGatePrefix + name)
}

// IsReadinessGate tells whether a readiness gate is of the kind that controllers
// of this project answer.
func IsReadinessGate(gate corev1.PodConditionType) bool {
	return strings.HasPrefix(string(gate), ReadinessGatePrefix)
}

// IsObjectReadinessGate tells whether a readiness gate of ours can be that of a
// TargetGroupBinding: those of bindings made of flags cannot.
func IsObjectReadinessGate(gate corev1.PodConditionType) bool {
	name, ours := strings.CutPrefix(string(gate), ReadinessGatePrefix)
	return ours && !strings.Contains(name, "_")
}
