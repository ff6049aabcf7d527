// Package report says what people should see of a group: the status and
// conditions of its bindings, and the events that tell what happened.
//
// Of is pure; what it returns are plain values that internal/kube writes.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Input is everything that is known of a group after a round.
type Input struct {
	Group    target.Group
	Bindings []desired.BindingID
	Have     plan.Observation
	// Plan is what is left to do after Outcome.
	Plan    plan.Plan
	Outcome plan.Outcome
	// Busy: a call that may change the group is under way, or its outcome is not known.
	Busy bool
}

// Binding is what people should see of one binding.
type Binding struct {
	ID desired.BindingID
	// Counted is false until the group was listed; Counts, Targets and Held say
	// nothing until then.
	Counted bool
	Counts  Counts
	// Targets are those that we answer for: registered by us or found as wanted, and
	// in a shared group those that are about to be registered.
	Targets []target.Key
	Ready   Condition
	Held    Condition
}

// Counts are the numbers of a binding's targets. Targets that no endpoint
// accounts for, such as those of pods long gone, count for every binding of the
// group.
type Counts struct {
	// Desired should be registered.
	Desired int
	// Registered are, and do not drain; held ones included.
	Registered int
	// Healthy are registered and healthy.
	Healthy int
	// Draining were deregistered and are still listed.
	Draining int
	// Held are registered although nothing wants them.
	Held int
}

// Condition is a condition of a binding.
type Condition struct {
	True    bool
	Reason  target.Reason
	Message string
}

// Of reports on all bindings of a group, in the order of in.Bindings.
func Of(in Input) []Binding {
	owners := map[target.Key][]desired.BindingID{}
	for _, candidate := range in.Plan.Wanted.Candidates {
		owners[candidate.Key] = candidate.Bindings
	}
	ours := in.Plan.Remember(in.Have, in.Busy)
	reports := make([]Binding, len(in.Bindings))
	for i, id := range in.Bindings {
		of := func(key target.Key) bool {
			bindings, known := owners[key]
			if !known {
				return !in.Plan.Wanted.Shared || ours.Has(key)
			}
			return slices.Contains(bindings, id)
		}
		r := Binding{ID: id, Counted: true, Counts: count(in.Plan, in.Have, of)}
		for _, key := range ours.Keys() {
			if of(key) {
				r.Targets = append(r.Targets, key)
			}
		}
		r.Ready = readiness(in, id, r.Counts, of)
		r.Held = holding(in.Plan.Held, of)
		reports[i] = r
	}
	return reports
}

// Failed reports on a binding whose group could not be worked on at all.
func Failed(previous Binding, reason target.Reason, message string) Binding {
	previous.Ready = Condition{Reason: reason, Message: message}
	return previous
}

// Total counts the targets of a whole group.
func Total(p plan.Plan, have plan.Observation) Counts {
	return count(p, have, func(target.Key) bool { return true })
}

func count(p plan.Plan, have plan.Observation, of func(target.Key) bool) Counts {
	var c Counts
	for _, candidate := range p.Wanted.Candidates {
		if candidate.Verdict == desired.Want && of(candidate.Key) {
			c.Desired++
		}
	}
	for _, observed := range have.Targets {
		switch {
		case !of(observed.Key):
		case observed.Health.State.Leaving():
			c.Draining++
		case observed.Health.State == target.Healthy:
			c.Healthy++
			c.Registered++
		default:
			c.Registered++
		}
	}
	for _, change := range p.Held {
		if of(change.Key) {
			c.Held++
		}
	}
	return c
}

// readiness names the gravest thing that keeps the binding from being in line.
func readiness(in Input, id desired.BindingID, counts Counts, of func(target.Key) bool) Condition {
	for _, problem := range in.Plan.Wanted.Problems {
		if problem.Binding == id {
			return Condition{Reason: problem.Reason, Message: problem.Message}
		}
	}
	if len(in.Outcome.Failures) > 0 {
		failure := in.Outcome.Failures[0]
		return Condition{Reason: failure.Reason, Message: failure.String()}
	}
	if left := those(in.Plan.LeftOut, of); len(left) > 0 {
		return Condition{Reason: left[0].Reason, Message: fmt.Sprintf(
			"%s left out: %s", targets(len(left)), list(left))}
	}
	come, leave := those(slices.Concat(in.Plan.Announce, in.Plan.Register), of), those(in.Plan.Deregister, of)
	if len(come)+len(leave) > 0 {
		return Condition{Reason: target.Syncing, Message: fmt.Sprintf(
			"%d to register, %d to deregister", len(come), len(leave))}
	}
	return Condition{True: true, Reason: target.Synced, Message: describeSynced(in, id, counts)}
}

func describeSynced(in Input, id desired.BindingID, counts Counts) string {
	message := fmt.Sprintf("%s registered, %d healthy", targets(counts.Registered), counts.Healthy)
	waiting := 0
	for _, gate := range in.Plan.Gates {
		if gate.Binding == id && !gate.Open {
			waiting++
		}
	}
	if waiting > 0 {
		message += fmt.Sprintf("; readiness gates closed: %d", waiting)
	}
	if n := len(in.Plan.Foreign); n > 0 {
		message += fmt.Sprintf("; left alone: %s of others", targets(n))
	}
	if !in.Group.InUse() {
		message += "; no load balancer uses the target group, so none will become healthy: add a listener that forwards to it"
	}
	return message
}

// those are the changes to the targets of one binding.
func those(changes []plan.Change, of func(target.Key) bool) []plan.Change {
	return slices.DeleteFunc(slices.Clone(changes), func(change plan.Change) bool { return !of(change.Key) })
}

// holding tells what a guard leaves in the group, and why.
func holding(held []plan.Change, of func(target.Key) bool) Condition {
	mine := those(held, of)
	if len(mine) == 0 {
		return Condition{Reason: target.Synced, Message: "no target is held"}
	}
	reason := mine[0].Reason
	return Condition{True: true, Reason: reason, Message: fmt.Sprintf(
		"%s held: %s. %s", targets(len(mine)), list(mine), holdWords[reason])}
}

// holdWords explain each guard to whoever reads the condition.
var holdWords = map[target.Reason]string{
	target.NoPodReady:          "No pod is ready; the load balancer decides by its own health checks which to use",
	target.NodeNotReady:        "The node fell silent; the load balancer's health checks decide",
	target.LastHealthyTarget:   "It is the only healthy target while others come",
	target.TakeoverUnconfirmed: "Nothing of this cluster explains them, and they are too many to be left-overs: set spec.takeover to Confirmed to remove them",
	target.ServiceNotFound:     "They go or stay once the Service can be read",
	target.PortNotFound:        "They go or stay once the port can be found",
	target.SharingConflict:     "They go or stay once the bindings agree on whether the target group is shared",
	target.Syncing:             "They go or stay once the target group of every binding is known",
}

// targets is n with its noun.
func targets(n int) string {
	if n == 1 {
		return "1 target"
	}
	return fmt.Sprintf("%d targets", n)
}

// listed bounds how many targets a message names.
const listed = 8

// list names targets with their reasons, one reason once.
func list(changes []plan.Change) string {
	byReason := map[target.Reason][]string{}
	for i, change := range changes {
		if i < listed {
			byReason[change.Reason] = append(byReason[change.Reason], change.Key.String())
		}
	}
	var parts []string
	for reason, keys := range byReason {
		parts = append(parts, fmt.Sprintf("%s (%s)", strings.Join(keys, ", "), reason))
	}
	slices.SortFunc(parts, cmp.Compare[string])
	if more := len(changes) - listed; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}
