package plan

import (
	"slices"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// VisibleWithin is how long AWS's lists may lag behind accepted calls.
const VisibleWithin = 10 * time.Second

// Past is what is remembered of how a listed target came to be registered. A
// target has no memory of its own: AWS lists an address and a port, whichever pod
// is behind it, and takes the registration of a registered target as done.
type Past struct {
	// Pod is the UID of the pod that we last registered it for.
	Pod string
	// Accepted is when AWS accepted that.
	Accepted time.Time
	// Fresh: it was not registered before, and not lately either, so whatever is
	// listed since is about this pod.
	Fresh bool
	// Sick is when a list was last asked for that showed it registered and not
	// healthy; zero if never.
	Sick time.Time
	// Failed: a list since the registration showed it unhealthy.
	Failed bool
}

// Gate is the answer to a pod that waits at a readiness gate. It is in two parts: a
// gate is open by the health of the pod's own target, or because there is nothing
// that it could wait for.
type Gate struct {
	desired.Gated
	Open bool
	// Reason is TargetHealthy or why there is nothing to wait for, if it is open;
	// empty if AWS's words in Health say why it is closed.
	Reason target.Reason
	// Target is the one that decides, and Health what is listed of it; both are
	// zero if no target is listed.
	Target target.Key
	Health target.Health
	// After is when a list must have been asked for to tell of the pod's own health;
	// zero if no target is listed.
	After time.Time
}

// Listed tells whether the answer may change with the next list.
func (g Gate) Listed() bool { return g.Health.State != "" }

// answerGates answers all pods that wait. It runs when all candidates are filed.
func (m *maker) answerGates() {
	owners := map[target.Key]string{}
	for _, candidate := range m.plan.Wanted.Candidates {
		owners[candidate.Key] = candidate.Pod.UID
	}
	for _, gated := range m.plan.Wanted.Gated {
		m.plan.Gates = append(m.plan.Gates, m.answer(gated, owners))
	}
}

// answer is that of the pod's first target which does not open the gate, or of
// its last one.
func (m *maker) answer(gated desired.Gated, owners map[target.Key]string) Gate {
	gate := Gate{Gated: gated, Reason: gated.Reason}
	gate.Open = gate.Reason == target.BindingDeleted || gate.Reason == target.ServiceDeleted
	for _, key := range gated.Targets {
		gate = Gate{Gated: gated, Target: key}
		if owners[key] != gated.Pod.UID {
			gate.Reason = target.HealthUnconfirmed // of an earlier pod that is still thought to be there
			return gate
		}
		if m.judge(&gate); !gate.Open {
			return gate
		}
	}
	return gate
}

// judge decides by the target that is listed under the key of the gate.
func (m *maker) judge(gate *Gate) {
	observed, listed := m.listed[gate.Target]
	if !listed || observed.Health.State.Leaving() {
		gate.Reason = m.unregistered(gate.Target)
		return
	}
	gate.Health, gate.After = observed.Health, m.tellsAfter(gate.Gated, gate.Target)
	switch {
	case observed.Health.State == target.Unused && observed.Health.Reason == "Target.NotInUse":
		gate.Open, gate.Reason = true, target.TargetGroupNotInUse
	case observed.Health.State == target.Unavailable && observed.Health.Reason == "Target.HealthCheckDisabled":
		gate.Open, gate.Reason = true, target.HealthCheckDisabled
	case observed.Health.State == target.Healthy:
		gate.Open, gate.Reason = true, target.TargetHealthy
		if m.have.ListedAt.Before(gate.After) {
			gate.Open, gate.Reason = false, target.HealthUnconfirmed
		}
	case m.have.ListedAt.Before(gate.After) && !m.fresh(gate.Gated, gate.Target):
		gate.Reason = target.HealthUnconfirmed
	}
}

// unregistered is why a wanted target is not registered.
func (m *maker) unregistered(key target.Key) target.Reason {
	i := slices.IndexFunc(m.plan.LeftOut, func(c Change) bool { return c.Key == key })
	if i < 0 {
		return target.Syncing
	}
	return m.plan.LeftOut[i].Reason
}

// fresh tells whether the target was registered for this pod where nothing was
// before, so that AWS's words for it are about the pod even before a list tells.
func (m *maker) fresh(gated desired.Gated, key target.Key) bool {
	past := m.have.Past[key]
	return past.Pod == gated.Pod.UID && past.Fresh
}

// tellsAfter is when a list must have been asked for to tell of the pod's own health
// and not of an earlier pod's with the same address. From the weakest to the strongest:
//
//   - The pod found its target registered, since its predecessor's was not taken out
//     in time, or this program was started since. Had the pod failed all health
//     checks since its containers are ready, it would be unhealthy FailsWithin
//     later, and the list would show it VisibleWithin after that.
//   - The same, and it was seen not to be healthy since: what is healthy after
//     that passed a check after that.
//   - It was registered for the pod, on an address that had a target lately: the
//     same, since AWS may take the call for nothing new.
//   - It was registered for the pod, where nothing was: all lists that were asked
//     for since then tell of this pod.
//   - The gate's own condition says so, in AWS's words, which are written only of
//     the pod's own target. This is how a new leader knows.
func (m *maker) tellsAfter(gated desired.Gated, key target.Key) time.Time {
	past := m.have.Past[key]
	switch ours := past.Pod == gated.Pod.UID; {
	case InAWSWords(gated.Gate.Reason):
		return time.Time{}
	case ours && past.Fresh:
		return past.Accepted
	case ours && !past.Sick.Before(past.Accepted):
		return past.Accepted.Add(VisibleWithin)
	case ours:
		return past.Accepted.Add(VisibleWithin + m.policy.FailsWithin)
	case !past.Sick.Before(gated.Since.Add(VisibleWithin)):
		return past.Sick
	}
	return gated.Since.Add(VisibleWithin + m.policy.FailsWithin)
}

// InAWSWords tells whether the reason of a gate's condition is AWS's.
func InAWSWords(reason string) bool {
	return strings.HasPrefix(reason, "Elb.") || strings.HasPrefix(reason, "Target.")
}
