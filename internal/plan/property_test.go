package plan

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// world is everything that Make is given.
type world struct {
	wanted desired.Wanted
	have   Observation
	policy Policy
}

const hosts = 6

func anyHosts() *rapid.Generator[[]int] {
	return rapid.SliceOfDistinct(rapid.IntRange(1, hosts), func(i int) int { return i })
}

func anyMoment() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		return rapid.SampledFrom([]time.Time{{}, t0.Add(-time.Second), t0, t0.Add(time.Second), t0.Add(time.Minute)}).Draw(t, "moment")
	})
}

var (
	states   = []target.State{target.Initial, target.Healthy, target.Unhealthy, target.Unused, target.Draining, target.UnhealthyDraining, target.Unavailable}
	verdicts = map[desired.Verdict][]target.Reason{
		desired.Want:  {target.PodReady, target.GatePending},
		desired.Keep:  {target.NoPodReady, target.NodeNotReady},
		desired.Leave: {target.PodTerminating, target.PodGone, target.PodNotReady, target.BindingDeleted},
	}
)

func anyWanted() *rapid.Generator[desired.Wanted] {
	return rapid.Custom(func(t *rapid.T) desired.Wanted {
		var wanted desired.Wanted
		for _, host := range anyHosts().Draw(t, "candidates") {
			verdict := desired.Verdict(rapid.IntRange(0, 2).Draw(t, "verdict"))
			c := candidate(host, verdict, rapid.SampledFrom(verdicts[verdict]).Draw(t, "reason"))
			c.ServesUntil = anyMoment().Draw(t, "serves until")
			wanted.Candidates = append(wanted.Candidates, c)
		}
		if rapid.IntRange(0, 5).Draw(t, "hold") == 0 {
			wanted.HoldOthers = target.ServiceNotFound
		}
		wanted.Shared = rapid.Bool().Draw(t, "shared")
		return wanted
	})
}

func anyWorld() *rapid.Generator[world] {
	return rapid.Custom(func(t *rapid.T) world {
		w := world{wanted: anyWanted().Draw(t, "wanted")}
		w.policy.Takeover = rapid.SampledFrom([]Takeover{"", Guarded, Confirmed}).Draw(t, "takeover")
		w.policy.Drain = rapid.SampledFrom([]time.Duration{0, 10 * time.Second}).Draw(t, "drain")
		for _, host := range anyHosts().Draw(t, "listed") {
			w.have.Targets = append(w.have.Targets, listed(rapid.SampledFrom(states).Draw(t, "state"), host)...)
		}
		w.have.Ours = keys(anyHosts().Draw(t, "ours")...)
		w.have.Journal = keys(anyHosts().Draw(t, "journal")...)
		w.have.Uncertain = keys(anyHosts().Draw(t, "uncertain")...)
		w.have.FullUntil = anyMoment().Draw(t, "full")
		w.have.Refused, w.have.Zones = map[target.Key]Refusal{}, map[netip.Addr]string{}
		for _, host := range anyHosts().Draw(t, "refused") {
			w.have.Refused[key(host)] = Refusal{target.InvalidTarget, anyMoment().Draw(t, "until")}
		}
		for _, host := range anyHosts().Draw(t, "zones") {
			w.have.Zones[key(host).Addr] = target.ZoneAll
		}
		return w
	})
}

func (w world) plan(now time.Time) Plan { return Make(w.wanted, w.have, w.policy, now) }

// applied is the world after AWS accepted all of a plan. A deregistered target
// drains, or is gone at once if the group has no delay.
func (w world) applied(p Plan, drains bool) world {
	registered := map[target.Key]target.Observed{}
	for _, observed := range w.have.Targets {
		registered[observed.Key] = observed
	}
	for _, c := range p.Register {
		registered[c.Key] = target.Observed{Target: c.Target, Health: target.Health{State: target.Initial}}
	}
	for _, c := range p.Deregister {
		delete(registered, c.Key)
		if drains {
			registered[c.Key] = target.Observed{Target: c.Target, Health: target.Health{State: target.Draining}}
		}
	}
	called := Keys(p.Register, p.Deregister)
	w.have.Targets = nil
	for _, observed := range registered {
		w.have.Targets = append(w.have.Targets, observed)
	}
	w.have.Uncertain = w.have.Uncertain.Minus(called)
	w.have.Journal = p.Remember(w.have, false)
	w.have.Ours = w.have.Ours.Union(Keys(p.Register, p.Stay)).Minus(Keys(p.Deregister))
	return w
}

func (w world) registered() int {
	n := 0
	for _, observed := range w.have.Targets {
		if !observed.Health.State.Leaving() {
			n++
		}
	}
	return n
}

func (w world) verdict(key target.Key) (desired.Verdict, bool) {
	for _, c := range w.wanted.Candidates {
		if c.Key == key {
			return c.Verdict, true
		}
	}
	return 0, false
}

func TestBehaviour14_PlanOfAnAppliedPlanIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		first := w.plan(t0)
		after := w.applied(first, rapid.Bool().Draw(t, "drains"))
		if announced := after.plan(t0); len(first.Announce) > 0 {
			after = after.applied(announced, true)
		}
		if second := after.plan(t0); !second.Empty() {
			t.Errorf("first:  %s\nsecond: %s", spell(first), spell(second))
		}
	})
}

