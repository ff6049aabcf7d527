package sidecar

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// found is what is known of the pod's part in a group.
type found struct {
	group target.Group
	key   target.Key
	// state tells in a sentence how things are, and failed that somebody should know.
	state  string
	failed bool
	// earlier: an earlier process of the pod registered the target, so that what is
	// listed of it is about this pod.
	earlier bool
	// absent: there is no group that the pod could be in.
	absent bool
	// registered: AWS lists the target. InService: and finds it healthy, or did so in
	// this stay.
	registered, inService bool
	// lostAt is when the group was found to be gone that held the target.
	lostAt time.Time
	// delay is the deregistration delay, nil until it was read.
	delay        *time.Duration
	delayUnknown bool // the last attempt to read it failed
	// askDelay is when to ask for the delay, unless the pod leaves before.
	askDelay time.Time
	// warned is the least grace period that was asked for.
	warned time.Duration
}

func (f *found) hold(set *time.Duration) time.Duration {
	return drain.Of(drain.Settings{Mode: drain.Hold, Hold: set}, drain.Group{
		Known: !f.group.ARN.IsZero(), Application: f.group.Application(), Delay: f.delay,
	}).Hold
}

// take takes in what a round found, and tells what is new.
func (m *member) take(round elb.Round) {
	group, key := m.mine()
	m.tellChanges(group, key, round.Outcome)
	lost := slices.ContainsFunc(round.Outcome.Failures, func(f plan.Failure) bool { return f.Reason == target.TargetGroupNotFound })
	if lost {
		m.directory.Doubt(m.ref)
	}
	in := report.Input{
		Group: group, Bindings: []desired.BindingID{binding}, Have: round.Have, Plan: round.Plan, Outcome: round.Outcome,
	}
	gates := report.Gates(in)
	healthy := len(gates) > 0 && gates[0].True
	state, failed := describe(in, round.Known, gates, key)
	m.note(func(f *found) {
		f.state, f.failed, f.absent = state, failed, false
		f.registered = has(round.Plan.Stay, key)
		f.noteLost(lost, round.Known)
		if healthy {
			f.inService = true
			f.askDelay = time.Now().Add(m.sidecar.cfg.Sweep/2 + rand.N(m.sidecar.cfg.Sweep))
		}
	})
}

// describe tells in a sentence how the pod's target stands, and whether something
// failed that somebody should know.
func describe(in report.Input, known bool, gates []report.Gate, key target.Key) (state string, failed bool) {
	ready, group := report.Of(in)[0].Ready, in.Group.ARN.Name
	switch {
	case !ready.True:
		return fmt.Sprintf("%s: %s", ready.Reason, ready.Message), ready.Reason != target.Syncing
	case !known:
		return fmt.Sprintf("%s: target group %s is being listed", target.Syncing, group), false
	case len(gates) > 0:
		return fmt.Sprintf("%s: %s", gates[0].Reason, gates[0].Message), false
	case has(in.Plan.Held, key):
		return fmt.Sprintf("%s: target %s of %s stays until another is healthy, as long as the grace period allows", target.LastHealthyTarget, key, group), false
	case has(in.Plan.Stay, key):
		return fmt.Sprintf("%s: target %s of %s is registered", target.Registered, key, group), false
	}
	return fmt.Sprintf("%s: target %s of %s is not registered", target.NotRegistered, key, group), false
}

func has(changes []plan.Change, key target.Key) bool {
	return slices.ContainsFunc(changes, func(c plan.Change) bool { return c.Key == key })
}

// noteLost notes when the group was found to be gone, as long as it is.
func (f *found) noteLost(lost, known bool) {
	switch {
	case lost && f.lostAt.IsZero():
		f.lostAt = time.Now()
	case known:
		f.lostAt = time.Time{}
	}
}

// note changes what is known, logs what is new to people, and rouses the sidecar.
func (m *member) note(change func(*found)) {
	m.mu.Lock()
	change(&m.found)
	now := m.found
	news := now.state != m.told
	m.told = now.state
	m.mu.Unlock()
	if news {
		log := m.sidecar.log.Info
		if now.failed {
			log = m.sidecar.log.Warn
		}
		log("Target group", "group", m.ref.String(), "state", now.state)
	}
	m.sidecar.metrics.InService(m.ref.String(), now.inService && now.registered)
	m.sidecar.changed()
}

// tellChanges logs the calls that AWS accepted.
func (m *member) tellChanges(group target.Group, key target.Key, outcome plan.Outcome) {
	for _, change := range outcome.Registered {
		if change.Reason == target.Drift {
			m.sidecar.log.Warn("Somebody deregistered the target: it is registered again", "group", group.ARN.String(), "target", key.String(), "reason", string(change.Reason))
			continue
		}
		m.sidecar.log.Info("Registered", "group", group.ARN.String(), "target", key.String(), "zone", change.Zone)
	}
	for range outcome.Deregistered {
		m.sidecar.log.Info("Deregistered", "group", group.ARN.String(), "target", key.String())
	}
}
