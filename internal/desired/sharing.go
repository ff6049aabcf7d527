package desired

import (
	"fmt"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// eldestOf is the binding that was declared first of those that stay in the group, or of
// all if none does; zero if there is none.
func eldestOf(bindings []Binding) Binding {
	var first Binding
	for i, binding := range bindings {
		if i == 0 || binding.elder(first) {
			first = binding
		}
	}
	return first
}

func (b Binding) elder(other Binding) bool {
	if b.ends() != other.ends() {
		return other.ends()
	}
	if order := b.Created.Compare(other.Created); order != 0 {
		return order < 0
	}
	return b.ID.Compare(other.ID) < 0
}

// conflict tells that a binding and the eldest one disagree on whether the group is
// shared. To have one's way would take out the targets of others, or leave those of
// ours, so the newer binding is refused.
func conflict(binding, eldest Binding) *Problem {
	has := map[bool]string{true: "shares the group with other clusters", false: "has the group to itself"}
	return &Problem{binding.ID, target.SharingConflict, fmt.Sprintf(
		"multiClusterTargetGroup is %t, but the older binding %s %s: set it to %t, or in both; no target is deregistered meanwhile",
		binding.Shared, eldest.ID, has[eldest.Shared], eldest.Shared)}
}
