package desired

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Verdict is what should become of an endpoint.
type Verdict int

// The verdicts, in the order in which they prevail when two bindings, or an old
// and a new pod on one address, disagree.
const (
	// Leave: it should be no target; registered, it is deregistered.
	Leave Verdict = iota
	// Keep: if it is a target it stays one; if not, it does not become one.
	Keep
	// Want: it should be a target.
	Want
)

// Candidate is an endpoint with the verdict on it.
type Candidate struct {
	target.Key
	Verdict Verdict
	Reason  target.Reason
	Pod     PodRef
	// Bindings are those the endpoint belongs to, ordered.
	Bindings []BindingID
	// Since is when the pod became ready, or was deleted; zero if unknown.
	Since time.Time
	// ServesUntil is until when a pod that leaves certainly serves; zero if unknown.
	ServesUntil time.Time
}

// PodRef names a pod. Empty for an endpoint without one.
type PodRef struct{ Namespace, Name, UID string }

// Problem is what keeps a binding from being understood.
type Problem struct {
	Binding BindingID
	Reason  target.Reason
	// Message names the field, its value and the remedy.
	Message string
}

// Wanted is the decision about a group.
type Wanted struct {
	// Candidates are all endpoints considered, one a key, ordered by key.
	Candidates []Candidate
	// Gated are the pods that wait at the readiness gates of the bindings, ordered.
	Gated []Gated
	// Problems are the bindings that could not be understood, ordered.
	Problems []Problem
	// Shared: the group also has targets of others, which stay as they are.
	Shared bool
	// Successors tells whether pods are on their way to become targets.
	Successors Successors
	// HoldOthers, if not empty, is why targets that are no candidates must stay:
	// a binding that may want them could not be understood.
	HoldOthers target.Reason
}

// For decides about all endpoints of a group's bindings. The order of bindings,
// slices and endpoints in facts makes no difference.
func For(facts Facts) Wanted {
	var wanted Wanted
	var all []Candidate
	successors, eldest := NoneComing, eldestOf(facts.Bindings)
	wanted.Shared = eldest.Shared
	for _, binding := range facts.Bindings {
		candidates, problem := candidatesOf(binding, eldest, facts.Family)
		if len(candidates) > 0 {
			successors = successors.and(successorsOf(binding, candidates))
		}
		all = append(all, guardEmpty(merge(candidates))...)
		wanted.Gated = append(wanted.Gated, waiting(binding, candidates, problem)...)
		if problem != nil {
			wanted.Problems = append(wanted.Problems, *problem)
		}
	}
	for _, id := range facts.Undecided {
		wanted.Problems = append(wanted.Problems, Problem{
			id, target.Syncing,
			"the target group of this binding is being looked up; no target is deregistered meanwhile",
		})
	}
	wanted.Candidates = merge(all)
	if len(all) > 0 {
		wanted.Successors = successors
	}
	slices.SortFunc(wanted.Gated, Gated.compare)
	slices.SortFunc(wanted.Problems, func(a, b Problem) int { return a.Binding.Compare(b.Binding) })
	wanted.HoldOthers = holdReason(wanted.Problems)
	return wanted
}

// holdReason is the first problem that leaves it open which targets are wanted.
// A Service seen to be deleted leaves nothing open.
func holdReason(problems []Problem) target.Reason {
	for _, problem := range problems {
		if problem.Reason != target.ServiceDeleted {
			return problem.Reason
		}
	}
	return ""
}

// candidatesOf decides about the endpoints of one binding, each by itself. The eldest
// of the group's bindings says whether the group is shared.
func candidatesOf(binding, eldest Binding, family target.Family) ([]Candidate, *Problem) {
	problem := problemOf(binding, eldest)
	switch {
	case problem != nil && !binding.ends():
		return nil, problem
	case binding.Selection != nil:
		return selected(binding, family), nil
	}
	var found []Candidate
	for _, slice := range binding.Slices {
		for _, port := range portsOf(binding, slice) {
			found = append(found, judgeAll(binding, slice, port, family)...)
		}
	}
	return found, nil
}

