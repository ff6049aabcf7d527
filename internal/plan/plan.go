// Package plan decides which calls bring a target group into line.
//
//	wanted   observed      target of ours   not explained
//	-------  ------------  ---------------  -----------------------------
//	Want     absent        Register         Register
//	Want     draining      Register         Register
//	Want     present       Stay             Stay
//	Keep     present       Held             Held
//	Leave    present       Deregister       Deregister    (1)
//	-        present       Deregister (2)   Deregister    (2) (3)
//	other    absent        nothing          nothing
//	Want     uncertain     Register         Register
//	other    uncertain     Deregister (2)   Deregister
//
//	(1) Held while it serves and is the only healthy target, if others come or the
//	    binding gives it the time to wait for others.
//	(2) Held while a binding of the group cannot be understood.
//	(3) Held while such targets are not a minority of the group.
//
// In a group that is shared with other clusters, targets that are not ours are Foreign
// and left alone, and a target is announced, that is written into the journal, before it
// is registered. So whatever we registered is known to be ours after any crash.
//
// Make is pure: the same arguments give the same plan, whatever their order,
// and the plan of an applied plan is empty.
package plan

import (
	"net/netip"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Plan is what to do about a group. All lists are ordered by key, and no key is
// in two of them.
type Plan struct {
	// Wanted is what the plan was made for.
	Wanted desired.Wanted
	// Register are wanted targets to be added.
	Register []Change
	// Announce are wanted targets to be added once the journal names them; none
	// unless the group is shared.
	Announce []Change
	// Deregister are unwanted targets to be taken out.
	Deregister []Change
	// Stay are wanted targets that are registered.
	Stay []Change
	// Held are unwanted targets that a guard leaves in.
	Held []Change
	// Foreign are the targets of others in a shared group.
	Foreign []Change
	// LeftOut are wanted targets that AWS would not take.
	LeftOut []Change
	// Gates are the answers to the pods that wait at readiness gates, in the order
	// of Wanted.Gated.
	Gates []Gate
	// Recheck is when the plan may change though nothing else does; zero if never.
	Recheck time.Time
}

// Change is a target with what is to become of it and why.
type Change struct {
	target.Target
	Reason target.Reason
	Pod    desired.PodRef
	// Bindings are those the target belongs to; empty for an unexplained one.
	Bindings []desired.BindingID
	// Since is when the pod became ready or was deleted; zero if unknown.
	Since time.Time
}

// Empty tells whether nothing has to be called.
func (p Plan) Empty() bool { return len(p.Register) == 0 && len(p.Deregister) == 0 }

// Observation is what is known of the group itself.
type Observation struct {
	// Targets is what the load balancer lists, with our own calls since then.
	Targets []target.Observed
	// ListedAt is when that list was asked for.
	ListedAt time.Time
	// Past is what is remembered of how targets came to be registered, and may
	// lack any of them, as after a restart.
	Past map[target.Key]Past
	// Ours are the targets that we registered, or found registered as wanted.
	Ours target.Set
	// Journal are those of which Kubernetes remembers that they are ours, or are about to
	// be. It matters in shared groups only.
	Journal target.Set
	// Uncertain are the targets of calls whose reply was lost. They are called
	// for again, whichever way is wanted, however they are listed.
	Uncertain target.Set
	// Zones are the addresses known to need a zone.
	Zones map[netip.Addr]string
	// Refused are the targets that AWS would not take, with when to try again.
	Refused map[target.Key]Refusal
	// FullUntil is until when the group is taken to be at its quota.
	FullUntil time.Time
}

// Refusal is AWS's refusal of a target.
type Refusal struct {
	Reason target.Reason
	Until  time.Time
}

// Policy is the user's word on how careful to be.
type Policy struct {
	Takeover Takeover
	// Drain is how long before a pod stops serving its deregistration must have
	// been accepted for no request to be lost; zero if the bindings give pods no
	// time for that.
	Drain time.Duration
	// FailsWithin is the longest for which the load balancer may list a target as
	// healthy since the moment from which no health check passes any more.
	FailsWithin time.Duration
}

// Takeover says what becomes of targets that nothing of ours explains.
type Takeover string

// The policies for unexplained targets.
const (
	// Guarded removes unexplained targets only while they are a minority of the
	// group: more of them say that the group is someone else's.
	Guarded Takeover = "Guarded"
	// Confirmed removes them all; the user has said that the group is ours.
	Confirmed Takeover = "Confirmed"
)

// Make decides what to do about a group at the time now.
func Make(wanted desired.Wanted, have Observation, policy Policy, now time.Time) Plan {
	m := maker{have: have, policy: policy, now: now, listed: map[target.Key]target.Observed{}}
	m.plan.Wanted = wanted
	for _, observed := range have.Targets {
		m.listed[observed.Key] = observed
	}
	candidates := map[target.Key]bool{}
	for _, candidate := range wanted.Candidates {
		candidates[candidate.Key] = true
		m.consider(candidate)
	}
	m.answerGates()
	for _, key := range have.Uncertain.Keys() {
		if _, listed := m.listed[key]; !listed {
			m.listed[key] = target.Observed{Target: target.Target{Key: key}}
		}
	}
	var unexplained []Change
	for _, observed := range m.listed {
		if !candidates[observed.Key] && m.mayServe(observed) {
			unexplained = append(unexplained, m.others(observed)...)
		}
	}
	m.takeOver(unexplained)
	m.guardLastHealthy()
	return m.ordered()
}

// mayServe tells whether a target is registered as far as we can tell.
func (m *maker) mayServe(observed target.Observed) bool {
	return !observed.Health.State.Leaving() || m.have.Uncertain.Has(observed.Key)
}

type maker struct {
	have   Observation
	policy Policy
	now    time.Time
	listed map[target.Key]target.Observed
	plan   Plan
	// leaving are the targets to deregister because their pod terminates, with
	// the time until which each may stay.
	leaving map[target.Key]time.Time
}

// consider files a candidate under what is to become of it.
func (m *maker) consider(candidate desired.Candidate) {
	observed, listed := m.listed[candidate.Key]
	uncertain := m.have.Uncertain.Has(candidate.Key)
	registered := listed && !observed.Health.State.Leaving()
	change := Change{
		Target:   target.Target{Key: candidate.Key, Zone: observed.Zone},
		Reason:   candidate.Reason,
		Pod:      candidate.Pod,
		Bindings: candidate.Bindings,
		Since:    candidate.Since,
	}
	switch {
	case candidate.Verdict == desired.Want && registered && !uncertain:
		m.plan.Stay = append(m.plan.Stay, change)
	case candidate.Verdict == desired.Want:
		m.register(change, uncertain)
	case !registered && !uncertain:
	case m.foreign(candidate.Key):
		m.leaveAlone(change)
	case candidate.Verdict == desired.Keep:
		m.plan.Held = append(m.plan.Held, change)
	default:
		m.plan.Deregister = append(m.plan.Deregister, change)
		m.mayStay(candidate)
	}
}

// register files a wanted target that is not registered. If its absence is not
// explained, someone else removed it.
func (m *maker) register(change Change, explained bool) {
	change.Zone = m.have.Zones[change.Addr]
	refusal, refused := m.have.Refused[change.Key]
	switch {
	case refused && m.now.Before(refusal.Until):
		change.Reason = refusal.Reason
		m.plan.LeftOut = append(m.plan.LeftOut, change)
		m.recheck(refusal.Until)
		return
	case m.now.Before(m.have.FullUntil):
		change.Reason = target.TooManyTargets
		m.plan.LeftOut = append(m.plan.LeftOut, change)
		m.recheck(m.have.FullUntil)
		return
	case m.plan.Wanted.Shared && !m.have.Journal.Has(change.Key):
		m.plan.Announce = append(m.plan.Announce, change)
		return
	case m.have.Ours.Has(change.Key) && !explained:
		change.Reason = target.Drift
	}
	m.plan.Register = append(m.plan.Register, change)
}

// foreign tells whether a target that is not wanted is that of others.
func (m *maker) foreign(key target.Key) bool {
	return m.plan.Wanted.Shared && !m.have.Ours.Has(key) && !m.have.Uncertain.Has(key)
}

func (m *maker) leaveAlone(change Change) {
	change.Reason = target.NotOurs
	m.plan.Foreign = append(m.plan.Foreign, change)
}

// others decides about a registered target that is no candidate. It returns the
// target if nothing explains it.
func (m *maker) others(observed target.Observed) []Change {
	change := Change{Target: observed.Target, Reason: target.PodGone}
	if slices.ContainsFunc(m.plan.Wanted.Problems, serviceDeleted) {
		change.Reason = target.ServiceDeleted
	}
	switch {
	case m.foreign(observed.Key):
		m.leaveAlone(change)
	case m.plan.Wanted.HoldOthers != "":
		change.Reason = m.plan.Wanted.HoldOthers
		m.plan.Held = append(m.plan.Held, change)
	case m.have.Ours.Has(observed.Key), m.have.Uncertain.Has(observed.Key):
		m.plan.Deregister = append(m.plan.Deregister, change)
	default:
		change.Reason = target.Unexplained
		return []Change{change}
	}
	return nil
}

func serviceDeleted(p desired.Problem) bool { return p.Reason == target.ServiceDeleted }

// takeOver removes unexplained targets, unless so many of them may be serving
// that the group looks like someone else's. They are weighed against the group
// as it will be, so that carrying out the plan does not change the answer.
func (m *maker) takeOver(unexplained []Change) {
	serving := 0
	for _, change := range unexplained {
		if m.listed[change.Key].Health.State != target.Unhealthy {
			serving++
		}
	}
	total := len(m.plan.Stay) + len(m.plan.Held) + len(m.plan.Register) + serving
	if m.policy.Takeover == Confirmed || 2*serving < total {
		m.plan.Deregister = append(m.plan.Deregister, unexplained...)
		return
	}
	for _, change := range unexplained {
		if m.listed[change.Key].Health.State == target.Unhealthy {
			m.plan.Deregister = append(m.plan.Deregister, change)
			continue
		}
		change.Reason = target.TakeoverUnconfirmed
		m.plan.Held = append(m.plan.Held, change)
	}
}

// mayStay notes until when a terminating pod may stay registered.
func (m *maker) mayStay(candidate desired.Candidate) {
	if candidate.Reason != target.PodTerminating || candidate.ServesUntil.IsZero() {
		return
	}
	if m.leaving == nil {
		m.leaving = map[target.Key]time.Time{}
	}
	until := candidate.ServesUntil.Add(-m.policy.Drain)
	if made := candidate.Since.Add(succeeds); m.plan.Wanted.Successors == desired.NoneComing && made.Before(until) {
		until = made
	}
	m.leaving[candidate.Key] = until
}

// succeeds is how long after the deletion of a pod its successor has been made, if it
// is to have one. Kubernetes does so at once, unless its controllers are just being
// replaced.
const succeeds = 20 * time.Second

// guardLastHealthy holds terminating targets while they are all that is healthy, at
// the longest until each has just the time left that it needs to drain. Pods that were
// not given this time are held only if another target is on its way; those that were
// have it even if nothing is to be seen of another yet. Where pods are known from their
// creation on, as while a node is being started for them, it is known soon that there is
// none: then to hold would only take from a deregistration the time to be late.
func (m *maker) guardLastHealthy() {
	if len(m.leaving) == 0 || m.anotherIsHealthy() || m.policy.Drain == 0 && !m.anotherComes() {
		return
	}
	m.plan.Deregister = slices.DeleteFunc(m.plan.Deregister, func(change Change) bool {
		until, leaving := m.leaving[change.Key]
		if !leaving || !m.healthy(change) || !m.now.Before(until) {
			return false
		}
		change.Reason = target.LastHealthyTarget
		m.plan.Held = append(m.plan.Held, change)
		m.recheck(until)
		return true
	})
}

// anotherIsHealthy tells whether a target that stays is healthy, whosever it is.
func (m *maker) anotherIsHealthy() bool {
	return slices.ContainsFunc(slices.Concat(m.plan.Stay, m.plan.Held, m.plan.Foreign), m.healthy)
}

// anotherComes tells whether a target that stays may become healthy.
func (m *maker) anotherComes() bool {
	return len(m.plan.Stay)+len(m.plan.Register)+len(m.plan.Announce) > 0
}

func (m *maker) healthy(change Change) bool {
	return m.listed[change.Key].Health.State == target.Healthy
}

func (m *maker) recheck(at time.Time) {
	if m.plan.Recheck.IsZero() || at.Before(m.plan.Recheck) {
		m.plan.Recheck = at
	}
}

func (m *maker) ordered() Plan {
	p := m.plan
	for _, changes := range [][]Change{p.Register, p.Announce, p.Deregister, p.Stay, p.Held, p.Foreign, p.LeftOut} {
		slices.SortFunc(changes, func(a, b Change) int { return a.Key.Compare(b.Key) })
	}
	return m.plan
}
