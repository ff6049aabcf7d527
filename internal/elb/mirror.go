package elb

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// rememberLeft is how long a deregistered target is remembered: as long as a binding
// can ask its pod to serve on after it.
const rememberLeft = time.Hour

// fullFor is how long a group that refused a target as one too many is left
// alone, unless targets leave it earlier.
const fullFor = time.Minute

// mirror is what we believe of a group: what was last listed, and the calls we
// made since. It is not safe for concurrent use.
type mirror struct {
	born      time.Time // from when on we know of our own calls
	listed    map[target.Key]target.Observed
	listedAt  time.Time // when the last list was asked for; zero before the first
	wrote     map[target.Key]written
	uncertain map[target.Key]bool
	past      map[target.Key]plan.Past // of targets that are listed
	left      map[target.Key]time.Time // since when at the latest they are deregistered
	ours      target.Set
	zones     map[netip.Addr]string
	fullUntil time.Time
	// refused are the targets that AWS would not register, and would not let go.
	refused [writes]map[target.Key]refusal
	// perCall is how many targets a call may carry. It is halved when AWS
	// refuses a call without naming the target at fault, to find it.
	perCall [writes]int
}

// written is an accepted call about a target that lists may not show yet.
type written struct {
	state target.State // Initial or Draining
	zone  string
	at    time.Time
}

type refusal struct {
	plan.Refusal
	times int
}

func newMirror(ours target.Set) *mirror {
	return &mirror{
		born:      time.Now(),
		listed:    map[target.Key]target.Observed{},
		wrote:     map[target.Key]written{},
		uncertain: map[target.Key]bool{},
		past:      map[target.Key]plan.Past{},
		left:      map[target.Key]time.Time{},
		zones:     map[netip.Addr]string{},
		ours:      ours,
		refused:   [writes]map[target.Key]refusal{{}, {}},
		perCall:   [writes]int{MaxTargetsPerCall, MaxTargetsPerCall},
	}
}

// known tells whether the group was ever listed.
func (m *mirror) known() bool { return !m.listedAt.IsZero() }

// observe takes in a list that was asked for at the time asked.
func (m *mirror) observe(list []target.Observed, asked time.Time) {
	m.listed = make(map[target.Key]target.Observed, len(list))
	m.listedAt = asked
	for _, observed := range list {
		m.listed[observed.Key] = observed
		if observed.Zone == target.ZoneAll {
			m.zones[observed.Addr] = target.ZoneAll
		}
		if state := observed.Health.State; state != target.Healthy && !state.Leaving() {
			past := m.past[observed.Key]
			past.Sick, past.Failed = asked, past.Failed || state == target.Unhealthy
			m.past[observed.Key] = past
		}
	}
	for key, write := range m.wrote {
		if asked.Sub(write.at) > plan.VisibleWithin {
			delete(m.wrote, key)
			continue
		}
		m.overlay(key, write)
	}
	maps.DeleteFunc(m.past, func(key target.Key, _ plan.Past) bool { return !m.occupied(key) })
}

// occupied tells whether a target is listed, or was lately, or may be so.
func (m *mirror) occupied(key target.Key) bool {
	_, listed := m.listed[key]
	_, wrote := m.wrote[key]
	return listed || wrote || m.uncertain[key]
}

// register remembers for which pod a target is registered from now on: AWS took the
// call, or may have taken it. For a pod whose target it is already that changes nothing.
func (m *mirror) register(change plan.Change, now time.Time) {
	past := m.past[change.Key]
	if past.Pod != change.Pod.UID || past.Accepted.IsZero() {
		past.Pod, past.Accepted, past.Fresh, past.Failed = change.Pod.UID, now, !m.occupied(change.Key), false
		m.past[change.Key] = past
	}
}