func TestBehaviour14_OrderMakesNoDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		first := w.plan(t0)
		w.have.Targets = rapid.Permutation(w.have.Targets).Draw(t, "targets")
		w.wanted.Candidates = rapid.Permutation(w.wanted.Candidates).Draw(t, "candidates")
		second := w.plan(t0)
		first.Wanted, second.Wanted = desired.Wanted{}, desired.Wanted{}
		if !reflect.DeepEqual(first, second) {
			t.Errorf("first:  %+v\nsecond: %+v", first, second)
		}
	})
}

func TestEveryTargetIsInOneListAndInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		p := w.plan(t0)
		seen := map[target.Key]int{}
		for _, list := range [][]Change{p.Register, p.Announce, p.Deregister, p.Stay, p.Held, p.Foreign, p.LeftOut} {
			for i, c := range list {
				seen[c.Key]++
				if i > 0 && list[i-1].Key.Compare(c.Key) >= 0 {
					t.Errorf("out of order: %s", spell(p))
				}
				if c.Reason == "" {
					t.Errorf("%v has no reason: %s", c.Key, spell(p))
				}
			}
		}
		for _, observed := range w.have.Targets {
			if !observed.Health.State.Leaving() && seen[observed.Key] != 1 {
				t.Errorf("%v is registered and in %d lists: %s", observed.Key, seen[observed.Key], spell(p))
			}
		}
		for key, n := range seen {
			if n > 1 {
				t.Errorf("%v is in %d lists: %s", key, n, spell(p))
			}
		}
	})
}

func TestWantedIsNeverDeregisteredAndUnwantedNeverRegistered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		p := w.plan(t0)
		for _, c := range p.Deregister {
			if verdict, known := w.verdict(c.Key); known && verdict != desired.Leave {
				t.Errorf("%v is to stay and is deregistered: %s", c.Key, spell(p))
			}
		}
		for _, c := range slices.Concat(p.Register, p.Announce, p.Stay, p.LeftOut) {
			if verdict, known := w.verdict(c.Key); !known || verdict != desired.Want {
				t.Errorf("%v is not wanted: %s", c.Key, spell(p))
			}
		}
	})
}

func TestRule5_NothingIsDeregisteredOnIgnorance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		w.wanted.HoldOthers = rapid.SampledFrom([]target.Reason{target.ServiceNotFound, target.PortNotFound}).Draw(t, "why")
		for _, c := range w.plan(t0).Deregister {
			if verdict, known := w.verdict(c.Key); !known || verdict != desired.Leave {
				t.Errorf("%v is deregistered although a binding cannot be understood", c.Key)
			}
		}
	})
}

func TestBehaviour09_GroupIsNotEmptiedWhilePodsExist(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		p := w.plan(t0)
		stays := false
		for _, observed := range w.have.Targets {
			verdict, known := w.verdict(observed.Key)
			stays = stays || known && verdict != desired.Leave && !observed.Health.State.Leaving()
		}
		if after := w.applied(p, true); stays && after.registered() == 0 {
			t.Errorf("the group is emptied: %s", spell(p))
		}
	})
}

func TestRule7_OnlyAMinorityOfStrangersGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		w.policy.Takeover = rapid.SampledFrom([]Takeover{"", Guarded, "misspelt"}).Draw(t, "policy")
		healthy := map[target.Key]target.State{}
		for _, observed := range w.have.Targets {
			healthy[observed.Key] = observed.Health.State
		}
		p := w.plan(t0)
		removed := 0
		for _, c := range p.Deregister {
			if c.Reason == target.Unexplained && healthy[c.Key] != target.Unhealthy {
				removed++
			}
		}
		if left := len(p.Stay) + len(p.Held) + len(p.Register); removed > 0 && removed >= left {
			t.Errorf("%d strangers go and %d targets are left: %s", removed, left, spell(p))
		}
	})
}

// Whoever sleeps until Recheck misses nothing.
func TestNothingChangesBeforeRecheck(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		now := w.plan(t0)
		moment := t0.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "seconds")) * time.Second)
		if !now.Recheck.IsZero() && !moment.Before(now.Recheck) {
			moment = now.Recheck.Add(-time.Nanosecond)
		}
		if then := w.plan(moment); spell(then) != spell(now) || !then.Recheck.Equal(now.Recheck) {
			t.Errorf("now:  %s, recheck %v\nthen: %s, recheck %v", spell(now), now.Recheck, spell(then), then.Recheck)
		}
		if !now.Recheck.IsZero() && !now.Recheck.After(t0) {
			t.Errorf("recheck at %v, which is not in the future", now.Recheck)
		}
	})
}

func TestMakeChangesNothingItIsGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld().Draw(t, "world")
		before := slices.Clone(w.have.Targets)
		candidates := slices.Clone(w.wanted.Candidates)
		w.plan(t0)
		if !reflect.DeepEqual(before, w.have.Targets) || !reflect.DeepEqual(candidates, w.wanted.Candidates) {
			t.Error("Make wrote to its arguments")
		}
	})
}
