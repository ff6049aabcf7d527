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
	pollAtLeast = 15 * time.Second
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
	sweep := poll{s.mirror.listedAt.Add(s.sweepIn), pace.Sweep}
	for _, wish := range []func(plan.Plan) time.Time{s.pollForGates, s.pollForHeld} {
		if at := wish(p); !at.IsZero() {
			return poll{later(retryAt, earlier(at, sweep.at)), pace.HealthPoll}
		}
	}
	return poll{later(retryAt, earlier(s.pollForCounts(p), sweep.at)), pace.Sweep}
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
		soonest = earlier(soonest, s.mirror.listedAt.Add(s.pollEvery(s.mirror.listedAt.Sub(since))))
		if gate.After.After(s.mirror.listedAt) {
			soonest = earlier(soonest, gate.After)
		}
	}
	return soonest
}

// pollEvery tells how often to look at a target that waits for so long: about once a
// second in the beginning and when others of the group turned healthy, else ever
// more seldom, so that what is found out is late by an eighth of the wait at most.
func (s *Syncer) pollEvery(waited time.Duration) time.Duration {
	if s.ripens > 0 && waited > s.ripens*3/4 && waited < s.ripens*3/2 {
		return pollAtMost
	}
	return min(max(waited/8, pollAtMost), pollAtLeast)
}

// noteRipe remembers how long it takes in this group until a target is healthy.
func (s *Syncer) noteRipe(round Round) {
	for _, gate := range round.Plan.Gates {
		past := s.mirror.past[gate.Target]
		if gate.Open && gate.Reason == target.TargetHealthy && past.Pod == gate.Pod.UID {
			s.ripens = s.mirror.listedAt.Sub(past.Accepted)
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
