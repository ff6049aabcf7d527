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
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

// CacheOptions says what is cached: everything in namespace, or in all
// namespaces if it is empty. Objects are stripped of what is never read, since a
// large cluster's pods would otherwise fill the memory; they are shared and must
// not be written to.
func CacheOptions(namespace string) cache.Options {
	share := true
	options := cache.Options{
		DefaultUnsafeDisableDeepCopy: &share,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:                {Transform: stripPod},
			&corev1.Service{}:            {Transform: stripService},
			&discoveryv1.EndpointSlice{}: {Transform: stripSlice},
		},
	}
	if namespace != "" {
		options.DefaultNamespaces = map[string]cache.Config{namespace: {}}
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
	annotations := pod.Annotations
	stripMeta(&pod.ObjectMeta)
	pod.Annotations = ours(annotations)
	containers := make([]corev1.Container, len(pod.Spec.Containers))
	for i, container := range pod.Spec.Containers {
		containers[i] = corev1.Container{Name: container.Name, Lifecycle: container.Lifecycle}
	}
	pod.Spec = corev1.PodSpec{ReadinessGates: pod.Spec.ReadinessGates, Containers: containers}
	pod.Status = corev1.PodStatus{
		Phase: pod.Status.Phase, Conditions: pod.Status.Conditions, PodIPs: pod.Status.PodIPs,
	}
	return pod, nil
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

// AddIndexes makes the cache able to find slices by Service and by pod, and pods by
// the readiness gates of ours that they have.
func AddIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &discoveryv1.EndpointSlice{}, sliceByService, serviceNames); err != nil {
		return fmt.Errorf("index slices by Service: %w", err)
	}
	if err := indexer.IndexField(ctx, &discoveryv1.EndpointSlice{}, sliceByPod, podNames); err != nil {
		return fmt.Errorf("index slices by pod: %w", err)
	}
	if err := indexer.IndexField(ctx, &corev1.Pod{}, podByGate, gateTypes); err != nil {
		return fmt.Errorf("index pods by gate: %w", err)
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
