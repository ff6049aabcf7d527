package desired

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// web is a binding to a Service with one port, 80, whose pods listen on 8080.
func web(endpoints ...Endpoint) Binding {
	return Binding{
		ID:      BindingID{"shop", "web"},
		Service: Service{Name: "web", Existence: Exists, Ports: []ServicePort{{"http", 80}}},
		Port:    PortRef{Name: "http"},
		Slices:  []Slice{{Ports: []SlicePort{{"http", 8080}}, Endpoints: endpoints}},
	}
}

func (b Binding) with(change func(*Binding)) Binding { change(&b); return b }

// at is an endpoint with a pod behind it that bears the address's last part as
// its name; the endpoint's conditions are those of the pod.
func at(host int, pod Pod) Endpoint {
	pod.Known, pod.Name, pod.UID = Seen, fmt.Sprintf("pod-%d", host), fmt.Sprintf("uid-%d", host)
	return Endpoint{Addr: addr(host), Ready: pod.Ready && pod.Deleted.IsZero(), Terminating: !pod.Deleted.IsZero(), Pod: pod}
}

func addr(host int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}) }

var (
	ready    = Pod{Ready: true, ContainersReady: true, ReadySince: t0}
	notReady = Pod{}
	leaving  = Pod{Ready: true, ContainersReady: true, Deleted: t0, ServesUntil: t0.Add(30 * time.Second)}
	gated    = Pod{ContainersReady: true, ReadySince: t0, Gates: []Gate{{Type: gate, Ours: true}}}
	silent   = Pod{ContainersReady: true, NotReadySince: t0}
	finished = Pod{Ready: true, ContainersReady: true, Finished: true}
)

// gate is the type of the gate of binding web.
const gate = "target-health/web"

func ipv4(bindings ...Binding) Facts { return Facts{Family: target.IPv4, Bindings: bindings} }

// decided spells out candidates: key verdict reason, one a line.
func decided(w Wanted) string {
	var lines []string
	for _, c := range w.Candidates {
		lines = append(lines, fmt.Sprintf("%s %s %s", c.Key, c.Verdict.word(), c.Reason))
	}
	return strings.Join(lines, "\n")
}

func (v Verdict) word() string { return [...]string{"leave", "keep", "want"}[v] }

func expect(t *testing.T, facts Facts, want ...string) Wanted {
	t.Helper()
	got := For(facts)
	if decided(got) != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", decided(got), strings.Join(want, "\n"))
	}
	return got
}

func TestBehaviour01_ReadyPodsAreTargets(t *testing.T) {
	expect(t, ipv4(web(at(1, ready), at(2, notReady), at(3, finished))),
		"10.0.0.1:8080 want PodReady",
		"10.0.0.2:8080 leave PodNotReady",
		"10.0.0.3:8080 leave PodFinished")
}

func TestBehaviour02_GatePendingPodIsTarget(t *testing.T) {
	for _, c := range []struct {
		name string
		pod  Pod
		want string
	}{
		{"our gate closed", gated, "want GatePending"},
		{"one of our gates closed, one open", Pod{ContainersReady: true, Gates: []Gate{{Ours: true, Open: true}, {Ours: true}}}, "want GatePending"},
		{"containers not ready", Pod{Gates: []Gate{{Ours: true}}}, "leave PodNotReady"},
		{"somebody else's gate closed", Pod{ContainersReady: true, Gates: []Gate{{}}}, "leave PodNotReady"},
		{"ours and somebody else's closed", Pod{ContainersReady: true, Gates: []Gate{{Ours: true}, {}}}, "leave PodNotReady"},
		{"ours closed, somebody else's open", Pod{ContainersReady: true, Gates: []Gate{{Ours: true}, {Open: true, Since: t0}}}, "want GatePending"},
		{"terminating with a gate closed", Pod{ContainersReady: true, Deleted: t0, Gates: []Gate{{Ours: true}}}, "leave PodTerminating"},
	} {
		t.Run(c.name, func(t *testing.T) {
			expect(t, ipv4(web(at(1, c.pod), at(9, ready))), "10.0.0.1:8080 "+c.want, "10.0.0.9:8080 want PodReady")
		})
	}
}

