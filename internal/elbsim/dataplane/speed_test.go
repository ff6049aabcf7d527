package dataplane

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// drill is what happens to the targets of the group g, and when.
var drill = []struct {
	after  time.Duration
	target byte
	state  target.State
}{
	{0, 1, target.Initial},
	{0, 2, target.Initial},
	{10 * time.Second, 1, target.Healthy},
	{15 * time.Second, 2, target.Healthy},
	{200 * time.Second, 2, target.Unhealthy},
	{400 * time.Second, 2, target.Healthy},
	{600 * time.Second, 1, target.Draining},
	{630 * time.Second, 1, ""},
	{1000 * time.Second, 1, target.Initial},
	{1010 * time.Second, 1, target.Healthy},
	{1200 * time.Second, 2, ""},
}

// witness puts a plane of three nodes through the drill and tells, in simulated
// time, when which node began or ceased to start something new on which target.
// A listener for UDP has nodes that learn, and no sockets.
func witness(t *testing.T, kind model.BalancerType, speed float64) (seen []string) {
	t.Helper()
	c := clock.New(speed)
	p := New(Options{Seed: 7, Nodes: 3}, c)
	defer p.Close()
	listeners := []Listener{{Port: 53, Protocol: "UDP", Groups: []Group{{ARN: "g"}}}}
	state := State{Balancers: []Balancer{{ARN: "front", Name: "front", Type: kind, Zones: []string{"za"}, Listeners: listeners}}}
	begin := c.Now()
	last := make([]string, 3)
	serials := map[byte]uint64{}
	for step, next := 0, begin; !next.IsZero(); {
		time.Sleep(c.Until(next))
		for ; step < len(drill) && !c.Now().Before(begin.Add(drill[step].after)); step++ {
			what := drill[step]
			if what.state == target.Initial {
				serials[what.target]++
			}
			key := target.Key{Addr: netip.AddrFrom4([4]byte{10, 0, 0, what.target}), Port: 80}
			state.Changes = append(state.Changes, model.Change{
				At: begin.Add(what.after), Group: "g", Target: target.Target{Key: key}, Serial: serials[what.target], State: what.state,
			})
		}
		if err := p.Update(state); err != nil {
			t.Fatal(err)
		}
		state.Changes = nil
		next = p.Advance()
		for i, n := range p.balancers["front"].nodes {
			knows := fmt.Sprint(n.routes["g"].table.Eligible(n.routes["g"].policy))
			if knows != last[i] {
				seen = append(seen, fmt.Sprint(c.Now().Sub(begin).Round(time.Millisecond), " node ", i, " ", knows))
			}
			last[i] = knows
		}
		if step < len(drill) && (next.IsZero() || begin.Add(drill[step].after).Before(next)) {
			next = begin.Add(drill[step].after)
		}
	}
	return seen
}

// At any speed the same happens at the same simulated time: every delay is
// divided by the speed.
func TestSpeedDividesEveryDelay(t *testing.T) {
	for _, kind := range []model.BalancerType{model.Application, model.Network} {
		want := ""
		for _, speed := range []float64{1, 10, 300} {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got := strings.Join(witness(t, kind, speed), "\n")
				if took := time.Since(began); took < time.Duration(1200*float64(time.Second)/speed) || took > time.Duration(1600*float64(time.Second)/speed) {
					t.Errorf("%s at speed %v: it took %v", kind, speed, took)
				}
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("%s at speed %v: got\n%s\nat speed 1\n%s", kind, speed, got, want)
				}
			})
		}
		if nodes := strings.Count(want, "node"); nodes < 3*6 {
			t.Errorf("%s: only %d things happened:\n%s", kind, nodes, want)
		}
	}
}

// Nodes learn of the same change at different times, each within its bound.
func TestNodesDisagreeForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := map[string]bool{}
		for _, line := range witness(t, model.Application, 1) {
			moment, rest, _ := strings.Cut(line, " ")
			if strings.Contains(rest, "10.0.0.1") {
				continue
			}
			when, err := time.ParseDuration(moment)
			if err != nil {
				t.Fatal(err)
			}
			if when > 600*time.Second && when < 1000*time.Second { // the deregistration
				at[moment] = true
				if late := when - 600*time.Second; late > DefaultOptions().ALB.Deregister.Longest() {
					t.Errorf("a node learned after %v", late)
				}
			}
		}
		if len(at) != 3 {
			t.Errorf("three nodes learned at %v", at)
		}
	})
}
