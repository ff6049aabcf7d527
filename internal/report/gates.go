package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Gate is what the condition of a pod's readiness gate should say.
type Gate struct {
	Pod desired.PodRef
	// Type is that of the condition.
	Type string
	Condition
	// Since is when the pod's containers became ready; zero if unknown.
	Since time.Time
}

// Gates tells what the gates of all pods that wait should say, ordered by pod and
// type. If two bindings share a gate, both must open it.
func Gates(in Input) []Gate {
	var gates []Gate
	for _, answer := range in.Plan.Gates {
		gates = append(gates, Gate{
			Pod: answer.Pod, Type: answer.Gate.Type, Condition: explain(in, answer), Since: answer.Since,
		})
	}
	slices.SortFunc(gates, Gate.compare)
	return slices.CompactFunc(gates, func(a, b Gate) bool { return a.Pod == b.Pod && a.Type == b.Type })
}

// compare orders gates by pod and type, the closed ones of a type first.
func (g Gate) compare(other Gate) int {
	closed := func(g Gate) int {
		if g.True {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(g.Pod.Namespace, other.Pod.Namespace), cmp.Compare(g.Pod.Name, other.Pod.Name),
		cmp.Compare(g.Pod.UID, other.Pod.UID), cmp.Compare(g.Type, other.Type), cmp.Compare(closed(g), closed(other)),
		cmp.Compare(g.Reason, other.Reason), cmp.Compare(g.Message, other.Message),
	)
}

// explain words an answer. A pod whose target AWS would not register because a call
// failed is told of the call.
func explain(in Input, answer plan.Gate) Condition {
	c := Condition{True: answer.Open, Reason: answer.Reason}
	group := in.Group.ARN.Name
	switch {
	case answer.Reason == "":
		c.Reason = target.Reason(answer.Health.Reason)
		c.Message = fmt.Sprintf("target %s of %s is %s: %s", answer.Target, group, answer.Health.State, answer.Health.Description)
		return c
	case answer.Reason == target.TargetHealthy:
		c.Message = fmt.Sprintf("target %s of %s is healthy", answer.Target, group)
		return c
	case answer.Reason == target.TargetGroupNotInUse:
		c.Message = fmt.Sprintf("opened without health checks: no load balancer sends to target %s of %s: %s", answer.Target, group, answer.Health.Description)
		return c
	case answer.Message != "":
		c.Message = answer.Message
		return c
	case answer.Reason == target.Syncing:
		if failure, failed := registering(in.Outcome); failed {
			return Condition{Reason: failure.Reason, Message: failure.String()}
		}
	}
	words, known := gateWords[answer.Reason]
	if !known {
		words = "AWS would not register the pod in %s"
	}
	c.Message = fmt.Sprintf(words, group)
	return c
}

// registering is the failure of the call that registers, if it stands.
func registering(outcome plan.Outcome) (plan.Failure, bool) {
	i := slices.IndexFunc(outcome.Failures, func(f plan.Failure) bool { return f.Op == "RegisterTargets" })
	if i < 0 {
		return plan.Failure{}, false
	}
	return outcome.Failures[i], true
}

// gateWords explain what is not AWS's word. Each names the group.
var gateWords = map[target.Reason]string{
	target.Syncing:             "the pod is being registered in %s",
	target.HealthUnconfirmed:   "the health listed in %s may still be that of a pod that had the address before",
	target.HealthCheckDisabled: "opened without health checks: %s has none",
	target.BindingDeleted:      "opened without health checks: the binding to %s is being deleted",
	target.GroupLeft:           "opened without health checks: %s no longer has the tags of the binding",
	target.ServiceDeleted:      "opened without health checks: the Service of the binding to %s was deleted",
	target.PodNotReady:         "not registered in %s, since another readiness gate of the pod is closed",
	target.NotAnEndpoint:       "not registered in %s, since the pod is not among the endpoints of the binding's Service: correct the Service's selector, the binding's Service or the pod's gate",
	target.TooManyTargets:      "not registered in %s, which is at its quota: raise the quota or remove targets",
}

// NoBinding is what a gate says that belongs to no binding.
func NoBinding() Condition {
	return Condition{
		True: true, Reason: target.BindingNotFound,
		Message: "opened without health checks: there is no binding of the gate's name in the namespace",
	}
}

// Unplanned is what a gate says while there is no plan for its binding's group, by
// what the binding's Ready condition says; false if that says nothing yet. What
// somebody can mend keeps the gate closed, since the pod would get no traffic. A
// group that does not exist sends none to anybody.
func Unplanned(ready Condition) (Condition, bool) {
	switch {
	case ready.Reason == target.TargetGroupNotFound:
		return Condition{True: true, Reason: ready.Reason, Message: "opened without health checks: " + ready.Message}, true
	case ready.True || ready.Reason == "" || ready.Reason == target.Syncing:
		return Condition{}, false
	}
	return Condition{Reason: ready.Reason, Message: ready.Message}, true
}