// A gate that was opened makes the pod ready only when the kubelet has seen it.
// Until then the pod looks like one whose node fell silent, and must not be
// thrown out by a binding that deregisters such pods.
func TestBehaviour02_GateJustOpenedIsNoSilentNode(t *testing.T) {
	opened := Pod{
		ContainersReady: true, NotReadySince: t0, ReadySince: t0.Add(time.Second),
		Gates: []Gate{{Ours: true, Open: true, Since: t0.Add(5 * time.Second)}},
	}
	silentLater := opened
	silentLater.NotReadySince = t0.Add(time.Hour)
	dying := opened
	dying.Deleted = t0.Add(6 * time.Second)
	for _, c := range []struct {
		name   string
		pod    Pod
		policy NodePolicy
		want   string
	}{
		{"opened, deregister", opened, LeaveSilentNode, "want GatePending"},
		{"opened, hold", opened, HoldOnSilentNode, "want GatePending"},
		{"opened and deleted", dying, HoldOnSilentNode, "leave PodTerminating"},
		{"silent an hour later, deregister", silentLater, LeaveSilentNode, "leave PodNotReady"},
		{"silent an hour later, hold", silentLater, HoldOnSilentNode, "keep NodeNotReady"},
	} {
		t.Run(c.name, func(t *testing.T) {
			binding := web(at(1, c.pod), at(9, ready)).with(func(b *Binding) { b.NodeNotReady = c.policy })
			expect(t, ipv4(binding), "10.0.0.1:8080 "+c.want, "10.0.0.9:8080 want PodReady")
		})
	}
}

func TestBehaviour03_TerminatingPodIsNoTarget(t *testing.T) {
	got := expect(t, ipv4(web(at(1, leaving), at(2, ready))),
		"10.0.0.1:8080 leave PodTerminating", "10.0.0.2:8080 want PodReady")
	if c := got.Candidates[0]; !c.Since.Equal(leaving.Deleted) || !c.ServesUntil.Equal(leaving.ServesUntil) {
		t.Errorf("since %v, serves until %v, want %v and %v", c.Since, c.ServesUntil, leaving.Deleted, leaving.ServesUntil)
	}
	t.Run("the pod knows it before its slice", func(t *testing.T) {
		late := at(1, leaving)
		late.Ready, late.Terminating = true, false
		expect(t, ipv4(web(late)), "10.0.0.1:8080 leave PodTerminating")
	})
	t.Run("all of them", func(t *testing.T) {
		expect(t, ipv4(web(at(1, leaving), at(2, leaving))),
			"10.0.0.1:8080 leave PodTerminating", "10.0.0.2:8080 leave PodTerminating")
	})
}

func TestBehaviour04_EndpointWithoutPodIsTarget(t *testing.T) {
	for _, c := range []struct {
		name     string
		endpoint Endpoint
		want     string
	}{
		{"hand-written", Endpoint{Ready: true}, "want EndpointReady"},
		{"hand-written, not ready", Endpoint{}, "leave PodNotReady"},
		{"hand-written, terminating", Endpoint{Ready: true, Terminating: true}, "leave PodTerminating"},
		{"pod not in the cache yet", Endpoint{Ready: true, Pod: Pod{Known: NotSeenYet, UID: "u"}}, "want PodNotSeenYet"},
		{"pod not in the cache yet, not ready", Endpoint{Pod: Pod{Known: NotSeenYet, UID: "u"}}, "leave PodNotReady"},
		{"pod not in the cache yet, terminating", Endpoint{Terminating: true, Pod: Pod{Known: NotSeenYet, UID: "u"}}, "leave PodTerminating"},
		{"pod seen to be gone, slice late", Endpoint{Ready: true, Pod: Pod{Known: SeenGone, UID: "u"}}, "leave PodGone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.endpoint.Addr = addr(1)
			expect(t, ipv4(web(c.endpoint, at(9, ready))), "10.0.0.1:8080 "+c.want, "10.0.0.9:8080 want PodReady")
		})
	}
}

