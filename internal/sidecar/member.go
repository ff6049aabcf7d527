package sidecar

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
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

func (m *member) mine() (target.Group, target.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found.group, m.found.key
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
