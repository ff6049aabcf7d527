package desired

import (
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Generators draw from few values, so that keys collide, and from values that no
// cluster would show, since facts may come from anywhere.

func anyAddr() *rapid.Generator[netip.Addr] {
	return rapid.SampledFrom([]netip.Addr{
		{},
		addr(1), addr(2), addr(3), netip.MustParseAddr("::ffff:10.0.0.1"),
		netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0"),
	})
}

func anyMoment() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return t0.Add(time.Duration(rapid.IntRange(-3, 3).Draw(t, "seconds")) * time.Second)
	})
}

func anyPod() *rapid.Generator[Pod] {
	return rapid.Custom(func(t *rapid.T) Pod {
		b := func(name string) bool { return rapid.Bool().Draw(t, name) }
		pod := Pod{
			Known: PodKnowledge(rapid.IntRange(0, 3).Draw(t, "known")),
			UID:   rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "uid"),
			Name:  rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "name"),
			Ready: b("ready"), ContainersReady: b("containers ready"), Running: b("running"), Finished: b("finished"),
			ReadySince: anyMoment().Draw(t, "since"), NotReadySince: anyMoment().Draw(t, "not since"),
			Deleted: anyMoment().Draw(t, "deleted"), ServesUntil: anyMoment().Draw(t, "serves"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "gates") {
			pod.Gates = append(pod.Gates, Gate{Type: rapid.SampledFrom([]string{gate, "other"}).Draw(t, "type"), Ours: b("ours"), Open: b("open"), Since: anyMoment().Draw(t, "gate since")})
		}
		return pod
	})
}

func anySlice() *rapid.Generator[Slice] {
	return rapid.Custom(func(t *rapid.T) Slice {
		var slice Slice
		for range rapid.IntRange(0, 2).Draw(t, "ports") {
			slice.Ports = append(slice.Ports, SlicePort{anyPortName().Draw(t, "name"), rapid.Uint16Range(0, 2).Draw(t, "number")})
		}
		for range rapid.IntRange(0, 3).Draw(t, "endpoints") {
			slice.Endpoints = append(slice.Endpoints, Endpoint{
				Addr: anyAddr().Draw(t, "addr"), Ready: rapid.Bool().Draw(t, "ready"),
				Terminating: rapid.Bool().Draw(t, "terminating"), Pod: anyPod().Draw(t, "pod"),
			})
		}
		return slice
	})
}

func anySelection() *rapid.Generator[*Selection] {
	return rapid.Custom(func(t *rapid.T) *Selection {
		selection := &Selection{RegisterAt: rapid.SampledFrom([]RegisterAt{AtReady, AtRunning, "?"}).Draw(t, "register at")}
		for range rapid.IntRange(0, 3).Draw(t, "pods") {
			pod := Selected{Pod: anyPod().Draw(t, "pod")}
			pod.Addrs = rapid.SliceOfN(anyAddr(), 0, 2).Draw(t, "addrs")
			pod.HostAddrs = rapid.SliceOfN(anyAddr(), 0, 1).Draw(t, "host addrs")
			for range rapid.IntRange(0, 2).Draw(t, "ports") {
				pod.Ports = append(pod.Ports, ContainerPort{
					anyPortName().Draw(t, "name"), rapid.Uint16Range(0, 2).Draw(t, "number"), rapid.Uint16Range(0, 2).Draw(t, "host port"),
				})
			}
			selection.Pods = append(selection.Pods, pod)
		}
		return selection
	})
}

func anyPortName() *rapid.Generator[string] { return rapid.SampledFrom([]string{"", "http", "admin"}) }

func anyBinding() *rapid.Generator[Binding] {
	return rapid.Custom(func(t *rapid.T) Binding {
		binding := Binding{
			Deleting:     rapid.IntRange(0, 4).Draw(t, "deleting") == 0,
			Shared:       rapid.IntRange(0, 4).Draw(t, "shared") == 0,
			Created:      anyMoment().Draw(t, "created"),
			Service:      Service{Existence: Existence(rapid.SampledFrom([]int{0, 1, 1, 1, 2}).Draw(t, "existence"))},
			Port:         PortRef{anyPortName().Draw(t, "port name"), rapid.Uint16Range(0, 2).Draw(t, "port")},
			NodeNotReady: rapid.SampledFrom([]NodePolicy{"", HoldOnSilentNode, LeaveSilentNode, "?"}).Draw(t, "policy"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "service ports") {
			binding.Service.Ports = append(binding.Service.Ports, ServicePort{anyPortName().Draw(t, "name"), rapid.Uint16Range(0, 2).Draw(t, "number")})
		}
		binding.Slices = rapid.SliceOfN(anySlice(), 0, 3).Draw(t, "slices")
		if rapid.IntRange(0, 2).Draw(t, "by itself") == 0 {
			binding.Selection = anySelection().Draw(t, "selection")
		}
		binding.Gate, binding.Gated = gate, rapid.SliceOfN(anyPod(), 0, 2).Draw(t, "gated")
		return binding
	})
}

func anyFacts() *rapid.Generator[Facts] {
	return rapid.Custom(func(t *rapid.T) Facts {
		facts := Facts{
			Family:   rapid.SampledFrom([]target.Family{target.IPv4, target.IPv6, ""}).Draw(t, "family"),
			Bindings: rapid.SliceOfN(anyBinding(), 0, 3).Draw(t, "bindings"),
		}
		for i := range facts.Bindings {
			facts.Bindings[i].ID = BindingID{"shop", strconv.Itoa(i)}
		}
		return facts
	})
}

// shuffled is facts with everything that has no order in another order.
func shuffled(t *rapid.T, facts Facts) Facts {
	facts.Bindings = rapid.Permutation(facts.Bindings).Draw(t, "bindings")
	for i := range facts.Bindings {
		binding := &facts.Bindings[i]
		binding.Service.Ports = rapid.Permutation(binding.Service.Ports).Draw(t, "service ports")
		binding.Slices = rapid.Permutation(binding.Slices).Draw(t, "slices")
		binding.Gated = rapid.Permutation(binding.Gated).Draw(t, "gated")
		if binding.Selection != nil {
			binding.Selection = &Selection{
				RegisterAt: binding.Selection.RegisterAt, Pods: rapid.Permutation(binding.Selection.Pods).Draw(t, "pods"),
			}
		}
		for j := range binding.Slices {
			slice := &binding.Slices[j]
			slice.Ports = rapid.Permutation(slice.Ports).Draw(t, "ports")
			slice.Endpoints = rapid.Permutation(slice.Endpoints).Draw(t, "endpoints")
		}
	}
	return facts
}

func TestBehaviour14_OrderOfFactsMakesNoDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := anyFacts().Draw(t, "facts")
		want := For(facts)
		if got := For(shuffled(t, facts)); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	})
}