func TestBehaviour05_OnlyTheBindingsPortCounts(t *testing.T) {
	binding := web(at(1, ready))
	binding.Service.Ports = []ServicePort{{"http", 80}, {"admin", 9000}}
	binding.Slices[0].Ports = []SlicePort{{"admin", 9090}, {"http", 8080}, {"stray", 7}}
	for _, c := range []struct {
		port PortRef
		want string
	}{
		{PortRef{Name: "http"}, "10.0.0.1:8080 want PodReady"},
		{PortRef{Number: 80}, "10.0.0.1:8080 want PodReady"},
		{PortRef{Name: "admin"}, "10.0.0.1:9090 want PodReady"},
		{PortRef{Number: 9000}, "10.0.0.1:9090 want PodReady"},
	} {
		t.Run(c.port.String(), func(t *testing.T) {
			expect(t, ipv4(binding.with(func(b *Binding) { b.Port = c.port })), c.want)
		})
	}
}

func TestBehaviour05_NamedTargetPortMayDifferPerPod(t *testing.T) {
	binding := web(at(1, ready))
	binding.Slices = append(binding.Slices, Slice{Ports: []SlicePort{{"http", 8081}}, Endpoints: []Endpoint{at(2, ready)}})
	expect(t, ipv4(binding), "10.0.0.1:8080 want PodReady", "10.0.0.2:8081 want PodReady")
}

func TestBehaviour05_TheOnlyPortNeedsNoName(t *testing.T) {
	binding := web(at(1, ready)).with(func(b *Binding) { b.Port = PortRef{} })
	expect(t, ipv4(binding), "10.0.0.1:8080 want PodReady")
}

func TestBehaviour06_OnlyTheGroupsFamilyCounts(t *testing.T) {
	six := Endpoint{Addr: netip.MustParseAddr("2001:db8::1"), Ready: true}
	mapped := Endpoint{Addr: netip.MustParseAddr("::ffff:10.0.0.2"), Ready: true}
	binding := web(at(1, ready), six, mapped, Endpoint{Ready: true})
	expect(t, ipv4(binding), "10.0.0.1:8080 want PodReady", "10.0.0.2:8080 want EndpointReady")
}

func TestBehaviour21_IPv6Groups(t *testing.T) {
	six := Endpoint{Addr: netip.MustParseAddr("2001:db8::1"), Ready: true}
	expect(t, Facts{Family: target.IPv6, Bindings: []Binding{web(at(1, ready), six)}}, "[2001:db8::1]:8080 want EndpointReady")
}

func TestBehaviour07_PodsOnOneAddressAndPortAreOneTarget(t *testing.T) {
	second := at(1, notReady)
	second.Pod.UID = "uid-other"
	for _, endpoints := range [][]Endpoint{{at(1, ready), second}, {second, at(1, ready)}} {
		got := expect(t, ipv4(web(endpoints...)), "10.0.0.1:8080 want PodReady")
		if uid := got.Candidates[0].Pod.UID; uid != "uid-1" {
			t.Errorf("the target is of pod %s, want the ready one's", uid)
		}
	}
}

