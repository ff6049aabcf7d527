package sidecar

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const (
	// fresh is how long what AWS tells of a group is believed: its type never changes,
	// and what else is of interest hardly ever.
	fresh = time.Hour
	// ripensAtMost bounds the time after its registration at which a target is first
	// looked at.
	ripensAtMost = 10 * time.Second
)

// self stands for the pod in plans, which are made for nobody else.
var (
	self    = desired.PodRef{Name: "self", UID: "self"}
	binding = desired.BindingID{Name: "self"}
)

// member keeps the pod in line with one target group.
type member struct {
	ref       target.Ref
	sidecar   *Sidecar
	directory *elb.Directory
	delays    *elb.Delays
	account   *elb.Account
	wake      chan struct{}

	mu    sync.Mutex
	found found
	// syncer is nil until the group is known.
	syncer *elb.Syncer
	// told is what was last said about the member, so that nothing is said twice.
	told string
}

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

// run keeps the pod in line until ctx ends.
func (m *member) run(ctx context.Context) {
	for ctx.Err() == nil {
		timer := time.NewTimer(time.Until(m.step(ctx)))
		select {
		case <-m.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	if s := m.current(); s != nil {
		s.Wait()
	}
}

func (m *member) current() *elb.Syncer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.syncer
}

func (m *member) rouse() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// step does what is due and tells when to step again.
func (m *member) step(ctx context.Context) time.Time {
	answer := m.directory.Look(ctx, m.ref)
	switch known := m.current() != nil; {
	case !answer.Known:
		return soonest()
	case answer.Err != nil && !known:
		m.unfound(answer.Err)
		return soonest(answer.Next)
	case answer.Err == nil:
		if err := m.settle(answer.Group); err != nil {
			m.note(func(f *found) { f.state, f.failed, f.absent = err.Error(), true, true })
			return soonest(answer.Next)
		}
	}
	m.remember()
	round := m.current().Step(ctx)
	m.take(round)
	return soonest(round.Next, answer.Next, m.lookAtDelay(ctx))
}

// remember notes that the target is about to be registered.
func (m *member) remember() {
	if m.sidecar.aimed().verdict == desired.Want {
		group, key := m.mine()
		m.sidecar.registering(group.ARN, key)
	}
}

// unfound takes in that the group could not be described.
func (m *member) unfound(err *elb.Error) {
	m.note(func(f *found) {
		f.state, f.failed, f.absent = fmt.Sprintf("%s: %s", err.Kind.Reason(), err.Failure()), true, err.Kind == elb.GroupNotFound
	})
}

// settle takes in which group it is. One that bears the name of an earlier group and
// is another gets a Syncer of its own. Only run calls it.
func (m *member) settle(group target.Group) error {
	key, err := m.sidecar.cfg.keyIn(group)
	if err != nil {
		return err
	}
	before, at := m.mine()
	syncer := m.current()
	switch {
	case syncer != nil && before.ARN == group.ARN && at == key:
		m.mu.Lock()
		m.found.group = group
		m.mu.Unlock()
		return nil
	case syncer != nil && !syncer.Idle():
		return nil // the end of the call rouses
	}
	ours := m.sidecar.ours(group.ARN)
	syncer = elb.NewSyncer(elb.SyncerConfig{
		Account: m.account, Group: group.ARN, Ours: ours,
		Plan: func(have plan.Observation) (plan.Plan, bool) { return m.plan(group, key, have), true },
		Wake: m.rouse, Sweep: m.sidecar.cfg.Sweep, Accepted: m.sidecar.metrics.Accepted,
		OneOfMany: true, Ripens: ripens(group),
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.syncer = syncer
	m.found = found{group: group, key: key, earlier: ours.Has(key)}
	return nil
}

// ripens is how long after its registration a target of the group can be expected to
// turn healthy: half the checks' interval on average, after the first of which an
// Application Load Balancer is content.
func ripens(group target.Group) time.Duration {
	return min(group.Check.Interval/2, ripensAtMost)
}

// keyIn is the pod's target in a group.
func (s *Settings) keyIn(group target.Group) (target.Key, error) {
	if group.Type != target.TypeIP {
		return target.Key{}, fmt.Errorf("%s: target group %s is of type %s: pods can be registered in groups of type ip only", target.TargetTypeMismatch, group.ARN.Name, group.Type)
	}
	i := slices.IndexFunc(s.Addrs, func(addr netip.Addr) bool { return target.FamilyOf(addr) == group.Family })
	if i < 0 {
		return target.Key{}, fmt.Errorf("%s: target group %s takes %s addresses, and the pod has %v: give --target-id one of each family (env POD_IPS from the field status.podIPs)", target.AddressFamilyMismatch, group.ARN.Name, group.Family, s.Addrs)
	}
	port := s.Port
	if port == 0 {
		port = group.Port
	}
	return target.Key{Addr: s.Addrs[i], Port: port}, nil
}

// plan decides about the pod's target, and holds all others.
func (m *member) plan(group target.Group, key target.Key, have plan.Observation) plan.Plan {
	aim := m.sidecar.aimed()
	candidate := desired.Candidate{
		Key: key, Verdict: aim.verdict, Reason: aim.reason, Pod: self, Bindings: []desired.BindingID{binding}, Since: aim.since,
	}
	wanted := desired.Wanted{Candidates: []desired.Candidate{candidate}, HoldOthers: target.NotOurs}
	policy := plan.Policy{FailsWithin: group.Check.FailsWithin()}
	if aim.verdict == desired.Leave {
		policy.Drain = m.leastHold() + drain.Margin // which is for the call
		wanted.Candidates[0].ServesUntil = aim.until
	} else if !m.inService() {
		wanted.Candidates[0].Reason = target.GatePending
		wanted.Gated = []desired.Gated{{
			Pod: self, Binding: binding, Since: aim.since, Targets: []target.Key{key}, Gate: m.gate(),
		}}
	}
	return plan.Make(wanted, have, policy, time.Now())
}

// gate is the gate at which the pod waits in plans.
func (m *member) gate() desired.Gate {
	m.mu.Lock()
	defer m.mu.Unlock()
	gate := desired.Gate{Type: "InService", Ours: true}
	if m.found.earlier {
		gate.Reason = "Elb.RegistrationInProgress" // as AWS said of this pod's own target
	}
	return gate
}

func (m *member) inService() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found.inService
}

// hold is for how long after its deregistration the pod serves on.
func (m *member) hold() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found.hold(m.sidecar.cfg.Hold)
}

// leastHold is the same, but the least that it can be while the group's delay is being
// read, so that the last healthy target is not let go before it is known what time
// there is.
func (m *member) leastHold() time.Duration {
	m.mu.Lock()
	f := m.found
	m.mu.Unlock()
	if f.delay == nil && !f.delayUnknown {
		f.delay = new(time.Duration)
	}
	return f.hold(m.sidecar.cfg.Hold)
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

func (m *member) mine() (target.Group, target.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found.group, m.found.key
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

// lookAtDelay asks for the group's deregistration delay once it is time, and tells when
// to look again. It takes its time while the pod stays: what AWS can be asked is scarce
// while many start.
func (m *member) lookAtDelay(ctx context.Context) time.Time {
	group, _ := m.mine()
	leaving := m.sidecar.aimed().verdict == desired.Leave
	m.mu.Lock()
	at := m.found.askDelay
	m.mu.Unlock()
	if m.sidecar.cfg.Hold != nil || !leaving && (at.IsZero() || time.Now().Before(at)) {
		return at
	}
	known, again := m.delays.Look(ctx, group.ARN)
	m.mu.Lock()
	failed := known.Err != nil && !m.found.delayUnknown
	first := known.Known && m.found.delay == nil
	m.found.delayUnknown = known.Err != nil
	if known.Known {
		m.found.delay = &known.Value
	}
	m.mu.Unlock()
	if failed || first {
		m.rouse() // what is planned may depend on it
	}
	if failed {
		m.sidecar.log.Warn("The deregistration delay could not be read, and AWS's default is assumed", "group", group.ARN.String(), "reason", string(target.DrainDefaults), "error", known.Err.Error())
	}
	if known.Known {
		m.sidecar.changed()
		m.checkGrace()
	}
	return again
}

// checkGrace warns if the grace period is too short for the group.
func (m *member) checkGrace() {
	group, _ := m.mine()
	hold := m.hold()
	least := hold + m.sidecar.cfg.Shutdown + drain.Margin
	m.mu.Lock()
	warned := m.found.warned == least
	m.found.warned = least
	m.mu.Unlock()
	if !warned && m.sidecar.cfg.Grace < least {
		m.sidecar.log.Warn("The grace period is too short for the load balancer to stop sending requests before the pod stops",
			"group", group.ARN.String(), "hold", hold.String(), "grace", m.sidecar.cfg.Grace.String(),
			"remedy", fmt.Sprintf("set terminationGracePeriodSeconds of the pod to %d or more, and --grace-period to the same", int(least.Seconds())))
	}
}

// rejoin forgets what belongs to the stay that is over.
func (m *member) rejoin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.found.inService = false
}

// departure tells how far the group is from letting go of the pod: told is false while
// that is not known, and nil stands for a group that does not hold it.
func (m *member) departure() (d *drain.Departure, told bool) {
	m.mu.Lock()
	f, syncer := m.found, m.syncer
	m.mu.Unlock()
	hold := f.hold(m.sidecar.cfg.Hold)
	switch {
	case syncer == nil:
		return nil, f.absent
	case !f.lostAt.IsZero():
		return &drain.Departure{Accepted: f.lostAt, Hold: hold}, true
	}
	standing := syncer.Standing(func(key target.Key) bool { return key == f.key })
	switch {
	case !standing.Known:
		return nil, false
	case standing.Registered:
		return &drain.Departure{Hold: hold}, true
	case !standing.Left.IsZero():
		return &drain.Departure{Accepted: standing.Left, Hold: hold}, true
	}
	return nil, true
}

// soonest is the soonest of some times that are to come. What was due before now is
// being asked for, and its answer rouses.
func soonest(times ...time.Time) time.Time {
	now := time.Now()
	at := now.Add(fresh)
	for _, t := range times {
		if t.After(now) && t.Before(at) {
			at = t
		}
	}
	return at
}
