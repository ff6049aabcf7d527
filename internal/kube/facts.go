package kube

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Cluster reads facts from the caches. Reads never go to the API server, so
// they are quick, and fail only before the caches are filled.
type Cluster struct {
	reader client.Reader
	gone   *gone
}

// NewCluster makes a Cluster that reads from a cache with the indexes of AddIndexes.
func NewCluster(reader client.Reader) *Cluster {
	return &Cluster{reader: reader, gone: newGone()}
}

// Facts gathers what is known of a group's bindings. An error means that too
// little is known to decide anything.
func (c *Cluster) Facts(ctx context.Context, family target.Family, bindings []Binding) (desired.Facts, error) {
	facts := desired.Facts{Family: family}
	for _, declared := range bindings {
		binding := desired.Binding{
			ID: declared.ID, Deleting: declared.Deleting, Left: declared.Left, Port: declared.Port, NodeNotReady: declared.Nodes,
			Shared: declared.Shared, Created: declared.Created,
			Gate: string(v1beta1.ReadinessGateOf(declared.ID.Name)),
		}
		err := c.chosen(ctx, declared, &binding)
		if err != nil {
			return desired.Facts{}, err
		}
		if binding.Gated, err = c.gated(ctx, declared.ID.Namespace, binding.Gate); err != nil {
			return desired.Facts{}, err
		}
		facts.Bindings = append(facts.Bindings, binding)
	}
	return facts, nil
}

// chosen gathers what the binding chooses: a Service with its slices, or pods.
func (c *Cluster) chosen(ctx context.Context, declared Binding, into *desired.Binding) (err error) {
	if declared.Selector != nil {
		into.Selection, err = c.selection(ctx, declared)
		return err
	}
	if into.Service, err = c.service(ctx, declared.Service); err != nil {
		return err
	}
	into.Slices, err = c.slices(ctx, declared.Service)
	return err
}

func (c *Cluster) service(ctx context.Context, name types.NamespacedName) (desired.Service, error) {
	var service corev1.Service
	found := desired.Service{Name: name.Name, Existence: desired.Exists}
	err := c.reader.Get(ctx, name, &service)
	switch {
	case apierrors.IsNotFound(err) && c.gone.service(name):
		found.Existence = desired.SeenDeleted
	case apierrors.IsNotFound(err):
		found.Existence = desired.NeverSeen
	case err != nil:
		return desired.Service{}, fmt.Errorf("read Service %s: %w", name, err)
	}
	for _, port := range service.Spec.Ports {
		found.Ports = append(found.Ports, desired.ServicePort{Name: port.Name, Number: uint16(port.Port)})
	}
	return found, nil
}

func (c *Cluster) slices(ctx context.Context, service types.NamespacedName) ([]desired.Slice, error) {
	var list discoveryv1.EndpointSliceList
	err := c.reader.List(ctx, &list, client.InNamespace(service.Namespace), client.MatchingFields{sliceByService: service.Name})
	if err != nil {
		return nil, fmt.Errorf("list the slices of Service %s: %w", service, err)
	}
	slices := make([]desired.Slice, len(list.Items))
	for i := range list.Items {
		if slices[i], err = c.slice(ctx, &list.Items[i]); err != nil {
			return nil, err
		}
	}
	return slices, nil
}

func (c *Cluster) slice(ctx context.Context, slice *discoveryv1.EndpointSlice) (desired.Slice, error) {
	var found desired.Slice
	for _, port := range slice.Ports {
		if port.Port != nil {
			found.Ports = append(found.Ports, desired.SlicePort{Name: value(port.Name), Number: uint16(*port.Port)})
		}
	}
	for i := range slice.Endpoints {
		endpoint := &slice.Endpoints[i]
		pod, err := c.pod(ctx, slice.Namespace, endpoint.TargetRef)
		if err != nil {
			return desired.Slice{}, err
		}
		for _, address := range endpoint.Addresses {
			// Slices of type FQDN hold names, which no target group takes.
			addr, err := netip.ParseAddr(address)
			if err != nil {
				continue
			}
			found.Endpoints = append(found.Endpoints, desired.Endpoint{
				Addr:        addr,
				Ready:       endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready,
				Terminating: value(endpoint.Conditions.Terminating),
				Pod:         pod,
			})
		}
	}
	return found, nil
}