func TestBehaviour08_UnknownServiceOrPortIsAProblem(t *testing.T) {
	several := []ServicePort{{"http", 80}, {"admin", 9000}}
	for _, c := range []struct {
		name    string
		binding Binding
		reason  target.Reason
		hold    target.Reason
		says    string
	}{
		{
			"service never seen", web(at(1, ready)).with(func(b *Binding) { b.Service.Existence = NeverSeen }),
			target.ServiceNotFound, target.ServiceNotFound, `Service "web" does not exist: create it`,
		},
		{
			"service seen to be deleted", web(at(1, ready)).with(func(b *Binding) { b.Service.Existence = SeenDeleted }),
			target.ServiceDeleted, "", `Service "web" was deleted, so its targets are deregistered`,
		},
		{
			"no such port", web(at(1, ready)).with(func(b *Binding) { b.Port.Name = "htpt" }),
			target.PortNotFound, target.PortNotFound, `Service "web" has no port "htpt" but 80 http`,
		},
		{
			"no such number", web(at(1, ready)).with(func(b *Binding) { b.Port = PortRef{Number: 81} }),
			target.PortNotFound, target.PortNotFound, `"81" but 80 http`,
		},
		{
			"several ports, none named", web(at(1, ready)).with(func(b *Binding) { b.Port, b.Service.Ports = PortRef{}, several }),
			target.PortNotFound, target.PortNotFound, `Service "web" has several ports, 80 http, 9000 admin`,
		},
		{
			"no ports", web(at(1, ready)).with(func(b *Binding) { b.Service.Ports = nil }),
			target.PortNotFound, target.PortNotFound, "none at all",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := expect(t, ipv4(c.binding))
			if len(got.Problems) != 1 || got.Problems[0].Reason != c.reason || got.Problems[0].Binding != c.binding.ID {
				t.Fatalf("got problems %+v, want %s of %s", got.Problems, c.reason, c.binding.ID)
			}
			if !strings.Contains(got.Problems[0].Message, c.says) {
				t.Errorf("message %q, want one that says %q", got.Problems[0].Message, c.says)
			}
			if got.HoldOthers != c.hold {
				t.Errorf("HoldOthers: got %q, want %q", got.HoldOthers, c.hold)
			}
		})
	}
}

func TestBehaviour08_OneBadBindingDoesNotStopAnother(t *testing.T) {
	bad := web(at(7, ready)).with(func(b *Binding) { b.ID.Name, b.Service = "bad", Service{} })
	got := expect(t, ipv4(bad, web(at(1, ready), at(2, leaving))),
		"10.0.0.1:8080 want PodReady", "10.0.0.2:8080 leave PodTerminating")
	if len(got.Problems) != 1 || got.HoldOthers != target.ServiceNotFound {
		t.Errorf("problems %+v, hold others %q", got.Problems, got.HoldOthers)
	}
}

func TestBehaviour09_NoPodReadyKeepsWhatThereIs(t *testing.T) {
	gone := at(3, ready)
	gone.Pod.Known = SeenGone
	expect(t, ipv4(web(at(1, notReady), at(2, leaving), gone, at(4, finished))),
		"10.0.0.1:8080 keep NoPodReady",
		"10.0.0.2:8080 leave PodTerminating",
		"10.0.0.3:8080 leave PodGone",
		"10.0.0.4:8080 leave PodFinished")
	t.Run("endpoints without pods too", func(t *testing.T) {
		expect(t, ipv4(web(Endpoint{Addr: addr(1)})), "10.0.0.1:8080 keep NoPodReady")
	})
	t.Run("each binding by itself", func(t *testing.T) {
		other := web(at(5, ready)).with(func(b *Binding) { b.ID.Name = "other" })
		expect(t, ipv4(web(at(1, notReady)), other), "10.0.0.1:8080 keep NoPodReady", "10.0.0.5:8080 want PodReady")
	})
}

func TestBehaviour10_SilentNodeFollowsThePolicy(t *testing.T) {
	evicted := silent
	evicted.Deleted = t0
	for _, c := range []struct {
		name   string
		policy NodePolicy
		pods   []Pod
		want   []string
	}{
		{"default", "", []Pod{silent, ready}, []string{"keep NodeNotReady", "want PodReady"}},
		{"hold", HoldOnSilentNode, []Pod{silent, ready}, []string{"keep NodeNotReady", "want PodReady"}},
		{"deregister", LeaveSilentNode, []Pod{silent, ready}, []string{"leave PodNotReady", "want PodReady"}},
		{"deregister, but all are silent", LeaveSilentNode, []Pod{silent, silent}, []string{"keep NoPodReady", "keep NoPodReady"}},
		{"evicted", HoldOnSilentNode, []Pod{evicted, ready}, []string{"leave NodeNotReady", "want PodReady"}},
		{"all evicted", HoldOnSilentNode, []Pod{evicted, evicted}, []string{"keep NodeNotReady", "keep NodeNotReady"}},
		{"all evicted, deregister", LeaveSilentNode, []Pod{evicted, evicted}, []string{"keep NodeNotReady", "keep NodeNotReady"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var endpoints []Endpoint
			var want []string
			for i, pod := range c.pods {
				endpoints = append(endpoints, at(i+1, pod))
				want = append(want, fmt.Sprintf("10.0.0.%d:8080 %s", i+1, c.want[i]))
			}
			expect(t, ipv4(web(endpoints...).with(func(b *Binding) { b.NodeNotReady = c.policy })), want...)
		})
	}
}