// depart notes at the time now, before a list is taken in, which targets it shows to
// be deregistered that were not before, or of which the status remembers that they
// were registered. Whoever did it, it was earlier.
func (m *mirror) depart(list []target.Observed, now time.Time) {
	registered := map[target.Key]bool{}
	var seen []target.Key
	for _, observed := range list {
		registered[observed.Key] = !observed.Health.State.Leaving()
		seen = append(seen, observed.Key)
	}
	for _, key := range slices.Concat(seen, slices.Collect(maps.Keys(m.listed)), m.ours.Keys()) {
		if _, known := m.left[key]; !registered[key] && !known {
			m.left[key] = now
		}
	}
	maps.DeleteFunc(m.left, func(key target.Key, at time.Time) bool {
		lags := m.wrote[key].state == target.Draining && now.Sub(m.wrote[key].at) <= plan.VisibleWithin
		return registered[key] && !lags || now.Sub(at) > rememberLeft
	})
}

// overlay makes the list show a call of ours that it may lag behind.
func (m *mirror) overlay(key target.Key, write written) {
	observed, listed := m.listed[key]
	switch {
	case write.state == target.Draining && listed:
		observed.Health = draining
	case write.state == target.Initial && (!listed || observed.Health.State.Leaving()):
		observed = target.Observed{Target: target.Target{Key: key, Zone: write.zone}, Health: registering}
	default:
		return
	}
	m.listed[key] = observed
}

var (
	registering = target.Health{State: target.Initial, Reason: "Elb.RegistrationInProgress", Description: "Target registration is in progress"}
	draining    = target.Health{State: target.Draining, Reason: "Target.DeregistrationInProgress", Description: "Target deregistration is in progress"}
)

// accepted takes in that a call about a target was accepted.
func (m *mirror) accepted(key target.Key, write written) {
	m.wrote[key] = write
	delete(m.uncertain, key)
	for op := range m.refused {
		delete(m.refused[op], key)
	}
	m.overlay(key, write)
}

// registered takes in that AWS accepted targets.
func (m *mirror) registered(changes []plan.Change, now time.Time) {
	for _, change := range changes {
		m.register(change, now)
		m.accepted(change.Key, written{state: target.Initial, zone: change.Zone, at: now})
		delete(m.left, change.Key)
	}
	m.ours = m.ours.Union(plan.Keys(changes))
	m.perCall[Register] = min(2*m.perCall[Register], MaxTargetsPerCall)
}

// deregistered takes in that AWS let targets go.
func (m *mirror) deregistered(changes []plan.Change, now time.Time) {
	for _, change := range changes {
		m.accepted(change.Key, written{state: target.Draining, at: now})
		m.left[change.Key] = now
	}
	m.ours = m.ours.Minus(plan.Keys(changes))
	m.fullUntil = time.Time{}
	m.perCall[Deregister] = min(2*m.perCall[Deregister], MaxTargetsPerCall)
}

// failed takes in that a call about changes failed.
func (m *mirror) failed(op Op, changes []plan.Change, err *Error, now time.Time) {
	switch {
	case err.Kind == Unreachable, err.Kind == Unavailable:
		for _, change := range changes {
			if op == Register {
				m.register(change, now)
			}
			m.uncertain[change.Key] = true
			delete(m.wrote, change.Key)
		}
	case err.Kind.forTargets():
		m.atFault(op, changes, err, now)
	}
}

// atFault finds which targets a call was refused for: those that AWS names, the
// only one there was, or one of a smaller call to be tried next.
func (m *mirror) atFault(op Op, changes []plan.Change, err *Error, now time.Time) {
	faulty := slices.DeleteFunc(slices.Clone(changes), func(c plan.Change) bool { return !names(err.Message, c.Key) })
	full := op == Register && err.Kind == TooManyTargets && err.Code != tooManyRegistrations
	switch {
	case len(changes) > 1 && (full || len(faulty) == 0):
		m.perCall[op] = len(changes) / 2
		return
	case full:
		m.fullUntil = now.Add(fullFor)
		return
	case len(faulty) == 0:
		faulty = changes
	}
	for _, change := range faulty {
		m.refuse(op, change, err.Kind, now)
	}
}

