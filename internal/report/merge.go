package report

import (
	"fmt"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Part is the report on a binding as far as it is about one of several groups.
type Part struct {
	Group   target.ARN
	Binding Binding
}

// Merge reports on a binding that means several groups. Counts are sums: a pod in two
// groups counts twice. The conditions are those of the first group, as the parts are
// ordered, in which something is amiss. Trouble, unless it is zero, is what is amiss
// with the binding as a whole, and comes before.
func Merge(parts []Part, trouble Condition) Binding {
	merged := Binding{
		Counted: len(parts) > 0, Held: Condition{Reason: target.Synced, Message: "no target is held"},
		Ready: Condition{True: true, Reason: target.Synced},
	}
	for _, part := range parts {
		merged.Counted = merged.Counted && part.Binding.Counted
		merged.Counts.add(part.Binding.Counts)
		merged.Ready = graver(merged.Ready, part.Binding.Ready, part.Group)
		if held := part.Binding.Held; held.True && !merged.Held.True {
			merged.Held = inGroup(part.Group, held)
		}
	}
	if merged.Ready.True {
		merged.Ready.Message = fmt.Sprintf("%s in %d target groups, %d healthy",
			targets(merged.Counts.Registered), len(parts), merged.Counts.Healthy)
	}
	if trouble != (Condition{}) {
		merged.Ready = trouble
	}
	return merged
}

// graver is the condition of a group if something is amiss in it and nothing was
// before. That calls are under way is the least of what can be.
func graver(before, now Condition, group target.ARN) Condition {
	known := !before.True && before.Reason != target.Syncing
	if now.True || known || !before.True && now.Reason == target.Syncing {
		return before
	}
	return inGroup(group, now)
}

// inGroup names the group that a condition is about.
func inGroup(group target.ARN, c Condition) Condition {
	c.Message = "target group " + group.Name + ": " + c.Message
	return c
}

func (c *Counts) add(other Counts) {
	c.Desired += other.Desired
	c.Registered += other.Registered
	c.Healthy += other.Healthy
	c.Draining += other.Draining
	c.Held += other.Held
}