func TestBehaviour31_BindingBeingDeletedWantsNothing(t *testing.T) {
	deleting := func(b *Binding) { b.Deleting = true }
	expect(t, ipv4(web(at(1, ready), at(2, notReady)).with(deleting)),
		"10.0.0.1:8080 leave BindingDeleted", "10.0.0.2:8080 leave BindingDeleted")
	t.Run("also when its Service cannot be found", func(t *testing.T) {
		got := expect(t, ipv4(web(at(1, ready)).with(deleting).with(func(b *Binding) { b.Service = Service{} })))
		if len(got.Problems) != 0 || got.HoldOthers != "" {
			t.Errorf("problems %+v, hold others %q, want nothing to hold the targets back", got.Problems, got.HoldOthers)
		}
	})
}

func TestBehaviour32_BindingsAreUnited(t *testing.T) {
	other := web(at(2, ready), at(3, ready)).with(func(b *Binding) { b.ID.Name = "other" })
	first := web(at(1, ready), at(2, ready))
	got := expect(t, ipv4(other, first),
		"10.0.0.1:8080 want PodReady", "10.0.0.2:8080 want PodReady", "10.0.0.3:8080 want PodReady")
	if bindings := fmt.Sprint(got.Candidates[1].Bindings); bindings != "[shop/other shop/web]" {
		t.Errorf("the shared target belongs to %s, want both", bindings)
	}
	t.Run("deleting one leaves the other's", func(t *testing.T) {
		expect(t, ipv4(other.with(func(b *Binding) { b.Deleting = true }), first),
			"10.0.0.1:8080 want PodReady", "10.0.0.2:8080 want PodReady", "10.0.0.3:8080 leave BindingDeleted")
	})
}

// An address that a new pod got while the old one is still listed: the new pod's
// wish prevails, whichever is listed first, and a target is kept for its sake.
func TestBehaviour28_ReusedAddressIsOfTheNewPod(t *testing.T) {
	old, fresh := at(1, leaving), at(1, gated)
	old.Pod.UID, fresh.Pod.UID = "old", "new"
	for _, endpoints := range [][]Endpoint{{old, fresh}, {fresh, old}} {
		got := expect(t, ipv4(web(endpoints...)), "10.0.0.1:8080 want GatePending")
		if got.Candidates[0].Pod.UID != "new" {
			t.Errorf("the target is of pod %s, want the new one's", got.Candidates[0].Pod.UID)
		}
	}
}

func TestProblemsAreOrdered(t *testing.T) {
	var bindings []Binding
	for _, name := range []string{"c", "a", "b"} {
		bindings = append(bindings, web().with(func(b *Binding) { b.ID.Name, b.Service = name, Service{} }))
	}
	got := For(ipv4(bindings...)).Problems
	if !slices.IsSortedFunc(got, func(a, b Problem) int { return a.Binding.Compare(b.Binding) }) || len(got) != 3 {
		t.Errorf("got %+v, want three in order", got)
	}
}

// Another binding may mean the group too; until that is known, what only it may
// want stays, and what is known of this one goes on.
func TestUndecidedBindingHoldsOthers(t *testing.T) {
	facts := ipv4(web(at(1, ready), at(2, leaving)))
	facts.Undecided = []BindingID{{"shop", "api"}}
	wanted := expect(t, facts,
		"10.0.0.1:8080 want PodReady",
		"10.0.0.2:8080 leave PodTerminating")
	if wanted.HoldOthers != target.Syncing {
		t.Errorf("targets that are no candidates are held by %q, want %q", wanted.HoldOthers, target.Syncing)
	}
}
