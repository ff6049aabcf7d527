package routing

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func drawSpread(t *rapid.T, name string) Spread {
	duration := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(0, 100_000).Draw(t, "ms")) * time.Millisecond
	})
	bounds := []time.Duration{duration.Draw(t, name+" min"), duration.Draw(t, name+" max"), duration.Draw(t, name+" tail")}
	slices.Sort(bounds)
	s := Spread{Min: bounds[0], Max: bounds[1]}
	if rapid.Bool().Draw(t, name+" has a tail") {
		s.Tail, s.TailMax = rapid.Float64Range(0, 1).Draw(t, name+" share"), bounds[2]
	}
	return s
}

func drawProfile(t *rapid.T) Profile {
	return rapid.OneOf(rapid.Just(ALB()), rapid.Just(NLB()), rapid.Custom(func(t *rapid.T) Profile {
		return Profile{Register: drawSpread(t, "register"), Deregister: drawSpread(t, "deregister"), Health: drawSpread(t, "health")}
	})).Draw(t, "profile")
}

// drawHistory makes a life of some targets as the model tells it, while listeners
// stay as they are.
func drawHistory(t *rapid.T) (changes []model.Change) {
	next := map[target.State][]target.State{
		"":               {target.Initial},
		target.Initial:   {target.Healthy, target.Unhealthy, target.Draining, ""},
		target.Healthy:   {target.Unhealthy, target.Draining, ""},
		target.Unhealthy: {target.Healthy, target.Draining, ""},
		target.Draining:  {"", target.Initial},
	}
	serials, states, now := map[byte]uint64{}, map[byte]target.State{}, moment(0)
	for range rapid.IntRange(1, 40).Draw(t, "changes") {
		now = now.Add(time.Duration(rapid.IntRange(0, 120_000).Draw(t, "ms later")) * time.Millisecond)
		host := byte(rapid.IntRange(0, 2).Draw(t, "target"))
		before := states[host]
		states[host] = rapid.SampledFrom(next[before]).Draw(t, "state")
		if states[host] == target.Initial {
			serials[host]++
		}
		changes = append(changes, model.Change{At: now, Group: "g", Target: at(host), Serial: serials[host], State: states[host]})
	}
	return changes
}

func registered(s target.State) bool { return s != "" && s != target.Draining }

// latest is what a target became last.
func latest(past []model.Change, key target.Key) (last model.Change) {
	for _, c := range past {
		if c.Target.Key == key {
			last = c
		}
	}
	return last
}

// leftAt is when a target that is not registered ceased to be.
func leftAt(past []model.Change, key target.Key) (left time.Time) {
	was := false
	for _, c := range past {
		if c.Target.Key != key {
			continue
		}
		if was && !registered(c.State) {
			left = c.At
		}
		was = registered(c.State)
	}
	return left
}

// replay tells a node of a history as it happens, and calls look whenever it
// learns something and at every change, with what happened so far.
func replay(table *Table, changes []model.Change, look func(past []model.Change, now time.Time)) {
	for i, change := range changes {
		table.Tell(change)
		for now := change.At; !now.IsZero() && (i+1 == len(changes) || now.Before(changes[i+1].At)); now = table.Next() {
			table.Advance(now)
			look(changes[:i+1], now)
		}
	}
}

// Whatever happened and however late the node learns of it: it starts nothing new
// on a target once the longest delay has passed since the deregistration was
// accepted. Nor does it before the target was ever registered.
func TestNothingNewOnceTheLongestDelayHasPassed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		profile, changes := drawProfile(t), drawHistory(t)
		policy := Policy{
			CrossZone:  rapid.Bool().Draw(t, "cross zone"),
			MinCount:   rapid.IntRange(0, 4).Draw(t, "count"),
			MinPercent: rapid.IntRange(0, 100).Draw(t, "percent"),
		}
		table := NewTable(rapid.Uint64().Draw(t, "seed"), "n", "za", profile)
		replay(table, changes, func(past []model.Change, now time.Time) {
			for _, e := range table.Eligible(policy) {
				if registered(latest(past, e.Key).State) {
					continue
				}
				left := leftAt(past, e.Key)
				if left.IsZero() || !now.Before(left.Add(profile.Deregister.Longest())) {
					t.Fatalf("at %v: %s gets something new, though it left at %v", now, e.Key, left)
				}
			}
		})
	})
}

// A node knows of every registration, and of health, once the longest delay has
// passed without another change.
func TestRegistrationsAreLearnedWithinTheirBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		profile, changes := drawProfile(t), drawHistory(t)
		table := NewTable(rapid.Uint64().Draw(t, "seed"), "n", "", profile)
		bound := max(profile.Register.Longest(), profile.Health.Longest())
		replay(table, changes, func(past []model.Change, now time.Time) {
			known := map[target.Key]target.State{}
			for _, e := range table.Entries() {
				known[e.Key] = e.State
			}
			for host := range byte(3) {
				last := latest(past, at(host).Key)
				settled := last.At.Add(bound)
				if known := known[at(host).Key]; registered(last.State) && !now.Before(settled) && known != last.State {
					t.Fatalf("at %v: %s is known as %q, %v after it became %q", now, at(host).Key, known, now.Sub(last.At), last.State)
				}
			}
		})
	})
}

// Equal seeds and histories give equal delays, whatever else happens to other
// targets; another seed gives others.
func TestEqualSeedsGiveEqualDelays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		profile, changes, seed := drawProfile(t), drawHistory(t), rapid.Uint64().Draw(t, "seed")
		alone := slices.DeleteFunc(slices.Clone(changes), func(c model.Change) bool { return c.Target.Key != at(0).Key })
		watch := func(changes []model.Change) (seen []string) {
			table := NewTable(seed, "n", "", profile)
			last := ""
			replay(table, changes, func(_ []model.Change, now time.Time) {
				state := ""
				for _, e := range table.Entries() {
					if e.Key == at(0).Key {
						state = string(e.State)
					}
				}
				if state != last {
					seen = append(seen, fmt.Sprint(now.Sub(moment(0)), " ", state))
				}
				last = state
			})
			return seen
		}
		first, again, apart := watch(changes), watch(changes), watch(alone)
		if !reflect.DeepEqual(first, again) || !reflect.DeepEqual(first, apart) {
			t.Fatalf("with others %v, again %v, alone %v", first, again, apart)
		}
	})
}