// refuse remembers that AWS would not take a target: one outside the VPC is
// tried again at once with a zone, others after a pause that grows.
func (m *mirror) refuse(op Op, change plan.Change, kind Kind, now time.Time) {
	if op == Register && kind == ZoneRequired && change.Zone == "" {
		m.zones[change.Addr] = target.ZoneAll
		return
	}
	times := m.refused[op][change.Key].times + 1
	pause := min(2*time.Second<<min(times, 10), time.Minute)
	m.refused[op][change.Key] = refusal{plan.Refusal{Reason: kind.Reason(), Until: now.Add(pause)}, times}
}

// refusedUntil tells when the soonest of changes that AWS refused may be tried
// again; zero if none was refused.
func (m *mirror) refusedUntil(op Op, changes []plan.Change) time.Time {
	var soonest time.Time
	for _, change := range changes {
		if r, refused := m.refused[op][change.Key]; refused {
			soonest = earlier(soonest, r.Until)
		}
	}
	return soonest
}

// names tells whether AWS's words name the target, by its address with or without
// the port, and not another one that begins alike.
func names(message string, key target.Key) bool {
	words := strings.FieldsFunc(message, func(r rune) bool {
		return !strings.ContainsRune("0123456789abcdefABCDEF.:[]", r)
	})
	return slices.ContainsFunc(words, func(word string) bool {
		word = strings.Trim(word, ".")
		if whole, err := netip.ParseAddrPort(word); err == nil {
			return whole == netip.AddrPortFrom(key.Addr, key.Port)
		}
		addr, err := netip.ParseAddr(strings.Trim(word, "[]"))
		if err != nil {
			addr, err = netip.ParseAddr(strings.Trim(word, ":[]"))
		}
		return err == nil && addr == key.Addr
	})
}

// settle takes in which targets are ours after a plan was made: those that stay
// are, and those that left the list are no more.
func (m *mirror) settle(p plan.Plan) {
	gone := m.ours.Minus(plan.Keys(p.Register, p.Announce, p.Deregister, p.Held)).Minus(m.unseen(p))
	m.ours = m.ours.Minus(gone).Union(plan.Keys(p.Stay))
	m.forgetRefusals(Register, slices.Concat(p.LeftOut, p.Register))
	m.forgetRefusals(Deregister, p.Deregister)
}

// unseen are targets of a shared group that were ours in an earlier life and that lists
// may not show yet. Nobody else would ever take them out. In a group of our own whatever
// turns up is looked into anyway.
func (m *mirror) unseen(p plan.Plan) target.Set {
	if !p.Wanted.Shared || !m.listedAt.Before(m.seesAll()) {
		return target.Set{}
	}
	return m.ours.Minus(target.SetOf(slices.Collect(maps.Keys(m.listed))...))
}

// seesAll is from when on a list shows all calls of an earlier life.
func (m *mirror) seesAll() time.Time { return m.born.Add(plan.VisibleWithin) }

// forgetRefusals drops the refusals of targets that are not asked for any more.
func (m *mirror) forgetRefusals(op Op, asked []plan.Change) {
	still := plan.Keys(asked)
	maps.DeleteFunc(m.refused[op], func(key target.Key, _ refusal) bool { return !still.Has(key) })
}

// observation is the mirror as the plan needs it.
func (m *mirror) observation() plan.Observation {
	refused := make(map[target.Key]plan.Refusal, len(m.refused[Register]))
	for key, r := range m.refused[Register] {
		refused[key] = r.Refusal
	}
	return plan.Observation{
		Targets:   slices.Collect(maps.Values(m.listed)),
		ListedAt:  m.listedAt,
		Past:      maps.Clone(m.past),
		Ours:      m.ours,
		Uncertain: target.SetOf(slices.Collect(maps.Keys(m.uncertain))...),
		Zones:     maps.Clone(m.zones),
		Refused:   refused,
		FullUntil: m.fullUntil,
	}
}
