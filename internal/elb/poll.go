package elb

import (
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// The bounds of how often a group is listed while a gate waits for it.
const (
	pollAtMost  = time.Second
	pollBefore  = 4 * time.Second // while none of the group was ever healthy so soon
	pollAtLeast = 15 * time.Second

	// turn is what one of many programs leaves to each of the others that wait: all
	// together they take about two of the account's ten describe calls a second.
	turn = 600 * time.Millisecond
	// sweepTurn is how many times longer that is where nothing is known to change.
	sweepTurn = 2
)

// poll is a wish to list the group: at a moment, with an urgency.
type poll struct {
	at       time.Time
	priority pace.Priority
}

// observeAt tells when the group is to be listed next, and how urgent that is. One
// list tells of all targets and costs the account one token, so the soonest wish
// is everybody's. When tokens are scarce, groups take turns: a list that waits for
// its token is made when it has it, and tells what is so then.
func (s *Syncer) observeAt(p plan.Plan) poll {
	retryAt := s.lanes[Observe].retryAt
	if !s.mirror.known() {
		return poll{retryAt, pace.Register}
	}
	sweep := poll{s.mirror.listedAt.Add(max(s.sweepIn, sweepTurn*s.others())), pace.Sweep}
	if s.mirror.unseen(p).Len() > 0 {
		sweep.at = earlier(sweep.at, s.mirror.seesAll())
	}
	for _, wish := range []func(plan.Plan) time.Time{s.pollForGates, s.pollForHeld} {
		if at := wish(p); !at.IsZero() {
			at = later(at, s.mirror.listedAt.Add(s.others(target.Initial, target.Unhealthy)))
			return poll{later(retryAt, earlier(at, sweep.at)), pace.HealthPoll}
		}
	}
	if s.cfg.OneOfMany {
		return poll{later(retryAt, sweep.at), pace.Sweep}
	}
	return poll{later(retryAt, earlier(s.pollForCounts(p), sweep.at)), pace.Sweep}
}

// others is what one of many leaves to those whose targets are in one of the states; to
// all, if none is named.
func (s *Syncer) others(states ...target.State) time.Duration {
	if !s.cfg.OneOfMany {
		return 0
	}
	n := 0
	for _, observed := range s.mirror.listed {
		if len(states) == 0 || slices.Contains(states, observed.Health.State) {
			n++
		}
	}
	return time.Duration(n) * s.turn
}

// pollForGates is when the first of the pods that wait for their targets' health
// wants to know; zero if none waits.
func (s *Syncer) pollForGates(p plan.Plan) time.Time {
	var soonest time.Time
	for _, gate := range p.Gates {
		if gate.Open || !gate.Listed() {
			continue
		}
		since := gate.Since
		if past := s.mirror.past[gate.Target]; past.Pod == gate.Pod.UID {
			since = past.Accepted
		}
		looked := later(s.mirror.listedAt, since)
		at := looked.Add(s.pollEvery(looked.Sub(since)))
		if gate.Reason == target.HealthUnconfirmed {
			at = s.pollInDoubt(gate, looked, since)
		}
		soonest = earlier(soonest, at)
	}
	return soonest
}

// pollInDoubt is when to look for a pod whose target was somebody else's: at once
// after its registration, since a target that is seen not to be healthy is its own
// from then on, and when the doubt ends.
func (s *Syncer) pollInDoubt(gate plan.Gate, looked, since time.Time) time.Time {
	if s.mirror.listedAt.Before(since) {
		return since
	}
	at := looked.Add(pollSeldom(looked.Sub(since)))
	if gate.After.After(looked) {
		return earlier(at, gate.After)
	}
	return at
}

// pollEvery tells how long after a look at a target that waits for so long the next is
// due: when others of the group turned healthy, and about every second from then on.
// Before, a look is wasted as a rule, and there are others who need the token. Apart
// from that looks are ever more seldom, so that what is found out is late by an eighth
// of the wait at most.
func (s *Syncer) pollEvery(waited time.Duration) time.Duration {
	seldom := pollSeldom(waited)
	switch ripe := s.ripens.after; {
	case waited < ripe && s.cfg.OneOfMany:
		return ripe - waited
	case s.cfg.OneOfMany:
	case waited < ripe:
		return min(ripe-waited, max(seldom, pollBefore))
	case waited < ripe*3/2:
		return pollAtMost
	}
	return seldom
}

func pollSeldom(waited time.Duration) time.Duration {
	return min(max(waited/8, pollAtMost), pollAtLeast)
}

// ripening is how long after their registration the targets of a group turn healthy:
// long enough for two of three to be so. The zero value knows nothing.
type ripening struct{ after time.Duration }

// note takes in that a target was seen healthy after ripe and, if sick is above zero,
// not to be so after sick.
func (r *ripening) note(sick, ripe time.Duration) {
	switch {
	case r.after == 0:
		r.after = (max(sick, 0) + ripe) / 2
	case sick >= r.after: // looked at too early
		r.after += min(r.after/8, ripe-r.after)
	case ripe >= r.after:
		r.after -= r.after / 16
	default:
		r.after = ripe
	}
}

// noteRipe learns from the targets whose gates open, but not from those whose pods
// took their time.
func (s *Syncer) noteRipe(round Round) {
	for _, gate := range round.Plan.Gates {
		past := s.mirror.past[gate.Target]
		if gate.Open && gate.Reason == target.TargetHealthy && past.Pod == gate.Pod.UID && !past.Failed {
			s.ripens.note(past.Sick.Sub(past.Accepted), s.mirror.listedAt.Sub(past.Accepted))
		}
	}
}

// pollForHeld is when to look for the healthy target until which a terminating one
// is held; zero if none is.
func (s *Syncer) pollForHeld(p plan.Plan) time.Time {
	if !slices.ContainsFunc(p.Held, func(c plan.Change) bool { return c.Reason == target.LastHealthyTarget }) {
		return time.Time{}
	}
	return s.mirror.listedAt.Add(s.grown())
}

// pollForCounts is when to look at what nobody waits for, so that the counts that
// people see are true; zero if nothing is about to change.
func (s *Syncer) pollForCounts(p plan.Plan) time.Time {
	switch {
	case s.any(p.Stay, target.Initial):
		return s.mirror.listedAt.Add(s.grown())
	case s.any(slices.Concat(p.Stay, p.Held), target.Unhealthy):
		return s.mirror.listedAt.Add(15 * time.Second)
	}
	for _, observed := range s.mirror.listed {
		if observed.Health.State.Leaving() {
			return s.mirror.listedAt.Add(30 * time.Second)
		}
	}
	return time.Time{}
}

// grown is a pause that grows with the lists since something last changed.
func (s *Syncer) grown() time.Duration { return min(time.Second<<min(s.polls/2, 8), pollAtLeast) }

// any tells whether one of the targets is in a state.
func (s *Syncer) any(changes []plan.Change, state target.State) bool {
	return slices.ContainsFunc(changes, func(c plan.Change) bool { return s.mirror.listed[c.Key].Health.State == state })
}