// Two pods with one UID, or an endpoint without a pod beside one whose pod was not
// seen, are rarely drawn.
func TestBehaviour14_OrderOfTwinsMakesNoDifference(t *testing.T) {
	named, nameless := PortRef{Name: "http"}, Pod{Known: NotSeenYet}
	waiting := Pod{Known: Seen, UID: "a", ContainersReady: true, Gates: []Gate{{Type: gate, Ours: true}}}
	choice := Binding{Port: named, Gate: gate, Gated: []Pod{waiting}, Selection: &Selection{Pods: []Selected{
		{Pod: Pod{UID: "a"}}, {Pod: Pod{UID: "a"}, Ports: []ContainerPort{{Name: "http", Number: 80}}},
	}}}
	left := web(Endpoint{Addr: addr(1), Pod: nameless}, Endpoint{Addr: addr(1)}).with(func(b *Binding) { b.Deleting = true })
	for _, binding := range []Binding{choice, left} {
		want := For(ipv4(binding))
		if binding.Selection != nil {
			slices.Reverse(binding.Selection.Pods)
		}
		for _, slice := range binding.Slices {
			slices.Reverse(slice.Endpoints)
		}
		if got := For(ipv4(binding)); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	}
}

func TestCandidatesAreOnePerKeyAndOfTheFamily(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		facts := anyFacts().Draw(t, "facts")
		got := For(facts)
		for i, c := range got.Candidates {
			if i > 0 && got.Candidates[i-1].Key.Compare(c.Key) >= 0 {
				t.Errorf("%v comes after %v", c.Key, got.Candidates[i-1].Key)
			}
			if target.FamilyOf(c.Addr) != facts.Family || c.Port == 0 || c.Addr.Is4In6() {
				t.Errorf("%v is a candidate in a group of family %q", c.Key, facts.Family)
			}
			if len(c.Bindings) == 0 || c.Reason == "" {
				t.Errorf("%+v does not say whose it is and why", c)
			}
		}
	})
}

// Only what a pod or an endpoint is alone decides whether it is wanted: what a
// binding's other endpoints are can turn a leave into a keep, and nothing else.
func TestGuardOnlyKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		binding := web(rapid.Custom(func(t *rapid.T) Endpoint {
			return Endpoint{Addr: addr(rapid.IntRange(1, 5).Draw(t, "host")), Ready: rapid.Bool().Draw(t, "ready"), Pod: anyPod().Draw(t, "pod")}
		}).Draw(t, "endpoint"))
		crowd := web(at(9, ready))
		crowd.Slices[0].Endpoints = append(crowd.Slices[0].Endpoints, binding.Slices[0].Endpoints...)
		alone, among := For(ipv4(binding)).Candidates[0], For(ipv4(crowd)).Candidates[0]
		if alone.Verdict != among.Verdict && (alone.Verdict != Keep || among.Verdict != Leave) {
			t.Errorf("alone %s %s, among ready ones %s %s", alone.Verdict.word(), alone.Reason, among.Verdict.word(), among.Reason)
		}
	})
}

// A binding with a pod that stays is never left without a target it wants or keeps.
func TestBehaviour09_NeverEmptiesWhilePodsStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var endpoints []Endpoint
		stay := false
		for host := range rapid.IntRange(1, 5).Draw(t, "n") {
			endpoint := at(host+1, anyPod().Draw(t, "pod"))
			stay = stay || endpoint.Pod.Deleted.IsZero() && !endpoint.Pod.Finished
			endpoints = append(endpoints, endpoint)
		}
		got := For(ipv4(web(endpoints...).with(func(b *Binding) {
			b.NodeNotReady = rapid.SampledFrom([]NodePolicy{HoldOnSilentNode, LeaveSilentNode}).Draw(t, "policy")
		})))
		kept := slices.ContainsFunc(got.Candidates, func(c Candidate) bool { return c.Verdict != Leave })
		if stay && !kept {
			t.Errorf("pods stay, but all are to leave:\n%s", decided(got))
		}
	})
}