// problemOf tells what is wrong with the binding beside the eldest one, with the Service
// or with the port, if anything.
func problemOf(binding, eldest Binding) *Problem {
	switch service := binding.Service; {
	case binding.Shared != eldest.Shared && !binding.ends():
		return conflict(binding, eldest)
	case binding.Selection != nil:
		return binding.Selection.problem(binding)
	case service.Existence == NeverSeen:
		return &Problem{binding.ID, target.ServiceNotFound, fmt.Sprintf(
			"Service %q does not exist: create it, or correct the binding's Service name; no target is deregistered meanwhile",
			service.Name)}
	case service.Existence == SeenDeleted:
		return &Problem{binding.ID, target.ServiceDeleted, fmt.Sprintf(
			"Service %q was deleted, so its targets are deregistered: create it again, or delete the binding",
			service.Name)}
	case binding.Port == (PortRef{}) && len(service.Ports) > 1:
		return &Problem{binding.ID, target.PortNotFound, fmt.Sprintf(
			"Service %q has several ports, %s: name the one that counts; no target is deregistered meanwhile",
			service.Name, listPorts(service.Ports))}
	case !slices.ContainsFunc(service.Ports, binding.Port.names):
		return &Problem{binding.ID, target.PortNotFound, fmt.Sprintf(
			"Service %q has no port %q but %s: correct the binding's port; no target is deregistered meanwhile",
			service.Name, binding.Port, listPorts(service.Ports))}
	}
	return nil
}

