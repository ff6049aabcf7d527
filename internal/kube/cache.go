// Package kube is the project's view of Kubernetes: what it caches and in which
// shape, how objects become plain facts, and how reports become status, events
// and conditions.
package kube

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

// Scope is what of the cluster is watched.
type Scope struct {
	// Namespace is the only one; empty for all.
	Namespace string
	// Service, if not empty, is the only Service that counts.
	Service string
	// Pods, if not nil, chooses the only pods that count; no Service does then.
	Pods labels.Selector
}

// CacheOptions says what is cached: what counts in the scope and, as far as the API
// server can tell that apart, nothing else. Objects are stripped of what is never
// read, since a large cluster's pods would otherwise fill the memory; they are shared
// and must not be written to.
func CacheOptions(scope Scope) cache.Options {
	share := true
	pods := cache.ByObject{Transform: stripPod, Label: scope.Pods}
	services, slices := cache.ByObject{Transform: stripService}, cache.ByObject{Transform: stripSlice}
	if scope.Service != "" {
		services.Field = fields.OneTermEqualSelector(metav1.ObjectNameField, scope.Service)
		slices.Label = labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: scope.Service})
	}
	options := cache.Options{
		DefaultUnsafeDisableDeepCopy: &share,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: pods, &corev1.Service{}: services, &discoveryv1.EndpointSlice{}: slices,
		},
	}
	if scope.Namespace != "" {
		options.DefaultNamespaces = map[string]cache.Config{scope.Namespace: {}}
	}
	return options
}

// The transforms below may run more than once on an object, so each keeps the
// type and only blanks fields.

func stripPod(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	annotations, labels := pod.Annotations, pod.Labels
	stripMeta(&pod.ObjectMeta)
	pod.Annotations, pod.Labels = ours(annotations), labels
	pod.Spec = corev1.PodSpec{
		ReadinessGates: pod.Spec.ReadinessGates,
		InitContainers: stripContainers(pod.Spec.InitContainers), Containers: stripContainers(pod.Spec.Containers),
	}
	pod.Status = corev1.PodStatus{
		Phase: pod.Status.Phase, Conditions: pod.Status.Conditions,
		PodIPs: pod.Status.PodIPs, HostIP: pod.Status.HostIP, HostIPs: pod.Status.HostIPs,
	}
	return pod, nil
}

func stripContainers(containers []corev1.Container) []corev1.Container {
	var stripped []corev1.Container
	for i := range containers {
		whole := &containers[i]
		stripped = append(stripped, corev1.Container{
			Name: whole.Name, Lifecycle: whole.Lifecycle, Ports: whole.Ports, RestartPolicy: whole.RestartPolicy,
		})
	}
	return stripped
}

// ours are the annotations that the project itself put on a pod.
func ours(annotations map[string]string) map[string]string {
	var kept map[string]string
	for key, value := range annotations {
		if !strings.HasPrefix(key, v1beta1.GroupName+"/") {
			continue
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[key] = value
	}
	return kept
}

func stripService(obj any) (any, error) {
	service, ok := obj.(*corev1.Service)
	if !ok {
		return obj, nil
	}
	annotations := service.Annotations
	stripMeta(&service.ObjectMeta)
	service.Annotations = annotations
	delete(service.Annotations, corev1.LastAppliedConfigAnnotation)
	service.Spec = corev1.ServiceSpec{Ports: service.Spec.Ports, Selector: service.Spec.Selector, Type: service.Spec.Type}
	service.Status = corev1.ServiceStatus{}
	return service, nil
}

func stripSlice(obj any) (any, error) {
	slice, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return obj, nil
	}
	labels := slice.Labels
	stripMeta(&slice.ObjectMeta)
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: labels[discoveryv1.LabelServiceName]}
	return slice, nil
}

func stripMeta(meta *metav1.ObjectMeta) {
	meta.ManagedFields, meta.Annotations, meta.Labels, meta.OwnerReferences = nil, nil, nil, nil
}

// The indexes by which slices and pods are found.
const (
	sliceByService = "service"
	sliceByPod     = "pod"
	podByGate      = "gate"
)

// AddIndexes makes the cache able to find pods by the readiness gates of ours that
// they have and, where Services count, slices by Service and by pod. To index a kind
// of object is to watch it.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer, scope Scope) error {
	if err := indexer.IndexField(ctx, &corev1.Pod{}, podByGate, gateTypes); err != nil {
		return fmt.Errorf("index pods by gate: %w", err)
	}
	if scope.Pods != nil {
		return nil
	}
	if err := indexer.IndexField(ctx, &discoveryv1.EndpointSlice{}, sliceByService, serviceNames); err != nil {
		return fmt.Errorf("index slices by Service: %w", err)
	}
	if err := indexer.IndexField(ctx, &discoveryv1.EndpointSlice{}, sliceByPod, podNames); err != nil {
		return fmt.Errorf("index slices by pod: %w", err)
	}
	return nil
}

func serviceNames(obj client.Object) []string {
	if service := ServiceOf(obj); service.Name != "" {
		return []string{service.Name}
	}
	return nil
}

func podNames(obj client.Object) []string {
	slice, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil
	}
	var names []string
	for i := range slice.Endpoints {
		if ref := slice.Endpoints[i].TargetRef; ref != nil && ref.Kind == "Pod" {
			names = append(names, ref.Name)
		}
	}
	return names
}

// ServiceOf names the Service that a slice belongs to; an empty name means none.
func ServiceOf(slice client.Object) types.NamespacedName {
	return types.NamespacedName{
		Namespace: slice.GetNamespace(),
		Name:      slice.GetLabels()[discoveryv1.LabelServiceName],
	}
}
