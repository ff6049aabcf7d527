package report

import (
	"fmt"
	"slices"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Event is something that happened to a binding.
type Event struct {
	Warning bool
	Reason  target.Reason
	Message string
}

// Events tells what happened to a binding in a round: what was registered and
// deregistered, and which of its conditions changed for the worse since
// previous. A round in which nothing happened has no events.
func Events(previous, current Binding, outcome plan.Outcome) []Event {
	mine := func(change plan.Change) bool {
		return len(change.Bindings) == 0 || slices.Contains(change.Bindings, current.ID)
	}
	registered, returned := split(outcome.Registered, mine, target.Drift)
	deregistered, strangers := split(outcome.Deregistered, mine, target.Unexplained)
	events := slices.Concat(
		tell(Event{Reason: target.Registered, Message: "Registered"}, registered),
		tell(Event{Reason: target.Deregistered, Message: "Deregistered"}, deregistered),
		tell(Event{Warning: true, Reason: target.Drift, Message: "Someone else removed, and the controller registered again,"}, returned),
		tell(Event{Warning: true, Reason: target.Drift, Message: "Deregistered what nothing of this cluster explains:"}, strangers),
	)
	if held := current.Held; held.True && held != previous.Held {
		events = append(events, Event{Warning: true, Reason: target.Held, Message: held.Message})
	}
	if ready := current.Ready; !ready.True && ready.Reason != target.Syncing && ready != previous.Ready {
		events = append(events, Event{Warning: true, Reason: ready.Reason, Message: ready.Message})
	}
	return events
}

// split parts the changes that are mine into others and those of the reason.
func split(changes []plan.Change, mine func(plan.Change) bool, reason target.Reason) (others, of []plan.Change) {
	for _, change := range changes {
		switch {
		case !mine(change):
		case change.Reason == reason:
			of = append(of, change)
		default:
			others = append(others, change)
		}
	}
	return others, of
}

func tell(event Event, changes []plan.Change) []Event {
	if len(changes) == 0 {
		return nil
	}
	event.Message = fmt.Sprintf("%s %s: %s", event.Message, targets(len(changes)), list(changes))
	return []Event{event}
}