func listPorts(ports []ServicePort) string {
	if len(ports) == 0 {
		return "none at all"
	}
	names := make([]string, len(ports))
	for i, port := range ports {
		names[i] = strings.TrimSpace(fmt.Sprintf("%d %s", port.Number, port.Name))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// names tells whether p refers to port.
func (p PortRef) names(port ServicePort) bool {
	if p.Name != "" {
		return port.Name == p.Name
	}
	return p.Number == 0 || port.Number == p.Number
}

// portsOf lists the numbers under which the slice serves the binding's port.
// Slices bear the names of the Service's ports but their own numbers: a named
// targetPort may be another number in each pod, hence in each slice.
func portsOf(binding Binding, slice Slice) []uint16 {
	var numbers []uint16
	for _, servicePort := range binding.Service.Ports {
		if !binding.Port.names(servicePort) {
			continue
		}
		for _, port := range slice.Ports {
			if port.Name == servicePort.Name && port.Number != 0 {
				numbers = append(numbers, port.Number)
			}
		}
	}
	return numbers
}

func judgeAll(binding Binding, slice Slice, port uint16, family target.Family) []Candidate {
	var judged []Candidate
	for _, endpoint := range slice.Endpoints {
		addr := endpoint.Addr.Unmap()
		if !addr.IsValid() || target.FamilyOf(addr) != family {
			continue
		}
		candidate := judge(binding, endpoint)
		candidate.Key = target.Key{Addr: addr, Port: port}
		judged = append(judged, candidate)
	}
	return judged
}

// judge decides about one endpoint as if it were the only one.
func judge(binding Binding, endpoint Endpoint) Candidate {
	candidate := Candidate{Bindings: []BindingID{binding.ID}}
	pod := endpoint.Pod
	if pod.Known != NoPod {
		candidate.Pod = PodRef{binding.ID.Namespace, pod.Name, pod.UID}
	}
	switch {
	case binding.Deleting:
		candidate.Verdict, candidate.Reason = Leave, target.BindingDeleted
	case binding.Left:
		candidate.Verdict, candidate.Reason = Leave, target.GroupLeft
	case pod.Known == Seen:
		candidate.judgePod(pod, binding)
	case pod.Known == SeenGone:
		candidate.Verdict, candidate.Reason = Leave, target.PodGone
	case endpoint.Terminating:
		candidate.Verdict, candidate.Reason = Leave, target.PodTerminating
	case !endpoint.Ready:
		candidate.Verdict, candidate.Reason = Leave, target.PodNotReady
	case pod.Known == NotSeenYet:
		candidate.Verdict, candidate.Reason = Want, target.PodNotSeenYet
	default:
		candidate.Verdict, candidate.Reason = Want, target.EndpointReady
	}
	return candidate
}

// judgePod decides by the pod itself, whose news travel faster than its slice's.
func (c *Candidate) judgePod(pod Pod, binding Binding) {
	switch {
	case pod.terminating():
		c.Since, c.ServesUntil = pod.Deleted, pod.ServesUntil
		c.Verdict, c.Reason = Leave, target.PodTerminating
		if pod.silentNode() {
			c.Reason = target.NodeNotReady
		}
	case pod.Finished:
		c.Verdict, c.Reason = Leave, target.PodFinished
	case pod.Ready:
		c.Verdict, c.Reason, c.Since = Want, target.PodReady, pod.ReadySince
	case pod.gatePending():
		c.Verdict, c.Reason, c.Since = Want, target.GatePending, pod.ReadySince
	case pod.silentNode() && binding.NodeNotReady != LeaveSilentNode:
		c.Verdict, c.Reason = Keep, target.NodeNotReady
	case binding.Selection.takes(pod):
		c.Verdict, c.Reason = Want, target.PodRunning
	default:
		c.Verdict, c.Reason = Leave, target.PodNotReady
	}
}

// guardEmpty keeps what pods there are when a binding has none that is ready: a
// load balancer sends to all of its targets when all are unhealthy, and answers
// 503 when it has none. Pods evicted from silent nodes count: they may well run.
func guardEmpty(candidates []Candidate) []Candidate {
	if slices.ContainsFunc(candidates, func(c Candidate) bool { return c.Verdict == Want }) {
		return candidates
	}
	for i := range candidates {
		switch candidates[i].Reason {
		case target.PodNotReady:
			candidates[i].Verdict, candidates[i].Reason = Keep, target.NoPodReady
		case target.NodeNotReady:
			candidates[i].Verdict = Keep
		}
	}
	return candidates
}

// merge brings candidates into order and makes one of those that share a key:
// the one whose verdict prevails, with the bindings of all.
func merge(candidates []Candidate) []Candidate {
	sorted := slices.Clone(candidates)
	slices.SortFunc(sorted, Candidate.compare)
	var merged []Candidate
	for _, candidate := range sorted {
		last := len(merged) - 1
		if last < 0 || merged[last].Key != candidate.Key {
			merged = append(merged, candidate)
			continue
		}
		merged[last].Bindings = unite(merged[last].Bindings, candidate.Bindings)
	}
	return merged
}

// compare orders candidates by key, the prevailing one of a key first.
func (c Candidate) compare(other Candidate) int {
	return cmp.Or(
		c.Key.Compare(other.Key),
		cmp.Compare(other.Verdict, c.Verdict),
		cmp.Compare(c.Reason, other.Reason),
		c.Since.Compare(other.Since),
		c.ServesUntil.Compare(other.ServesUntil),
		c.Pod.compare(other.Pod),
		slices.CompareFunc(c.Bindings, other.Bindings, BindingID.Compare),
	)
}

func (p PodRef) compare(other PodRef) int {
	return cmp.Or(
		cmp.Compare(p.Namespace, other.Namespace), cmp.Compare(p.Name, other.Name), cmp.Compare(p.UID, other.UID))
}

// Compare orders bindings by namespace, then by name.
func (id BindingID) Compare(other BindingID) int {
	return cmp.Or(cmp.Compare(id.Namespace, other.Namespace), cmp.Compare(id.Name, other.Name))
}

func unite(a, b []BindingID) []BindingID {
	united := slices.Concat(a, b)
	slices.SortFunc(united, BindingID.Compare)
	return slices.Compact(united)
}
