package routing

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func at(host byte) target.Target {
	return target.Target{Key: target.Key{Addr: netip.AddrFrom4([4]byte{10, 0, 0, host}), Port: 80}, Zone: "z" + string('a'+rune(host%2))}
}

func moment(seconds float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

// fixed is a profile without chance: registration 2 s, deregistration 10 s, health 1 s.
func fixed() Profile {
	exactly := func(d time.Duration) Spread { return Spread{Min: d, Max: d} }
	return Profile{Register: exactly(2 * time.Second), Deregister: exactly(10 * time.Second), Health: exactly(time.Second)}
}

func spell(entries []Entry) (words []string) {
	for _, e := range entries {
		words = append(words, fmt.Sprintf("%d=%s", e.Addr.As4()[3], e.State))
	}
	return words
}

func TestWhatANodeKnowsWhen(t *testing.T) {
	type step struct {
		at     float64
		serial uint64
		state  target.State
	}
	type look struct {
		at   float64
		want string
	}
	tests := []struct {
		name  string
		steps []step
		looks []look
	}{
		{
			"health is not known before the registration",
			[]step{{0, 1, target.Initial}, {0.5, 1, target.Healthy}},
			[]look{{1.9, "[]"}, {2, "[1=healthy]"}},
		},
		{
			"a deregistration is learned late, its end at once",
			[]step{{0, 1, target.Initial}, {3, 1, target.Healthy}, {20, 1, target.Draining}, {50, 1, ""}},
			[]look{{3.9, "[1=initial]"}, {29.9, "[1=healthy]"}, {30, "[1=draining]"}, {49.9, "[1=draining]"}, {50, "[]"}},
		},
		{
			"a delay that ends before the node knows",
			[]step{{0, 1, target.Initial}, {20, 1, target.Draining}, {25, 1, ""}},
			[]look{{29.9, "[1=initial]"}, {30, "[]"}},
		},
		{
			"gone without draining",
			[]step{{0, 1, target.Initial}, {20, 1, ""}},
			[]look{{29.9, "[1=initial]"}, {30, "[]"}},
		},
		{
			"a registration overtakes a deregistration",
			[]step{{0, 1, target.Initial}, {20, 1, target.Draining}, {21, 2, target.Initial}},
			[]look{{22.9, "[1=initial]"}, {23, "[1=initial]"}, {31, "[1=initial]"}},
		},
		{"registered without initial", []step{{0, 1, target.Unhealthy}}, []look{{1.9, "[]"}, {2, "[1=unhealthy]"}}},
		{"another reason is no news", []step{{0, 1, target.Initial}, {1.5, 1, target.Initial}}, []look{{2, "[1=initial]"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			table := NewTable(1, "n", "za", fixed())
			for _, s := range test.steps {
				table.Tell(model.Change{At: moment(s.at), Group: "g", Target: at(1), Serial: s.serial, State: s.state})
			}
			for _, l := range test.looks {
				table.Advance(moment(l.at))
				if got := fmt.Sprint(spell(table.Entries())); got != l.want {
					t.Errorf("after %v s: got %s, want %s", l.at, got, l.want)
				}
			}
		})
	}
}

func TestEligible(t *testing.T) {
	states := func(of ...target.State) (entries []Entry) {
		for i, s := range of {
			entries = append(entries, Entry{Target: at(byte(i)), State: s})
		}
		return entries
	}
	const h, u, i, d = target.Healthy, target.Unhealthy, target.Initial, target.Draining
	for _, test := range []struct {
		entries []Entry
		zone    string
		policy  Policy
		want    string
	}{
		{nil, "", Policy{}, "[] true"},
		{states(h, u, i, d), "", Policy{}, "[0=healthy] false"},
		{states(u, i, d, target.Unused), "", Policy{}, "[0=unhealthy 1=initial] true"},
		{states(d), "", Policy{}, "[] true"},
		{states(h, u, h), "zb", Policy{}, "[1=unhealthy] true"},
		{[]Entry{{Target: target.Target{Key: at(7).Key, Zone: "all"}, State: h}}, "zb", Policy{}, "[7=healthy] false"},
		{states(h, h, u, u), "", Policy{MinCount: 2}, "[0=healthy 1=healthy] false"},
		{states(h, h, u, u), "", Policy{MinCount: 3}, "[0=healthy 1=healthy 2=unhealthy 3=unhealthy] true"},
		{states(h, h, u, u), "", Policy{MinCount: 1, MinPercent: 50}, "[0=healthy 1=healthy] false"},
		{states(h, h, u, u, d), "", Policy{MinCount: 1, MinPercent: 51}, "[0=healthy 1=healthy 2=unhealthy 3=unhealthy] true"},
		{states(h, u, h, u), "za", Policy{MinCount: 2, MinPercent: 100}, "[0=healthy 2=healthy] false"},
	} {
		eligible, open := Eligible(test.entries, test.zone, test.policy)
		if got := fmt.Sprint(spell(eligible), open); got != test.want {
			t.Errorf("%v in %q, %+v: got %s, want %s", spell(test.entries), test.zone, test.policy, got, test.want)
		}
	}
}

// history makes a random life of some targets.
func history(random *rand.Rand) (changes []model.Change) {
	serials, states, when := map[byte]uint64{}, map[byte]target.State{}, 0.0
	next := map[target.State][]target.State{
		"":               {target.Initial},
		target.Initial:   {target.Healthy, target.Unhealthy, target.Draining, ""},
		target.Healthy:   {target.Unhealthy, target.Draining, ""},
		target.Unhealthy: {target.Healthy, target.Draining, ""},
		target.Draining:  {"", target.Initial},
	}
	for range 60 {
		when += random.Float64() * 20
		host := byte(random.IntN(3))
		choices := next[states[host]]
		states[host] = choices[random.IntN(len(choices))]
		if states[host] == target.Initial {
			serials[host]++
		}
		changes = append(changes, model.Change{At: moment(when), Group: "g", Target: at(host), Serial: serials[host], State: states[host]})
	}
	return changes
}

// It makes no difference when a table is asked, nor when it is told; and no node
// starts anything new on a target later than the longest delay allows.
func TestKnowledgeFollowsFromHistoryAndSeedAlone(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 2))
		profile := []Profile{ALB(), NLB(), fixed()}[seed%3]
		changes := history(random)
		often, once := NewTable(seed, "n", "", profile), NewTable(seed, "n", "", profile)
		for i, change := range changes {
			often.Tell(change)
			until := change.At.Add(time.Hour)
			if i+1 < len(changes) {
				until = changes[i+1].At
			}
			for now := change.At; now.Before(until); now = now.Add(time.Duration(random.Int64N(int64(100 * time.Second)))) {
				often.Advance(now)
			}
		}
		for _, change := range changes {
			once.Tell(change)
		}
		end := changes[len(changes)-1].At
		often.Advance(end.Add(time.Hour))
		once.Advance(end.Add(time.Hour))
		if !reflect.DeepEqual(often.Entries(), once.Entries()) {
			t.Fatalf("seed %d: %v, but %v if told at the end", seed, spell(often.Entries()), spell(once.Entries()))
		}
		last := map[target.Key]target.State{}
		for _, change := range changes {
			last[change.Target.Key] = change.State
		}
		for _, e := range once.Entries() {
			if last[e.Key] != e.State {
				t.Fatalf("seed %d: %s is %s, want %s", seed, e.Key, e.State, last[e.Key])
			}
		}
		if next := once.Next(); !next.IsZero() {
			t.Fatalf("seed %d: something never arrives: %v", seed, next)
		}
	}
}

