package routing

import "github.com/targetgroupcontroller/targetgroupcontroller/internal/target"

// Policy is what a group's attributes say about who gets traffic.
type Policy struct {
	// CrossZone: a node sends to targets of other zones as well.
	CrossZone bool
	// MinCount and MinPercent, of the registered targets, are how many have to be
	// healthy; with fewer the load balancer fails open. Less than one healthy
	// target is always too few.
	MinCount, MinPercent int
}

func (p Policy) failsOpen(healthy, registered int) bool {
	return healthy < max(p.MinCount, 1) || healthy*100 < p.MinPercent*registered
}

// Eligible picks those of entries that may get something new: the healthy ones; if
// they are too few, all that are registered (fail-open). A zone leaves out targets
// that stand in another, and they count for nothing.
func Eligible(entries []Entry, zone string, policy Policy) (eligible []Entry, failsOpen bool) {
	var healthy, registered []Entry
	for _, e := range entries {
		if zone != "" && e.Zone != zone && e.Zone != "all" {
			continue
		}
		switch e.State {
		case target.Healthy:
			healthy = append(healthy, e)
			registered = append(registered, e)
		case target.Initial, target.Unhealthy, target.Unavailable:
			registered = append(registered, e)
		}
	}
	if policy.failsOpen(len(healthy), len(registered)) {
		return registered, true
	}
	return healthy, false
}
