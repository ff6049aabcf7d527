package model

import (
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Change is one step in the life of a target, stamped with the moment it fell due.
type Change struct {
	At     time.Time
	Group  string // ARN
	Target target.Target
	// Serial tells registrations of one key apart; a later one has a larger number.
	Serial uint64
	// State is what the target is from At on; empty: it is gone.
	State target.State
}

// KeepChanges makes the World remember every change of a target from now on,
// until TakeChanges fetches it.
func (w *World) KeepChanges() { w.keepChanges = true }

// TakeChanges hands out, in order and each once, the changes up to now.
func (w *World) TakeChanges(now time.Time) []Change {
	w.advance(now)
	taken := w.changes
	w.changes = nil
	return taken
}

// tell remembers a change for whoever asked for it.
func (w *World) tell(r *record, at time.Time) {
	if w.keepChanges {
		w.changes = append(w.changes, Change{At: at, Group: r.group.arn, Target: r.target, Serial: r.serial, State: r.health.State})
	}
}