func TestDelaysKeepToTheirSpread(t *testing.T) {
	for _, spread := range []Spread{ALB().Deregister, NLB().Deregister, NLB().Register, ALB().Health} {
		var drawn []time.Duration
		for i := range 4000 {
			drawn = append(drawn, spread.At(Uniform(fmt.Sprintf("node/%d", i))))
		}
		slices.Sort(drawn)
		if drawn[0] < spread.Min || drawn[len(drawn)-1] > spread.Longest() {
			t.Errorf("%v: from %v to %v", spread, drawn[0], drawn[len(drawn)-1])
		}
		middle := spread.At(0.5)
		if got := drawn[len(drawn)/2]; got < middle*9/10 || got > middle*11/10 {
			t.Errorf("%v: the median is %v, want about %v", spread, got, middle)
		}
	}
}

func TestNodesDiffer(t *testing.T) {
	delays := map[time.Time]bool{}
	for node := range 10 {
		for _, seed := range []uint64{1, 2} {
			table := NewTable(seed, fmt.Sprintf("front/%d", node), "", ALB())
			table.Tell(model.Change{At: moment(0), Group: "g", Target: at(1), Serial: 1, State: target.Initial})
			delays[table.Next()] = true
		}
	}
	if len(delays) != 20 {
		t.Errorf("%d different delays", len(delays))
	}
}

func TestSpreadsReadWhatTheySpell(t *testing.T) {
	for _, text := range []string{"500ms-5s+5%-40s", "2m0s-5m0s", "0s-0s"} {
		if s, err := ParseSpread(text); err != nil || s.String() != text {
			t.Errorf("%s: got %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "5s", "5s-1s", "1s-2s+5%", "1s-2s+5%-1s", "1s-2s+x%-3s", "1s-x", "-1s-2s", "1s-2s+200%-3s"} {
		if s, err := ParseSpread(text); err == nil {
			t.Errorf("%q was read as %v", text, s)
		}
	}
}
