package elb

import (
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Standing is how those targets of a group stand that somebody asks for.
type Standing struct {
	// Known is false while the group was never listed.
	Known bool
	// Registered: one of them is registered, or may be, or is about to be.
	Registered bool
	// Left is when the last of them was deregistered, or since when at the latest it
	// is known to be; zero if none was within the last hour. It bears the monotonic
	// reading of this process.
	Left time.Time
	// Failure is why they are still registered, or why it is not known whether they
	// are; nil if nothing failed.
	Failure *plan.Failure
}

// Standing tells how the targets stand that match. Calls under way count as done
// where that is the more careful.
func (s *Syncer) Standing(match func(target.Key) bool) Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := Standing{Known: s.mirror.known(), Failure: s.lanes[Observe].failure}
	if found.Known {
		found.Failure = s.lanes[Deregister].failure
	}
	for key, observed := range s.mirror.listed {
		if match(key) && !observed.Health.State.Leaving() {
			found.Registered = true
		}
	}
	for key := range s.mirror.uncertain {
		found.Registered = found.Registered || match(key)
	}
	for _, key := range s.lanes[Register].flying.Keys() {
		found.Registered = found.Registered || match(key)
	}
	for key, at := range s.mirror.left {
		if match(key) && at.After(found.Left) {
			found.Left = at
		}
	}
	return found
}
