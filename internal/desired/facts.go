// Package desired decides which endpoints should be targets of a group, and why.
//
// For is a pure function of plain Facts. It asks nothing of Kubernetes or AWS,
// so every decision of the project about a pod can be read here and tested with
// a table.
package desired

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Facts is what is known of one target group's bindings at one moment.
type Facts struct {
	// Family is the group's address family; endpoints of the other are passed over.
	Family target.Family
	// Bindings are all bindings that mean the group, in any order.
	Bindings []Binding
	// Undecided are bindings of which it is not known yet whether they mean the
	// group, in any order.
	Undecided []BindingID
}

// BindingID names a binding: the namespace and name of a TargetGroupBinding, or
// for a binding made of flags a name that no TargetGroupBinding can have.
type BindingID struct{ Namespace, Name string }

// String is namespace/name.
func (id BindingID) String() string { return id.Namespace + "/" + id.Name }

// Binding asks that the endpoints of a Service, or the pods of a selection, be
// targets of the group.
type Binding struct {
	ID BindingID
	// Deleting: the binding is being deleted, so none of its endpoints is wanted.
	Deleting bool
	// Left: the binding no longer means the group, so none of its endpoints is wanted.
	Left bool
	// Shared: the group also has targets of other clusters or registrars.
	Shared bool
	// Created is when the binding was declared; zero for one made of flags, which
	// counts as the oldest.
	Created time.Time
	// Port is one of the Service, or of the pods of the selection.
	Port PortRef
	// NodeNotReady says what becomes of pods whose node fell silent.
	NodeNotReady NodePolicy
	Service      Service
	// Slices are the EndpointSlices of the Service.
	Slices []Slice
	// Selection, if not nil, has the pods that the binding itself chooses. Service
	// and Slices have no meaning then.
	Selection *Selection
	// Gate is the type of the readiness gate that is answered for the binding.
	Gate string
	// Gated are the pods that have this gate, endpoints of the Service or not.
	Gated []Pod
}

// NodePolicy says what becomes of a target whose node fell silent.
type NodePolicy string

// The policies for targets on silent nodes.
const (
	// HoldOnSilentNode keeps the target: the load balancer's own health checks
	// know better than a control plane that lost sight of the node.
	HoldOnSilentNode NodePolicy = "Hold"
	// LeaveSilentNode takes the target out as any pod that is not ready.
	LeaveSilentNode NodePolicy = "Deregister"
)

// Existence is what is known of an object's existence. To have never seen an
// object is not to have seen it go: a misspelt name must not empty a group.
type Existence int

// The states of knowledge.
const (
	NeverSeen Existence = iota
	Exists
	SeenDeleted
)

// Service is what the decision needs of a Service.
type Service struct {
	// Name is as the binding has it, also of a Service that does not exist.
	Name      string
	Existence Existence
	Ports     []ServicePort
}

// ServicePort is a port of a Service. Slices name their ports after it.
type ServicePort struct {
	Name   string
	Number uint16
}

// ends tells whether nothing of the binding is wanted in the group any more.
func (b Binding) ends() bool { return b.Deleting || b.Left }

// PortRef names a port of the Service by name or, if Name is empty, by number. The
// zero value is the Service's only port.
type PortRef struct {
	Name   string
	Number uint16
}

// String is the name, or the number in digits.
func (p PortRef) String() string {
	if p.Name != "" || p.Number == 0 {
		return p.Name
	}
	return strconv.Itoa(int(p.Number))
}

// Slice is an EndpointSlice: endpoints that share a list of ports.
type Slice struct {
	Ports     []SlicePort
	Endpoints []Endpoint
}

// SlicePort is a port that all endpoints of a slice serve on.
type SlicePort struct {
	Name   string
	Number uint16
}

// Endpoint is one address of a slice with what is known of the pod behind it.
type Endpoint struct {
	Addr netip.Addr
	// Ready is the endpoint's condition, true when the slice leaves it open.
	Ready bool
	// Terminating is the endpoint's condition, false when the slice leaves it open.
	Terminating bool
	Pod         Pod
}

