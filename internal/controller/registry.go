package controller

import (
	"maps"
	"reflect"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Bound is a binding whose target group was found.
type Bound struct {
	kube.Binding
	Target  target.Group
	Account *elb.Account
}

// decides tells whether b leads to the same decisions as other. What the status
// remembers matters only when a group is first seen.
func (b Bound) decides(other Bound) bool {
	b.Object, b.Ours, b.OursIn = other.Object, other.Ours, other.OursIn
	return reflect.DeepEqual(b, other)
}

// Registry knows which bindings mean which group. It is safe for concurrent use.
type Registry struct {
	mu       sync.RWMutex
	bindings map[desired.BindingID]Bound
	groups   map[target.ARN]map[desired.BindingID]bool
	services map[types.NamespacedName]map[desired.BindingID]bool
	// selecting are the bindings with a selector of their own, by namespace.
	selecting map[string]map[desired.BindingID]bool
}

// NewRegistry makes an empty Registry.
func NewRegistry() *Registry {
	return &Registry{
		bindings: map[desired.BindingID]Bound{},
		groups:   map[target.ARN]map[desired.BindingID]bool{},
		services: map[types.NamespacedName]map[desired.BindingID]bool{}, selecting: map[string]map[desired.BindingID]bool{},
	}
}

// Bind files a binding and returns the groups that this concerns: its group, and
// the one that it meant before. Filing it unchanged concerns none.
func (r *Registry) Bind(bound Bound) []target.ARN {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bindings[bound.ID].decides(bound) {
		return nil
	}
	concerned := r.drop(bound.ID)
	r.bindings[bound.ID] = bound
	add(r.groups, bound.Target.ARN, bound.ID)
	if bound.Selector != nil {
		add(r.selecting, bound.ID.Namespace, bound.ID)
	} else {
		add(r.services, bound.Service, bound.ID)
	}
	if !slices.Contains(concerned, bound.Target.ARN) {
		concerned = append(concerned, bound.Target.ARN)
	}
	return concerned
}

// Drop forgets a binding and returns the groups that this concerns.
func (r *Registry) Drop(id desired.BindingID) []target.ARN {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drop(id)
}

func (r *Registry) drop(id desired.BindingID) []target.ARN {
	bound, known := r.bindings[id]
	if !known {
		return nil
	}
	delete(r.bindings, id)
	remove(r.groups, bound.Target.ARN, id)
	remove(r.services, bound.Service, id)
	remove(r.selecting, id.Namespace, id)
	return []target.ARN{bound.Target.ARN}
}

// Has tells whether a binding is filed.
func (r *Registry) Has(id desired.BindingID) bool {
	_, filed := r.Get(id)
	return filed
}

// Get gives a filed binding, and false if it is not filed.
func (r *Registry) Get(id desired.BindingID) (Bound, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	bound, filed := r.bindings[id]
	return bound, filed
}

// In lists the bindings of a namespace, ordered by their names.
func (r *Registry) In(namespace string) []Bound {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var bound []Bound
	for id := range r.bindings {
		if id.Namespace == namespace {
			bound = append(bound, r.bindings[id])
		}
	}
	slices.SortFunc(bound, func(a, b Bound) int { return a.ID.Compare(b.ID) })
	return bound
}

// Called lists the groups of filed bindings that a reference may mean, in no order.
func (r *Registry) Called(ref target.Ref) []target.ARN {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var called []target.ARN
	for arn := range r.groups {
		if ref.Names(target.Group{ARN: arn}) {
			called = append(called, arn)
		}
	}
	return called
}

// Of lists the bindings of a group, ordered by their ids.
func (r *Registry) Of(group target.ARN) []Bound {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ids := slices.SortedFunc(maps.Keys(r.groups[group]), desired.BindingID.Compare)
	bound := make([]Bound, len(ids))
	for i, id := range ids {
		bound[i] = r.bindings[id]
	}
	return bound
}

// GroupsOf lists the groups that have a binding to a Service, in no order.
func (r *Registry) GroupsOf(service types.NamespacedName) []target.ARN {
	r.mu.RLock()
	defer r.mu.RUnlock()
	groups := map[target.ARN]bool{}
	for id := range r.services[service] {
		groups[r.bindings[id].Target.ARN] = true
	}
	return slices.Collect(maps.Keys(groups))
}

// GroupsChoosing lists the groups that have a binding whose own selector chooses a
// pod, in no order.
func (r *Registry) GroupsChoosing(pod *corev1.Pod) []target.ARN {
	r.mu.RLock()
	defer r.mu.RUnlock()
	groups := map[target.ARN]bool{}
	for id := range r.selecting[pod.Namespace] {
		if bound := r.bindings[id]; bound.Chooses(pod, nil) {
			groups[bound.Target.ARN] = true
		}
	}
	return slices.Collect(maps.Keys(groups))
}

func add[K, V comparable](m map[K]map[V]bool, key K, value V) {
	if m[key] == nil {
		m[key] = map[V]bool{}
	}
	m[key][value] = true
}

func remove[K, V comparable](m map[K]map[V]bool, key K, value V) {
	delete(m[key], value)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}
