package controller

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Bound is a binding with a target group of it that was found.
type Bound struct {
	kube.Binding
	Target  target.Group
	Account *elb.Account
}

// decides tells whether b leads to the same decisions as other. What the status
// remembers matters only when a group is first seen, and in groups that are shared.
func (b Bound) decides(other Bound) bool {
	b.Object, b.Remembered = other.Object, other.Remembered
	if !b.Shared {
		b.Ours, b.OursIn = other.Ours, other.OursIn
	}
	return reflect.DeepEqual(b, other)
}

// Registry knows which bindings mean which groups. It is safe for concurrent use.
type Registry struct {
	mu       sync.RWMutex
	bindings map[desired.BindingID]map[target.ARN]Bound
	groups   map[target.ARN]map[desired.BindingID]bool
	services map[types.NamespacedName]map[desired.BindingID]bool
	// selecting are the bindings with a selector of their own, by namespace.
	selecting map[string]map[desired.BindingID]bool
}

// NewRegistry makes an empty Registry.
func NewRegistry() *Registry {
	return &Registry{
		bindings: map[desired.BindingID]map[target.ARN]Bound{},
		groups:   map[target.ARN]map[desired.BindingID]bool{},
		services: map[types.NamespacedName]map[desired.BindingID]bool{}, selecting: map[string]map[desired.BindingID]bool{},
	}
}

// Bind files a binding with all of its groups, and returns the groups that this
// concerns: those in which something changes by it, and those that it meant before and
// does not any more. Filing it unchanged concerns none.
func (r *Registry) Bind(id desired.BindingID, bounds ...Bound) []target.ARN {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.drop(id)
	var concerned []target.ARN
	for _, bound := range bounds {
		if was, known := before[bound.Target.ARN]; !known || !was.decides(bound) {
			concerned = append(concerned, bound.Target.ARN)
		}
		delete(before, bound.Target.ARN)
		r.file(bound)
	}
	return slices.AppendSeq(concerned, maps.Keys(before))
}

func (r *Registry) file(bound Bound) {
	if r.bindings[bound.ID] == nil {
		r.bindings[bound.ID] = map[target.ARN]Bound{}
	}
	r.bindings[bound.ID][bound.Target.ARN] = bound
	add(r.groups, bound.Target.ARN, bound.ID)
	if bound.Selector != nil {
		add(r.selecting, bound.ID.Namespace, bound.ID)
	} else {
		add(r.services, bound.Service, bound.ID)
	}
}

// Drop forgets a binding and returns the groups that this concerns.
func (r *Registry) Drop(id desired.BindingID) []target.ARN { return r.Bind(id) }

// drop takes a binding out, and gives what was filed of it.
func (r *Registry) drop(id desired.BindingID) map[target.ARN]Bound {
	filed := r.bindings[id]
	delete(r.bindings, id)
	for arn, bound := range filed {
		remove(r.groups, arn, id)
		remove(r.services, bound.Service, id)
		remove(r.selecting, id.Namespace, id)
	}
	return filed
}

// Has tells whether a binding is filed.
func (r *Registry) Has(id desired.BindingID) bool { return len(r.Get(id)) > 0 }

// Get gives a binding with each of its groups, ordered by their ARNs.
func (r *Registry) Get(id desired.BindingID) []Bound {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.SortedFunc(maps.Values(r.bindings[id]), Bound.compare)
}

// Meant gives the groups that a binding means now, ordered, without those it has left.
func (r *Registry) Meant(id desired.BindingID) []Bound {
	return slices.DeleteFunc(r.Get(id), func(b Bound) bool { return b.Left })
}

// compare orders by binding and group.
func (b Bound) compare(other Bound) int {
	return cmp.Or(b.ID.Compare(other.ID), strings.Compare(b.Target.ARN.String(), other.Target.ARN.String()))
}

// In lists the bindings of a namespace with each of their groups, ordered by the names
// of the bindings.
func (r *Registry) In(namespace string) []Bound {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var bound []Bound
	for id, groups := range r.bindings {
		if id.Namespace == namespace {
			bound = slices.AppendSeq(bound, maps.Values(groups))
		}
	}
	slices.SortFunc(bound, Bound.compare)
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
		bound[i] = r.bindings[id][group]
	}
	return bound
}

// GroupsOf lists the groups that have a binding to a Service, in no order.
func (r *Registry) GroupsOf(service types.NamespacedName) []target.ARN {
	r.mu.RLock()
	defer r.mu.RUnlock()
	groups := map[target.ARN]bool{}
	for id := range r.services[service] {
		for arn := range r.bindings[id] {
			groups[arn] = true
		}
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
		for arn, bound := range r.bindings[id] {
			if bound.Chooses(pod, nil) {
				groups[arn] = true
			}
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

func remove[K, V comparable, E any](m map[K]map[V]E, key K, value V) {
	delete(m[key], value)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}
