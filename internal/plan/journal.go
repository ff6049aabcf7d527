package plan

import (
	"slices"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Remember is what Kubernetes has to remember of the group: the targets that are ours.
// In a shared group those that are about to be count as well, and while a call is under
// way, or lists may not show yet what was called, nothing is forgotten. So a target of
// ours is in the journal for as long as it may be registered.
func (p Plan) Remember(have Observation, busy bool) target.Set {
	if !p.Wanted.Shared {
		return have.Ours
	}
	ours := have.Ours.Union(Keys(p.Announce, p.Register))
	if busy {
		ours = ours.Union(have.Journal)
	}
	return ours
}

// Keys are those of the targets in lists of changes.
func Keys(lists ...[]Change) target.Set {
	var keys []target.Key
	for _, change := range slices.Concat(lists...) {
		keys = append(keys, change.Key)
	}
	return target.SetOf(keys...)
}