// pod tells what is known of the pod behind an endpoint. A cached pod of another
// UID is another pod: the one that the endpoint means is gone or yet to come.
func (c *Cluster) pod(ctx context.Context, namespace string, ref *corev1.ObjectReference) (desired.Pod, error) {
	if ref == nil || ref.Kind != "Pod" {
		return desired.Pod{}, nil
	}
	var pod corev1.Pod
	err := c.reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: ref.Name}, &pod)
	switch {
	case err == nil && pod.UID == ref.UID:
		return c.factsOf(&pod), nil
	case err != nil && !apierrors.IsNotFound(err):
		return desired.Pod{}, fmt.Errorf("read pod %s/%s: %w", namespace, ref.Name, err)
	case c.gone.pod(ref.UID):
		return desired.Pod{Known: desired.SeenGone, Name: ref.Name, UID: string(ref.UID)}, nil
	}
	return desired.Pod{Known: desired.NotSeenYet, Name: ref.Name, UID: string(ref.UID)}, nil
}

// factsOf makes plain facts of a pod, whose deletion no step of the clock moves.
func (c *Cluster) factsOf(pod *corev1.Pod) desired.Pod {
	facts := PodOf(pod)
	if facts.Deleted.IsZero() {
		return facts
	}
	deleted := c.gone.deletion(pod.UID, facts.Deleted)
	if !facts.ServesUntil.IsZero() {
		facts.ServesUntil = deleted.Add(facts.ServesUntil.Sub(facts.Deleted))
	}
	facts.Deleted = deleted
	return facts
}

// PodOf makes plain facts of a pod, with all times as they are written in it.
func PodOf(pod *corev1.Pod) desired.Pod {
	facts := desired.Pod{
		Known:    desired.Seen,
		Name:     pod.Name,
		UID:      string(pod.UID),
		Running:  pod.Status.Phase == corev1.PodRunning,
		Finished: pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed,
	}
	status := map[corev1.PodConditionType]corev1.PodCondition{}
	for _, condition := range pod.Status.Conditions {
		status[condition.Type] = condition
	}
	facts.Ready = status[corev1.PodReady].Status == corev1.ConditionTrue
	facts.ContainersReady = status[corev1.ContainersReady].Status == corev1.ConditionTrue
	if !facts.Ready {
		facts.NotReadySince = status[corev1.PodReady].LastTransitionTime.Time
	}
	facts.ReadySince = status[corev1.PodReady].LastTransitionTime.Time
	for _, gate := range pod.Spec.ReadinessGates {
		condition := status[gate.ConditionType]
		found := desired.Gate{
			Type:  string(gate.ConditionType),
			Ours:  v1beta1.IsReadinessGate(gate.ConditionType),
			Open:  condition.Status == corev1.ConditionTrue,
			Since: condition.LastTransitionTime.Time,
		}
		if found.Ours {
			found.Reason, found.Message = condition.Reason, condition.Message
			facts.ReadySince = status[corev1.ContainersReady].LastTransitionTime.Time
		}
		facts.Gates = append(facts.Gates, found)
	}
	if at := pod.DeletionTimestamp; at != nil {
		// The API server sets the timestamp to when the grace period ends.
		facts.Deleted = at.Add(-time.Duration(value(pod.DeletionGracePeriodSeconds)) * time.Second)
		facts.ServesUntil = servesUntil(pod, facts.Deleted)
	}
	return facts
}

// servesUntil is when the first container may stop, if each is kept from it by a sleep
// or by our drain hook, which lasts as long as the pod is registered; zero if one is
// not, since it may stop at once.
func servesUntil(pod *corev1.Pod, deleted time.Time) time.Time {
	until := pod.DeletionTimestamp.Time
	holds := drainMode(pod) == drain.Hold
	held := admission.Held(pod)
	for i := range pod.Spec.Containers {
		container := &pod.Spec.Containers[i]
		awake := until
		switch hook := preStop(container); {
		case hook == nil:
			return time.Time{}
		case hook.Sleep != nil:
			awake = deleted.Add(time.Duration(hook.Sleep.Seconds) * time.Second)
		case hook.Exec != nil && holds && slices.Contains(held, container.Name):
			awake = leaveOf(pod, deleted).Deadline()
		default:
			return time.Time{}
		}
		if awake.Before(until) {
			until = awake
		}
	}
	return until
}

func preStop(container *corev1.Container) *corev1.LifecycleHandler {
	if container.Lifecycle == nil {
		return nil
	}
	return container.Lifecycle.PreStop
}

// ServicesOf names the Services in whose slices a pod is listed.
func (c *Cluster) ServicesOf(ctx context.Context, pod types.NamespacedName) []types.NamespacedName {
	var list discoveryv1.EndpointSliceList
	err := c.reader.List(ctx, &list, client.InNamespace(pod.Namespace), client.MatchingFields{sliceByPod: pod.Name})
	if err != nil {
		return nil // the cache is not filled yet, and filling it brings an event for each slice
	}
	var services []types.NamespacedName
	for i := range list.Items {
		if service := ServiceOf(&list.Items[i]); service.Name != "" {
			services = append(services, service)
		}
	}
	return services
}

// value is what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
