package routing

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Entry is what a node knows of one target.
type Entry struct {
	target.Target
	State target.State
}

// Table is what one node knows of one group. It is not safe for concurrent use.
type Table struct {
	node    string // seed and name: what the draws depend on
	zone    string
	profile Profile

	targets map[target.Key]*knowledge
	drawn   map[target.Key]uint64 // how many delays were drawn, also of targets that are gone
	next    time.Time             // the soonest moment that something is learned; zero: none

	fresh     bool   // what follows is up to date
	policy    Policy // what it was made for
	eligible  []Entry
	failsOpen bool
}

// knowledge is what a node knows and will know of one target.
type knowledge struct {
	known   model.Change
	pending []lesson // in the order of the changes

	registered   time.Time    // when the latest registration is learned
	deregistered time.Time    // when the latest deregistration is learned
	latest       model.Change // the latest change told of
}

// lesson is a change and the moment the node learns of it.
type lesson struct {
	due    time.Time
	change model.Change
}

// NewTable makes the empty table of a node. Equal seeds and names give equal
// delays for equal histories.
func NewTable(seed uint64, node, zone string, profile Profile) *Table {
	return &Table{
		node: fmt.Sprintf("%d/%s", seed, node), zone: zone, profile: profile,
		targets: map[target.Key]*knowledge{},
		drawn:   map[target.Key]uint64{},
	}
}

// Tell puts a change on its way to the node. Changes of one target are told in
// the order they happened.
func (t *Table) Tell(change model.Change) {
	key := change.Target.Key
	k, exists := t.targets[key]
	if !exists {
		k = &knowledge{}
		t.targets[key] = k
	}
	if k.latest.Serial == change.Serial && k.latest.State == change.State {
		return // only the reason changed, of which nodes know nothing
	}
	due := t.due(k, change)
	k.latest = change
	k.pending = append(k.pending, lesson{due: due, change: change})
	if t.next.IsZero() || due.Before(t.next) {
		t.next = due
	}
}

// due is when the node learns of a change.
func (t *Table) due(k *knowledge, change model.Change) time.Time {
	switch change.State {
	case target.Draining:
		k.deregistered = change.At.Add(t.profile.Deregister.At(t.draw(change)))
		return k.deregistered
	case "":
		if k.latest.State != target.Draining {
			return change.At.Add(t.profile.Deregister.At(t.draw(change)))
		}
		// The end of the deregistration delay comes as no news to a node that
		// knows of the deregistration.
		return later(change.At, k.deregistered)
	case target.Healthy, target.Unhealthy:
		if k.latest.Serial == change.Serial {
			return later(change.At.Add(t.profile.Health.At(t.draw(change))), k.registered)
		}
	}
	k.registered = change.At.Add(t.profile.Register.At(t.draw(change)))
	return k.registered
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// draw is a number from 0 to just below 1 that depends on nothing but the node,
// the target and how many were drawn before.
func (t *Table) draw(change model.Change) float64 {
	t.drawn[change.Target.Key]++
	return Uniform(fmt.Sprintf("%s/%s/%s/%d", t.node, change.Group, change.Target.Key, t.drawn[change.Target.Key]))
}

// Uniform makes a number from 0 to just below 1 of a name.
func Uniform(name string) float64 { return float64(Hash(name)>>11) / (1 << 53) }

// Hash spreads a name evenly over all numbers.
func Hash(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	// FNV's high bits hardly depend on the last bytes: mix them (splitmix64).
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Next is when the node learns something next; the zero time if nothing is on
// its way.
func (t *Table) Next() time.Time { return t.next }

// Advance lets the node learn all that has come through up to now, and gives the
// targets about which it did, in the order of their keys. An entry without a
// state is gone.
func (t *Table) Advance(now time.Time) (news []Entry) {
	if t.next.IsZero() || now.Before(t.next) {
		return nil
	}
	t.next, t.fresh = time.Time{}, false
	for _, key := range slices.SortedFunc(maps.Keys(t.targets), target.Key.Compare) {
		k := t.targets[key]
		if k.learn(now) {
			news = append(news, Entry{Target: k.known.Target, State: k.known.State})
		}
		for _, l := range k.pending {
			if t.next.IsZero() || l.due.Before(t.next) {
				t.next = l.due
			}
		}
		if k.known.State == "" && k.known.Serial != 0 && len(k.pending) == 0 {
			delete(t.targets, key)
		}
	}
	return news
}

// learn makes the latest change that has come through the one that is known, and
// forgets what it supersedes.
func (k *knowledge) learn(now time.Time) bool {
	for i, l := range slices.Backward(k.pending) {
		if !l.due.After(now) {
			k.known = l.change
			k.pending = slices.Delete(k.pending, 0, i+1)
			return true
		}
	}
	return false
}

// Entries lists the targets the node knows of, in the order of their keys.
func (t *Table) Entries() []Entry {
	entries := []Entry{}
	for _, key := range slices.SortedFunc(maps.Keys(t.targets), target.Key.Compare) {
		if k := t.targets[key]; k.known.State != "" {
			entries = append(entries, Entry{Target: k.known.Target, State: k.known.State})
		}
	}
	return entries
}

// Eligible lists the targets that the node would send something new to. The
// result is the table's until the next Advance.
func (t *Table) Eligible(policy Policy) []Entry {
	t.refresh(policy)
	return t.eligible
}

// FailsOpen tells whether too few targets are healthy, so that all get traffic.
func (t *Table) FailsOpen(policy Policy) bool {
	t.refresh(policy)
	return t.failsOpen
}

func (t *Table) refresh(policy Policy) {
	if t.fresh && t.policy == policy {
		return
	}
	zone := t.zone
	if policy.CrossZone {
		zone = ""
	}
	t.eligible, t.failsOpen = Eligible(t.Entries(), zone, policy)
	t.policy, t.fresh = policy, true
}
