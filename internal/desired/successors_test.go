package desired

import "testing"

func TestSuccessorsAreKnownByTheirGate(t *testing.T) {
	stays := Pod{Known: Seen, Name: "pod-2", UID: "uid-2"}
	leaves, finished := stays, stays
	leaves.Deleted, finished.Finished = t0, true
	going, unready := gated, gated
	going.Deleted = t0
	unready.ContainersReady, unready.Gates = false, nil
	having := func(endpoint Pod, name string, pods ...Pod) Binding {
		return web(at(1, endpoint)).with(func(b *Binding) { b.ID.Name, b.Gated = name, pods })
	}
	binding := func(name string, pods ...Pod) Binding { return having(going, name, pods...) }
	empty := binding("empty").with(func(b *Binding) { b.Slices = nil })
	for _, c := range []struct {
		name     string
		bindings []Binding
		want     Successors
	}{
		{"pods without the gate", []Binding{binding("one")}, Unforeseen},
		{"one that leaves", []Binding{binding("one", leaves)}, NoneComing},
		{"one that has ended", []Binding{binding("one", leaves, finished)}, NoneComing},
		{"one that stays", []Binding{binding("one", leaves, stays)}, Coming},
		{"none in either binding", []Binding{binding("one", leaves), binding("two", leaves)}, NoneComing},
		{"one in the other binding", []Binding{binding("one", leaves), binding("two", stays)}, Coming},
		{"not known in the other binding", []Binding{binding("one", leaves), binding("two")}, Unforeseen},
		{"nothing in the other binding", []Binding{binding("one", leaves), empty}, NoneComing},
		{"an endpoint that is not ready", []Binding{having(unready, "one", leaves)}, Coming},
		{"an endpoint that waits", []Binding{having(gated, "one", leaves)}, Coming},
		{"nothing at all", []Binding{empty}, Unforeseen},
	} {
		if got := For(ipv4(c.bindings...)).Successors; got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}
