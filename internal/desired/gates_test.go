package desired

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// spell spells out a pod that waits: its targets and why it has none.
func spell(g Gated) string { return fmt.Sprintf("%v %s", g.Targets, g.Reason) }

// Which pods wait, and what keeps those from being targets that are none.
func TestBehaviour22_PodsThatWaitAtAGate(t *testing.T) {
	with := func(change func(*Pod)) Pod {
		pod := gated
		change(&pod)
		return pod
	}
	alter := func(pod Pod, change func(*Binding)) Binding {
		return web(at(1, pod)).with(func(b *Binding) {
			b.Gate, b.Gated = gate, []Pod{at(1, pod).Pod}
			change(b)
		})
	}
	as := func(*Binding) {}
	for _, c := range []struct {
		name    string
		binding Binding
		want    string
	}{
		{"containers ready", alter(gated, as), "[10.0.0.1:8080] "},
		{"containers not ready", alter(with(func(p *Pod) { p.ContainersReady = false }), as), "no"},
		{"terminating", alter(with(func(p *Pod) { p.Deleted = t0 }), as), "no"},
		{"finished", alter(with(func(p *Pod) { p.Finished = true }), as), "no"},
		{"open", alter(with(func(p *Pod) { p.Gates = []Gate{{Type: gate, Ours: true, Open: true}} }), as), "no"},
		{"the gate of another binding", alter(with(func(p *Pod) { p.Gates = []Gate{{Type: "other", Ours: true}} }), as), "no"},
		{"that and this", alter(with(func(p *Pod) { p.Gates = []Gate{{Type: "other", Ours: true}, {Type: gate, Ours: true}} }), as), "[10.0.0.1:8080] "},
		{"somebody else's gate is closed, too", alter(with(func(p *Pod) { p.Gates = []Gate{{Type: gate, Ours: true}, {}} }), as), "[] PodNotReady"},
		{"no endpoint", alter(gated, func(b *Binding) { b.Slices = nil }), "[] NotAnEndpoint"},
		{"an endpoint of the other family", alter(gated, func(b *Binding) { b.Slices[0].Endpoints[0].Addr = netip.MustParseAddr("2001:db8::1") }), "[] NotAnEndpoint"},
		{"binding being deleted", alter(gated, func(b *Binding) { b.Deleting = true }), "[] BindingDeleted"},
		{"Service deleted", alter(gated, func(b *Binding) { b.Service.Existence = SeenDeleted }), "[] ServiceDeleted"},
		{"Service never seen", alter(gated, func(b *Binding) { b.Service.Existence = NeverSeen }), "[] ServiceNotFound"},
		{"no such port", alter(gated, func(b *Binding) { b.Port.Name = "nosuch" }), "[] PortNotFound"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := "no"
			for _, g := range For(ipv4(c.binding)).Gated {
				got = spell(g)
				if g.Pod != (PodRef{"shop", "pod-1", "uid-1"}) || g.Binding != c.binding.ID || !g.Since.Equal(t0) || g.Gate.Type != gate {
					t.Errorf("got %+v", g)
				}
				if problem := g.Reason == target.ServiceNotFound || g.Reason == target.PortNotFound; problem != (g.Message != "") && g.Reason != target.ServiceDeleted {
					t.Errorf("%s says %q", g.Reason, g.Message)
				}
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// What waits has a gate that is closed, and either targets or a reason.
func TestBehaviour24_OnlyClosedGatesAreAnswered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := anyFacts().Draw(t, "facts")
		for _, g := range For(facts).Gated {
			if g.Gate.Open || !g.Gate.Ours || g.Gate.Type != gate || (len(g.Targets) == 0) != (g.Reason != "") {
				t.Errorf("got %+v", g)
			}
		}
	})
}

// A pod waits for the target of its address, whoever else has it still.
func TestBehaviour28_PodOnASharedAddressWaits(t *testing.T) {
	old, fresh := at(1, ready), at(1, gated)
	old.Pod.UID = "uid-old"
	old.Pod.ReadySince = t0.Add(-time.Hour)
	got := For(ipv4(web(old, fresh).with(func(b *Binding) { b.Gate, b.Gated = gate, []Pod{fresh.Pod} })))
	if len(got.Gated) != 1 || len(got.Gated[0].Targets) != 1 || got.Gated[0].Pod.UID != "uid-1" {
		t.Errorf("got %+v", got)
	}
}
