package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Departure is what there is to say of a pod that leaves and one of its target groups.
type Departure struct {
	// Group is the name of the group, or of the binding whose group is not known.
	Group string
	// Registered: the group has not let go of the pod. Reason and Message tell why, and
	// are empty while it is only a matter of time.
	Registered bool
	Reason     target.Reason
	Message    string
	// After is how long after the deletion of the pod the group let go of it; negative
	// if it was before.
	After time.Duration
}

// Leaving tells how far a pod is on its way out that is held for some time after the
// last group has let go of it.
func Leaving(departures []Departure, hold time.Duration) Condition {
	if len(departures) == 0 {
		return Condition{True: true, Reason: target.NotRegistered, Message: "In no target group, no need to hold"}
	}
	condition := Condition{True: true, Reason: target.Deregistered}
	var gone, left []string
	for _, d := range departures {
		switch {
		case !d.Registered:
			gone = append(gone, d.Group+" "+after(d.After))
			continue
		case d.Reason == "":
			d.Reason = target.Syncing
		}
		if condition.True || condition.Reason == target.Syncing {
			condition = Condition{Reason: d.Reason}
		}
		left = append(left, fmt.Sprintf("%s (%s)", d.Group, cmp.Or(d.Message, string(d.Reason))))
	}
	slices.Sort(gone)
	slices.Sort(left)
	var parts []string
	if len(gone) > 0 {
		parts = append(parts, "deregistered from "+strings.Join(slices.Compact(gone), ", "))
	}
	if len(left) > 0 {
		parts = append(parts, "still registered in "+strings.Join(slices.Compact(left), ", "))
	} else {
		parts = append(parts, fmt.Sprintf("holding %d s", int(hold.Seconds())))
	}
	condition.Message = capital(strings.Join(parts, ", "))
	return condition
}

// after says how long after the deletion something was.
func after(d time.Duration) string {
	switch {
	case d < 0:
		return "before the deletion"
	case d < time.Second:
		return fmt.Sprintf("after %d ms", d.Milliseconds())
	}
	return fmt.Sprintf("after %.1f s", d.Seconds())
}

// capital makes a sentence begin as one.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