// PodKnowledge is what is known of the pod behind an endpoint.
type PodKnowledge int

// The states of knowledge of a pod.
const (
	// NoPod: the endpoint names no pod; someone wrote the slice by hand.
	NoPod PodKnowledge = iota
	// NotSeenYet: the pod is not in the cache, and was not seen to be deleted.
	NotSeenYet
	// Seen: the pod is in the cache, with the UID the endpoint names.
	Seen
	// SeenGone: the pod was deleted; the slice has not caught up.
	SeenGone
)

// Pod is what the decision needs of a pod. Only Known, Name and UID have meaning unless
// the pod was Seen.
type Pod struct {
	Known           PodKnowledge
	Name            string
	UID             string
	Ready           bool
	ContainersReady bool
	// ReadySince is when the condition that makes the pod a target came true:
	// ContainersReady for a pod with gates of ours, Ready for others. Zero if unknown.
	ReadySince time.Time
	// NotReadySince is when a pod that is not Ready last turned so; zero if unknown.
	NotReadySince time.Time
	// Running: the pod's phase is Running, so that its containers were started.
	Running bool
	// Finished: the pod's phase is Succeeded or Failed.
	Finished bool
	// Deleted is when the deletion was asked for; zero for a pod that stays.
	Deleted time.Time
	// ServesUntil is until when a pod that is being deleted certainly serves,
	// because all its containers sleep before they are stopped; zero if unknown.
	ServesUntil time.Time
	Gates       []Gate
}

// Gate is a readiness gate of a pod.
type Gate struct {
	// Type is that of the condition that opens the gate.
	Type string
	// Ours: the controller opens it, by the target's health.
	Ours bool
	Open bool
	// Since is when the gate was opened or closed; zero if unknown.
	Since time.Time
	// Reason and Message are what the condition says of a gate of ours; empty if
	// there is none yet.
	Reason, Message string
}

// waitsAt gives the closed gate of a type at which a pod waits that could serve
// otherwise; false if it does not wait at one.
func (p Pod) waitsAt(kind string) (Gate, bool) {
	if p.Known != Seen || !p.ContainersReady || p.terminating() || p.Finished {
		return Gate{}, false
	}
	i := slices.IndexFunc(p.Gates, func(g Gate) bool { return g.Ours && !g.Open && g.Type == kind })
	if i < 0 {
		return Gate{}, false
	}
	return p.Gates[i], true
}

// Waits tells whether a pod that could serve otherwise waits at a gate of ours.
func (p Pod) Waits() bool {
	return slices.ContainsFunc(p.Gates, func(g Gate) bool { _, waits := p.waitsAt(g.Type); return waits })
}

// terminating tells whether the pod is on its way out.
func (p Pod) terminating() bool { return !p.Deleted.IsZero() }

// gatePending tells whether gates of ours, and nothing else, keep the pod from
// being ready: they are closed, or the kubelet has not seen yet that they are open.
func (p Pod) gatePending() bool {
	ours := false
	for _, gate := range p.Gates {
		switch {
		case gate.Ours:
			ours = ours || !gate.Open || p.justOpened(gate)
		case !gate.Open:
			return false
		}
	}
	return p.ContainersReady && ours
}

// silentNode tells whether the pod is not ready although its containers are and
// all gates are open. A kubelet reports that for a moment only, between a gate's
// opening and its own next look; otherwise the control plane does, when it lost
// sight of the pod's node.
func (p Pod) silentNode() bool {
	if p.Ready || !p.ContainersReady {
		return false
	}
	for _, gate := range p.Gates {
		if !gate.Open || p.justOpened(gate) {
			return false
		}
	}
	return true
}

// justOpened tells whether a gate was opened while the pod was not ready, so that
// the kubelet is yet to make the pod ready.
func (p Pod) justOpened(gate Gate) bool {
	return gate.Open && !gate.Since.IsZero() && !gate.Since.Before(p.NotReadySince)
}
