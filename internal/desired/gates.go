package desired

import (
	"cmp"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Gated is a pod that waits at the readiness gate of a binding: its containers are
// ready, it stays, and the gate is closed. A gate that was opened is never looked
// at again, so what was opened stays open.
type Gated struct {
	Pod     PodRef
	Binding BindingID
	Gate    Gate
	// Since is when the pod's containers became ready; zero if unknown.
	Since time.Time
	// Targets are those of the pod that should be in the group, ordered.
	Targets []target.Key
	// Reason is why there are none; empty if there are.
	Reason target.Reason
	// Message explains Reason where there is more to say than the reason does.
	Message string
}

// waiting lists the pods that wait at the gate of a binding. The candidates are those
// of the binding, before one of each key was chosen.
func waiting(binding Binding, candidates []Candidate, problem *Problem) []Gated {
	var found []Gated
	for _, pod := range binding.Gated {
		gate, waits := pod.waitsAt(binding.Gate)
		if !waits {
			continue
		}
		g := Gated{
			Pod: PodRef{binding.ID.Namespace, pod.Name, pod.UID}, Binding: binding.ID, Gate: gate, Since: pod.ReadySince,
		}
		g.decide(binding, candidates, problem)
		if len(g.Targets) == 0 && g.Reason == "" {
			g.explain(binding, pod)
		}
		found = append(found, g)
	}
	return found
}

// explain says why a pod has no target although nothing is wrong with the binding.
func (g *Gated) explain(binding Binding, pod Pod) {
	switch {
	case !pod.gatePending():
		g.Reason = target.PodNotReady
	case binding.Selection != nil:
		g.Reason, g.Message = binding.Selection.unserved(binding.Port, pod.UID)
	default:
		g.Reason = target.NotAnEndpoint
	}
}

// decide finds the targets of the pod, or what is wrong with the binding.
func (g *Gated) decide(binding Binding, candidates []Candidate, problem *Problem) {
	switch {
	case binding.Deleting:
		g.Reason = target.BindingDeleted
		return
	case binding.Left:
		g.Reason = target.GroupLeft
		return
	case problem != nil:
		g.Reason, g.Message = problem.Reason, problem.Message
		return
	}
	var keys []target.Key
	for _, candidate := range candidates {
		if candidate.Pod.UID == g.Pod.UID && candidate.Verdict == Want {
			keys = append(keys, candidate.Key)
		}
	}
	g.Targets = target.SetOf(keys...).Keys()
}

func (g Gated) compare(other Gated) int {
	return cmp.Or(
		g.Pod.compare(other.Pod),
		g.Binding.Compare(other.Binding),
		g.Since.Compare(other.Since),
		g.Gate.compare(other.Gate),
		cmp.Compare(g.Reason, other.Reason),
		slices.CompareFunc(g.Targets, other.Targets, target.Key.Compare),
	)
}

func (g Gate) compare(other Gate) int {
	return cmp.Or(g.Since.Compare(other.Since), cmp.Compare(g.Reason, other.Reason), cmp.Compare(g.Message, other.Message))
}
