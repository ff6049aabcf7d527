package plan

import "github.com/targetgroupcontroller/targetgroupcontroller/internal/target"

// Remember is what Kubernetes has to remember of the group: the targets that are ours.
// In a shared group those that are about to be count as well, and while a call is under
// way, or lists may not show yet what was called, nothing is forgotten. So a target of
// ours is in the journal for as long as it may be registered.
func (p Plan) Remember(have Observation, busy bool) target.Set {
	if !p.Wanted.Shared {
		return have.Ours
	}
	ours := have.Ours.Union(keysOf(p.Announce)).Union(keysOf(p.Register))
	if busy {
		ours = ours.Union(have.Journal)
	}
	return ours
}

func keysOf(changes []Change) target.Set {
	list := make([]target.Key, len(changes))
	for i, change := range changes {
		list[i] = change.Key
	}
	return target.SetOf(list...)
}
