package desired

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// chosen is a pod that a binding itself chooses, whose container declares http.
func chosen(host int, pod Pod) Selected {
	return Selected{
		Pod: at(host, pod).Pod, Addrs: []netip.Addr{addr(host)}, HostAddrs: []netip.Addr{addr(200)},
		Ports: []ContainerPort{{"metrics", 9090, 0}, {"http", 8080, 0}},
	}
}

func (s Selected) with(change func(*Selected)) Selected { change(&s); return s }

// choosing is a binding that chooses pods and means their port http.
func choosing(registerAt RegisterAt, pods ...Selected) Binding {
	return Binding{
		ID: BindingID{"shop", "web"}, Port: PortRef{Name: "http"}, Gate: gate,
		Selection: &Selection{Selector: "app=web", RegisterAt: registerAt, Pods: pods},
	}
}

var (
	starting = Pod{Running: true}
	pending  = Pod{}
)

func TestBehaviour37_ReadyPodsOfASelectionAreTargets(t *testing.T) {
	expect(t, ipv4(choosing(AtReady, chosen(1, ready), chosen(2, starting), chosen(3, pending), chosen(4, leaving), chosen(5, finished), chosen(6, gated), chosen(7, silent))),
		"10.0.0.1:8080 want PodReady",
		"10.0.0.2:8080 leave PodNotReady",
		"10.0.0.3:8080 leave PodNotReady",
		"10.0.0.4:8080 leave PodTerminating",
		"10.0.0.5:8080 leave PodFinished",
		"10.0.0.6:8080 want GatePending",
		"10.0.0.7:8080 keep NodeNotReady")
}

func TestBehaviour37_RunningPodsOfASelectionAreTargets(t *testing.T) {
	running := func(pod Pod) Pod { pod.Running = true; return pod }
	foreign := running(gated)
	foreign.Gates = []Gate{{Type: "other"}}
	binding := choosing(AtRunning, chosen(1, running(ready)), chosen(2, starting), chosen(3, pending), chosen(4, running(leaving)),
		chosen(5, finished), chosen(6, running(gated)), chosen(7, running(silent)), chosen(8, foreign))
	want := []string{
		"10.0.0.1:8080 want PodReady",
		"10.0.0.2:8080 want PodRunning",
		"10.0.0.3:8080 leave PodNotReady",
		"10.0.0.4:8080 leave PodTerminating",
		"10.0.0.5:8080 leave PodFinished",
		"10.0.0.6:8080 want GatePending",
		"10.0.0.7:8080 keep NodeNotReady",
		"10.0.0.8:8080 want PodRunning",
	}
	expect(t, ipv4(binding), want...)
	want[6] = "10.0.0.7:8080 leave PodNotReady"
	expect(t, ipv4(binding.with(func(b *Binding) { b.NodeNotReady = LeaveSilentNode })), want...)
}

// The endpoints of a Service are not registered before they are ready, whatever their
// pods' phase.
func TestRunningCountsInSelectionsOnly(t *testing.T) {
	expect(t, ipv4(web(at(1, ready), at(2, starting))), "10.0.0.1:8080 want PodReady", "10.0.0.2:8080 leave PodNotReady")
}

func TestBehaviour37_AddressAndPortOfAChosenPod(t *testing.T) {
	v6 := netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		name   string
		port   PortRef
		family target.Family
		change func(*Selected)
		want   string
	}{
		{"named", PortRef{Name: "http"}, target.IPv4, nil, "10.0.0.1:8080"},
		{"numbered", PortRef{Number: 9090}, target.IPv4, nil, "10.0.0.1:9090"},
		{"a number that is not declared", PortRef{Number: 7070}, target.IPv4, nil, "10.0.0.1:7070"},
		{"no address yet", PortRef{Name: "http"}, target.IPv4, func(s *Selected) { s.Addrs = nil }, ""},
		{"hostPort", PortRef{Name: "http"}, target.IPv4, func(s *Selected) { s.Ports[1].Host = 80 }, "10.0.0.200:80"},
		{"hostPort, by number", PortRef{Number: 8080}, target.IPv4, func(s *Selected) { s.Ports[1].Host = 80 }, "10.0.0.200:80"},
		{"hostPort of another port", PortRef{Name: "http"}, target.IPv4, func(s *Selected) { s.Ports[0].Host = 80 }, "10.0.0.1:8080"},
		{"hostPort before the node is known", PortRef{Name: "http"}, target.IPv4, func(s *Selected) { s.Ports[1].Host, s.HostAddrs = 80, nil }, ""},
		{"host network", PortRef{Name: "http"}, target.IPv4, func(s *Selected) { s.Addrs, s.Ports[1].Host = s.HostAddrs, 8080 }, "10.0.0.200:8080"},
		{"two families", PortRef{Name: "http"}, target.IPv4, func(s *Selected) { s.Addrs = append([]netip.Addr{v6}, s.Addrs...) }, "10.0.0.1:8080"},
		{"two families, of which the other", PortRef{Name: "http"}, target.IPv6, func(s *Selected) { s.Addrs = append(s.Addrs, v6) }, "[2001:db8::1]:8080"},
		{"only the other family", PortRef{Name: "http"}, target.IPv6, nil, ""},
		{"hostPort in the other family", PortRef{Name: "http"}, target.IPv6, func(s *Selected) { s.Ports[1].Host, s.Addrs = 80, []netip.Addr{v6} }, ""},
		{"a number of zero", PortRef{Name: "http"}, target.IPv4, func(s *Selected) { s.Ports[1].Number = 0 }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := chosen(1, ready)
			if c.change != nil {
				c.change(&pod)
			}
			binding := choosing(AtReady, pod).with(func(b *Binding) { b.Port = c.port })
			got := For(Facts{Family: c.family, Bindings: []Binding{binding}})
			if len(got.Candidates) == 0 && c.want == "" {
				return
			}
			if len(got.Candidates) != 1 || got.Candidates[0].Key.String() != c.want {
				t.Errorf("got %+v, want %q", got.Candidates, c.want)
			}
		})
	}
}

