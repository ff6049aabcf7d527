package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// shelf is a cache of a few objects with the indexes of AddIndexes, for tests of
// how objects become facts.
type shelf struct {
	pods     map[types.NamespacedName]*corev1.Pod
	services map[types.NamespacedName]*corev1.Service
	slices   []*discoveryv1.EndpointSlice
	indexes  map[string]client.IndexerFunc
	broken   string // the kind of object that cannot be read
}

func newShelf() *shelf {
	s := &shelf{
		pods: map[types.NamespacedName]*corev1.Pod{}, services: map[types.NamespacedName]*corev1.Service{},
		indexes: map[string]client.IndexerFunc{},
	}
	if err := AddIndexes(context.Background(), s, Scope{}); err != nil {
		panic(err)
	}
	return s
}

func (s *shelf) IndexField(_ context.Context, _ client.Object, field string, values client.IndexerFunc) error {
	s.indexes[field] = values
	return nil
}

func (s *shelf) add(objects ...client.Object) *shelf {
	for _, object := range objects {
		name := client.ObjectKeyFromObject(object)
		switch o := object.(type) {
		case *corev1.Pod:
			s.pods[name] = o
		case *corev1.Service:
			s.services[name] = o
		case *discoveryv1.EndpointSlice:
			s.slices = append(s.slices, o)
		}
	}
	return s
}

func (s *shelf) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch o := into.(type) {
	case *corev1.Pod:
		if found, exists := s.pods[name]; exists && s.broken != "pod" {
			found.DeepCopyInto(o)
			return nil
		}
		return s.missing("pod", name)
	case *corev1.Service:
		if found, exists := s.services[name]; exists && s.broken != "service" {
			found.DeepCopyInto(o)
			return nil
		}
		return s.missing("service", name)
	}
	return fmt.Errorf("no %T on the shelf", into)
}

func (s *shelf) missing(kind string, name client.ObjectKey) error {
	if s.broken == kind {
		return fmt.Errorf("the cache is not filled yet")
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: kind + "s"}, name.Name)
}

func (s *shelf) List(_ context.Context, into client.ObjectList, options ...client.ListOption) error {
	var wanted client.ListOptions
	wanted.ApplyOptions(options)
	switch list := into.(type) {
	case *discoveryv1.EndpointSliceList:
		if s.broken == "slice" {
			return fmt.Errorf("the cache is not filled yet")
		}
		for _, slice := range s.slices {
			if s.matches(slice, wanted) {
				list.Items = append(list.Items, *slice)
			}
		}
		return nil
	case *corev1.PodList:
		if s.broken == "gate" {
			return fmt.Errorf("the cache is not filled yet")
		}
		for _, pod := range s.pods {
			if s.matches(pod, wanted) {
				list.Items = append(list.Items, *pod)
			}
		}
		return nil
	}
	return fmt.Errorf("no %T on the shelf", into)
}

func (s *shelf) matches(object client.Object, wanted client.ListOptions) bool {
	if object.GetNamespace() != wanted.Namespace {
		return false
	}
	if wanted.LabelSelector != nil && !wanted.LabelSelector.Matches(labels.Set(object.GetLabels())) {
		return false
	}
	if wanted.FieldSelector == nil {
		return true
	}
	for _, requirement := range wanted.FieldSelector.Requirements() {
		values, indexed := s.indexes[requirement.Field]
		if !indexed || !slices.Contains(values(object), requirement.Value) {
			return false
		}
	}
	return true
}
