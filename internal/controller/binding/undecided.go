package binding

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// bindingByGroup is the index by which objects are found that name a group.
const bindingByGroup = "group"

// addIndex makes the cache able to find bindings by the ARN or the name that they
// call their group by, and those that name groups by tags by the ARNs of the groups in
// which they were seen to have targets: they never had any in another.
func addIndex(mgr ctrl.Manager) error {
	named := func(obj client.Object) []string {
		tgb, ok := obj.(*v1beta1.TargetGroupBinding)
		if !ok {
			return nil
		}
		if len(tgb.Spec.TargetGroupTags) == 0 {
			return []string{tgb.Spec.TargetGroupARN + tgb.Spec.TargetGroupName} // one of them is empty
		}
		var remembered []string
		for _, group := range tgb.Status.TargetGroups {
			remembered = append(remembered, group.ARN)
		}
		return remembered
	}
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1beta1.TargetGroupBinding{}, bindingByGroup, named)
	if err != nil {
		return fmt.Errorf("index bindings by group: %w", err)
	}
	return nil
}

// Undecided lists the bindings that call a group by its ARN or its name, and of
// which it is not known yet whether they mean it. After a start, one binding of a
// group is filed before another; the targets of the other must not be taken for
// nobody's meanwhile. An error means that too little is known to tell.
func (r *Reconciler) Undecided(ctx context.Context, group target.ARN) ([]desired.BindingID, error) {
	var open []desired.BindingID
	for _, binding := range r.Flags {
		named := len(binding.Tags) > 0 || binding.Group.Names(target.Group{ARN: group})
		if named && !r.decided(binding.ID) {
			open = append(open, binding.ID)
		}
	}
	if !r.Objects {
		return open, nil
	}
	for _, name := range []string{group.String(), group.Name} {
		var list v1beta1.TargetGroupBindingList
		if err := r.Client.List(ctx, &list, client.MatchingFields{bindingByGroup: name}); err != nil {
			return nil, fmt.Errorf("list the bindings of %s: %w", name, err)
		}
		for i := range list.Items {
			id := desired.BindingID{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name}
			if !r.decided(id) {
				open = append(open, id)
			}
		}
	}
	return open, nil
}

// decided tells whether a binding's group is known, or that it has none for good.
func (r *Reconciler) decided(id desired.BindingID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.groupless[id] || r.Registry.Has(id)
}

// Groupless tells whether a binding has no group for good, whatever group it names.
func (r *Reconciler) Groupless(id desired.BindingID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.groupless[id]
}

// exclude notes that a binding means no group, whatever it calls it, or that it may
// mean one again.
func (r *Reconciler) exclude(id desired.BindingID, groupless bool) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = r.groupless[id] != groupless
	if r.groupless == nil {
		r.groupless = map[desired.BindingID]bool{}
	}
	if groupless {
		r.groupless[id] = true
	} else {
		delete(r.groupless, id)
	}
	return changed
}