// A name that is another number in each pod, and one that a pod lacks.
func TestBehaviour05_EachChosenPodWithItsOwnNumber(t *testing.T) {
	other := chosen(2, ready).with(func(s *Selected) { s.Ports = []ContainerPort{{"http", 9090, 0}} })
	lacking := chosen(3, ready).with(func(s *Selected) { s.Ports = nil })
	got := expect(t, ipv4(choosing(AtReady, chosen(1, ready), other, lacking)), "10.0.0.1:8080 want PodReady", "10.0.0.2:9090 want PodReady")
	if len(got.Problems) > 0 || got.HoldOthers != "" {
		t.Errorf("got problems %+v", got.Problems)
	}
}

// A misspelt name must not empty a group, and no pods are no reason to think so.
func TestBehaviour08_NoChosenPodHasThePort(t *testing.T) {
	misspelt := choosing(AtReady, chosen(1, ready)).with(func(b *Binding) { b.Port.Name = "htpt" })
	got := expect(t, ipv4(misspelt))
	if len(got.Problems) != 1 || got.Problems[0].Reason != target.PortNotFound || got.HoldOthers != target.PortNotFound {
		t.Fatalf("got %+v", got)
	}
	if says := `of the 1 pods that "app=web" chooses has a port named "htpt"`; !strings.Contains(got.Problems[0].Message, says) {
		t.Errorf("message %q, want one that says %q", got.Problems[0].Message, says)
	}
	none := For(ipv4(choosing(AtReady)))
	if len(none.Problems) > 0 || none.HoldOthers != "" || len(none.Candidates) > 0 {
		t.Errorf("got %+v", none)
	}
	deleting := For(ipv4(misspelt.with(func(b *Binding) { b.Deleting = true })))
	if deleting.HoldOthers != "" || len(deleting.Candidates) > 0 {
		t.Errorf("got %+v", deleting)
	}
}

func TestBehaviour09_NoChosenPodIsReady(t *testing.T) {
	expect(t, ipv4(choosing(AtReady, chosen(1, starting), chosen(2, leaving))),
		"10.0.0.1:8080 keep NoPodReady", "10.0.0.2:8080 leave PodTerminating")
}

func TestBehaviour31_DeletedBindingChoosesNone(t *testing.T) {
	expect(t, ipv4(choosing(AtRunning, chosen(1, ready)).with(func(b *Binding) { b.Deleting = true })), "10.0.0.1:8080 leave BindingDeleted")
}

func TestBehaviour22_ChosenPodsThatWaitAtAGate(t *testing.T) {
	for _, c := range []struct {
		name string
		pods []Selected
		want string
	}{
		{"chosen", []Selected{chosen(1, gated)}, "[10.0.0.1:8080] "},
		{"not chosen", []Selected{chosen(2, ready)}, "[] NotAnEndpoint"},
		{"without the port", []Selected{chosen(1, gated).with(func(s *Selected) { s.Ports = nil }), chosen(2, ready)}, "[] PortNotFound"},
		{"nobody has the port", []Selected{chosen(1, gated).with(func(s *Selected) { s.Ports = nil })}, "[] PortNotFound"},
		{"of the other family", []Selected{chosen(1, gated).with(func(s *Selected) { s.Addrs = []netip.Addr{netip.MustParseAddr("2001:db8::1")} })}, "[] NotAnEndpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			binding := choosing(AtReady, c.pods...)
			binding.Gated = []Pod{at(1, gated).Pod}
			waiting := For(ipv4(binding)).Gated
			if len(waiting) != 1 {
				t.Fatalf("got %+v", waiting)
			}
			if got := spell(waiting[0]); got != c.want || (waiting[0].Reason != "") != (waiting[0].Message != "") {
				t.Errorf("got %s %q, want %s", got, waiting[0].Message, c.want)
			}
		})
	}
}

// A selection decides as a Service whose slices list the same pods would.
func TestBehaviour37_SelectionAndServiceAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var pods []Selected
		var endpoints []Endpoint
		for host := range rapid.IntRange(1, 4).Draw(t, "pods") {
			pod := anyPod().Draw(t, "pod")
			selected := chosen(host+1, pod)
			pods = append(pods, selected)
			endpoints = append(endpoints, at(host+1, pod))
		}
		policy := rapid.SampledFrom([]NodePolicy{HoldOnSilentNode, LeaveSilentNode}).Draw(t, "policy")
		as := func(b Binding) string {
			b.NodeNotReady = policy
			return decided(For(ipv4(b)))
		}
		if got, want := as(choosing(AtReady, pods...)), as(web(endpoints...)); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// Whoever is registered at ready is at running, too, unless it ends or its node is
// silent.
func TestBehaviour37_RunningRegistersNoFewer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := anyFacts().Draw(t, "facts")
		wanted := func(at RegisterAt) map[target.Key]bool {
			keys := map[target.Key]bool{}
			for i := range facts.Bindings {
				if facts.Bindings[i].Selection != nil {
					facts.Bindings[i].Selection.RegisterAt = at
				}
			}
			for _, c := range For(facts).Candidates {
				if c.Verdict == Want {
					keys[c.Key] = true
				}
			}
			return keys
		}
		early := wanted(AtRunning)
		for key := range wanted(AtReady) {
			if !early[key] {
				t.Errorf("%v is wanted when it is ready, and not when it runs", key)
			}
		}
	})
}
