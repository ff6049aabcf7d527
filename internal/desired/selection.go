package desired

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Selection is what a binding chooses without a Service.
type Selection struct {
	// Selector chooses the pods; it is spelt as people write it.
	Selector string
	// RegisterAt says from when on a pod is wanted.
	RegisterAt RegisterAt
	// Pods are all pods that the selector chooses, in any order.
	Pods []Selected
}

// RegisterAt says from when on a pod of a selection is wanted.
type RegisterAt string

// From when on pods are wanted.
const (
	// AtReady: while the pod is ready, as the endpoints of a Service are.
	AtReady RegisterAt = "Ready"
	// AtRunning: from when the pod has an address and runs until it ends, ready or
	// not. Only the load balancer's health checks keep requests from it.
	AtRunning RegisterAt = "Running"
)

// Selected is a pod of a selection. It is in the cache, so its Known is Seen.
type Selected struct {
	Pod Pod
	// Addrs are the addresses of the pod, and HostAddrs those of its node: one of
	// each family at most, none before it has them. A pod on the network of its
	// node has the same for both.
	Addrs, HostAddrs []netip.Addr
	// Ports are those that its containers declare, in their order.
	Ports []ContainerPort
}

// ContainerPort is a port that a container declares.
type ContainerPort struct {
	// Name is empty if the port has none.
	Name   string
	Number uint16
	// Host is the port of the node that leads to it; zero if none does.
	Host uint16
}

// takes tells whether a pod is wanted although it is not ready. Where its node fell
// silent, its readiness counts as it does for others.
func (s *Selection) takes(pod Pod) bool {
	return s != nil && s.RegisterAt == AtRunning && pod.Running && !pod.silentNode()
}

// problem tells that no pod has the port of the binding, by which a misspelt name
// shows. Without any pod there is nothing to tell it by.
func (s *Selection) problem(binding Binding) *Problem {
	hasPort := func(pod Selected) bool { _, found := pod.port(binding.Port); return found }
	if len(s.Pods) == 0 || slices.ContainsFunc(s.Pods, hasPort) {
		return nil
	}
	return &Problem{binding.ID, target.PortNotFound, fmt.Sprintf(
		"no container of the %d pods that %q chooses has a port named %q: correct the binding's port or the containers'; no target is deregistered meanwhile",
		len(s.Pods), s.Selector, binding.Port)}
}

// selected decides about the pods of a selection, each by itself.
func selected(binding Binding, family target.Family) []Candidate {
	var judged []Candidate
	for _, pod := range binding.Selection.Pods {
		key, found := pod.key(binding.Port, family)
		if !found {
			continue
		}
		candidate := judge(binding, Endpoint{Addr: key.Addr, Pod: pod.Pod})
		candidate.Key = key
		judged = append(judged, candidate)
	}
	return judged
}

// key is where the pod serves a port: at its own address, or where the port of its
// node leads to it at the node's. False without an address of the family, or
// without the port.
func (s Selected) key(ref PortRef, family target.Family) (target.Key, bool) {
	port, found := s.port(ref)
	addrs, number := s.Addrs, port.Number
	if port.Host != 0 {
		addrs, number = s.HostAddrs, port.Host
	}
	for _, addr := range addrs {
		if addr = addr.Unmap(); found && addr.IsValid() && target.FamilyOf(addr) == family {
			return target.Key{Addr: addr, Port: number}, true
		}
	}
	return target.Key{}, false
}

// port finds a port by name or number. Containers need not declare the ports that
// they serve on, so every pod has every number.
func (s Selected) port(ref PortRef) (ContainerPort, bool) {
	i := slices.IndexFunc(s.Ports, func(port ContainerPort) bool {
		return ref.names(ServicePort{Name: port.Name, Number: port.Number})
	})
	switch {
	case i >= 0:
		return s.Ports[i], s.Ports[i].Number != 0
	case ref.Name != "":
		return ContainerPort{}, false
	}
	return ContainerPort{Number: ref.Number}, ref.Number != 0
}

// unserved says why a pod that waits at the gate of the binding is no target of it
// though it could be.
func (s *Selection) unserved(ref PortRef, uid string) (target.Reason, string) {
	isIt := func(pod Selected) bool { return pod.Pod.UID == uid }
	hasPort := func(pod Selected) bool { _, found := pod.port(ref); return isIt(pod) && found }
	switch {
	case !slices.ContainsFunc(s.Pods, isIt):
		return target.NotAnEndpoint, "not registered, since the binding's selector does not choose the pod: correct the selector, the pod's labels or its gate"
	case !slices.ContainsFunc(s.Pods, hasPort):
		return target.PortNotFound, fmt.Sprintf("not registered, since no container of the pod has a port named %q: name one so, or correct the binding's port", ref)
	}
	return target.NotAnEndpoint, "not registered, since the pod has no address of the target group's family"
}
