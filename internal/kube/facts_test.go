package kube

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	ourGate   = corev1.PodConditionType(v1beta1.ReadinessGatePrefix + "web")
	otherGate = corev1.PodConditionType("example.com/other")
)

func condition(kind corev1.PodConditionType, status corev1.ConditionStatus, after time.Duration) corev1.PodCondition {
	return corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: metav1.NewTime(t0.Add(after))}
}

func aPod(name string, change func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name)}}
	if change != nil {
		change(pod)
	}
	return pod
}

func TestPodOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
		want   desired.Pod
	}{
		{"new", nil, desired.Pod{}},
		{"ready", func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{
				condition(corev1.ContainersReady, corev1.ConditionTrue, time.Second), condition(corev1.PodReady, corev1.ConditionTrue, 2*time.Second),
			}
		}, desired.Pod{Ready: true, ContainersReady: true, ReadySince: t0.Add(2 * time.Second)}},
		{"on a silent node", func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{
				condition(corev1.ContainersReady, corev1.ConditionTrue, time.Second), condition(corev1.PodReady, corev1.ConditionUnknown, time.Hour),
			}
		}, desired.Pod{ContainersReady: true, ReadySince: t0.Add(time.Hour), NotReadySince: t0.Add(time.Hour)}},
		{"gated", func(p *corev1.Pod) {
			p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: ourGate}, {ConditionType: otherGate}}
			p.Status.Conditions = []corev1.PodCondition{
				condition(corev1.ContainersReady, corev1.ConditionTrue, time.Second), condition(corev1.PodReady, corev1.ConditionFalse, 0),
				condition(otherGate, corev1.ConditionTrue, 3*time.Second),
				{
					Type: ourGate, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(t0.Add(2 * time.Second)),
					Reason: "Elb.InitialHealthChecking", Message: "in progress",
				},
			}
		}, desired.Pod{
			ContainersReady: true, ReadySince: t0.Add(time.Second), NotReadySince: t0,
			Gates: []desired.Gate{
				{Type: string(ourGate), Ours: true, Since: t0.Add(2 * time.Second), Reason: "Elb.InitialHealthChecking", Message: "in progress"},
				{Type: string(otherGate), Open: true, Since: t0.Add(3 * time.Second)},
			},
		}},
		{"finished", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, desired.Pod{Finished: true}},
		{"failed", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, desired.Pod{Finished: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Known, c.want.Name, c.want.UID = desired.Seen, "web", "uid-web"
			if got := PodOf(aPod("web", c.change)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestPodServesWhileAllItsContainersSleep(t *testing.T) {
	sleep := func(seconds int64) corev1.Container {
		return corev1.Container{Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: seconds}}}}
	}
	exec := corev1.Container{Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{}}}}
	for _, c := range []struct {
		name       string
		grace      int64
		containers []corev1.Container
		want       time.Duration // after the deletion; negative: unknown
	}{
		{"one sleeps", 60, []corev1.Container{sleep(40)}, 40 * time.Second},
		{"the first to wake counts", 60, []corev1.Container{sleep(40), sleep(20)}, 20 * time.Second},
		{"the grace period ends before", 30, []corev1.Container{sleep(40)}, 30 * time.Second},
		{"one does not sleep", 60, []corev1.Container{sleep(40), {}}, -1},
		{"one does something else", 60, []corev1.Container{exec}, -1},
		{"killed at once", 0, []corev1.Container{sleep(40)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := PodOf(aPod("web", func(p *corev1.Pod) {
				end := metav1.NewTime(t0.Add(time.Duration(c.grace) * time.Second))
				p.DeletionTimestamp, p.DeletionGracePeriodSeconds, p.Spec.Containers = &end, &c.grace, c.containers
			}))
			if !got.Deleted.Equal(t0) {
				t.Errorf("deleted at %v, want %v", got.Deleted, t0)
			}
			if c.want < 0 && !got.ServesUntil.IsZero() || c.want >= 0 && !got.ServesUntil.Equal(t0.Add(c.want)) {
				t.Errorf("serves until %v, want %v after %v", got.ServesUntil, c.want, t0)
			}
		})
	}
}

func aService(ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ServiceSpec{Ports: ports}}
}

func aSlice(service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	name, number := "http", int32(8080)
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "s", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		Ports:      []discoveryv1.EndpointPort{{Name: &name, Port: &number}, {Name: &name}},
		Endpoints:  endpoints,
	}
}

func endpointOf(name string, conditions discoveryv1.EndpointConditions, addresses ...string) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: addresses, Conditions: conditions}
	if name != "" {
		e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: name, UID: types.UID("uid-" + name)}
	}
	return e
}

var (
	yes, no = true, false
	web     = Binding{
		ID: desired.BindingID{Namespace: "shop", Name: "web"}, Service: types.NamespacedName{Namespace: "shop", Name: "web"},
		Port: desired.PortRef{Name: "http"}, Nodes: desired.LeaveSilentNode,
	}
)

// facts reads the facts of binding web.
func facts(t *testing.T, c *Cluster) desired.Binding {
	t.Helper()
	got, err := c.Facts(t.Context(), target.IPv4, []Binding{web})
	if err != nil {
		t.Fatal(err)
	}
	if got.Family != target.IPv4 || len(got.Bindings) != 1 {
		t.Fatalf("got %+v", got)
	}
	return got.Bindings[0]
}

func TestFactsOfABinding(t *testing.T) {
	s := newShelf().add(aService(corev1.ServicePort{Name: "http", Port: 80}), aPod("a", nil),
		aSlice("web", endpointOf("a", discoveryv1.EndpointConditions{Ready: &yes}, "10.0.0.1", "web.example.com")), aSlice("another", endpointOf("a", discoveryv1.EndpointConditions{}, "10.9.9.9")))
	got := facts(t, NewCluster(s))
	want := desired.Binding{
		ID: web.ID, Port: web.Port, NodeNotReady: web.Nodes, Gate: string(ourGate),
		Service: desired.Service{Name: "web", Existence: desired.Exists, Ports: []desired.ServicePort{{Name: "http", Number: 80}}},
		Slices: []desired.Slice{{
			Ports:     []desired.SlicePort{{Name: "http", Number: 8080}},
			Endpoints: []desired.Endpoint{{Addr: mustKey("10.0.0.1:1").Addr, Ready: true, Pod: PodOf(s.pods[types.NamespacedName{Namespace: "shop", Name: "a"}])}},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func mustKey(s string) target.Key {
	key, err := target.ParseKey(s)
	if err != nil {
		panic(err)
	}
	return key
}

func TestBehaviour01_ReadyThatIsNilCountsAsReady(t *testing.T) {
	for _, c := range []struct {
		conditions         discoveryv1.EndpointConditions
		ready, terminating bool
	}{
		{discoveryv1.EndpointConditions{}, true, false},
		{discoveryv1.EndpointConditions{Ready: &no}, false, false},
		{discoveryv1.EndpointConditions{Ready: &yes, Terminating: &yes}, true, true},
		{discoveryv1.EndpointConditions{Terminating: &no}, true, false},
	} {
		s := newShelf().add(aService(), aSlice("web", endpointOf("", c.conditions, "10.0.0.1")))
		e := facts(t, NewCluster(s)).Slices[0].Endpoints[0]
		if e.Ready != c.ready || e.Terminating != c.terminating || e.Pod.Known != desired.NoPod {
			t.Errorf("%+v: got %+v", c.conditions, e)
		}
	}
}

func TestBehaviour04_KnowledgeOfThePodBehindAnEndpoint(t *testing.T) {
	known := func(change func(*shelf, *Cluster)) desired.Pod {
		s := newShelf().add(aService(), aSlice("web", endpointOf("a", discoveryv1.EndpointConditions{}, "10.0.0.1")))
		c := NewCluster(s)
		change(s, c)
		return facts(t, c).Slices[0].Endpoints[0].Pod
	}
	for _, c := range []struct {
		name   string
		change func(*shelf, *Cluster)
		want   desired.PodKnowledge
	}{
		{"in the cache", func(s *shelf, _ *Cluster) { s.add(aPod("a", nil)) }, desired.Seen},
		{"not in the cache", func(*shelf, *Cluster) {}, desired.NotSeenYet},
		{"seen to be deleted", func(_ *shelf, c *Cluster) { c.PodDeleted("uid-a") }, desired.SeenGone},
		{"another pod of that name", func(s *shelf, _ *Cluster) { s.add(aPod("a", func(p *corev1.Pod) { p.UID = "new" })) }, desired.NotSeenYet},
		{"another, and this was seen to go", func(s *shelf, c *Cluster) {
			s.add(aPod("a", func(p *corev1.Pod) { p.UID = "new" }))
			c.PodDeleted("uid-a")
		}, desired.SeenGone},
	} {
		if got := known(c.change); got.Known != c.want || got.UID != "uid-a" || got.Name != "a" {
			t.Errorf("%s: got %+v, want knowledge %d of uid-a", c.name, got, c.want)
		}
	}
}

func TestBehaviour08_MissingServiceIsNotADeletedOne(t *testing.T) {
	s := newShelf()
	c := NewCluster(s)
	existence := func() desired.Existence { return facts(t, c).Service.Existence }
	if got := existence(); got != desired.NeverSeen {
		t.Errorf("never seen: got %d", got)
	}
	s.add(aService())
	c.ServiceExists(web.Service)
	if got := existence(); got != desired.Exists {
		t.Errorf("created: got %d", got)
	}
	clear(s.services)
	c.ServiceDeleted(web.Service)
	if got := existence(); got != desired.SeenDeleted {
		t.Errorf("deleted: got %d", got)
	}
	s.add(aService())
	c.ServiceExists(web.Service)
	clear(s.services)
	if got := existence(); got != desired.NeverSeen {
		t.Errorf("created again and missing from a read: got %d", got)
	}
}

func TestRule5_FailedReadsAreNoFacts(t *testing.T) {
	for _, kind := range []string{"service", "slice", "pod", "gate"} {
		s := newShelf().add(aService(), aSlice("web", endpointOf("a", discoveryv1.EndpointConditions{}, "10.0.0.1")))
		s.broken = kind
		if got, err := NewCluster(s).Facts(t.Context(), target.IPv4, []Binding{web}); err == nil {
			t.Errorf("%s: got %+v, want an error", kind, got)
		}
	}
}

func TestServicesOfAPod(t *testing.T) {
	s := newShelf().add(aSlice("web", endpointOf("a", discoveryv1.EndpointConditions{}, "10.0.0.1")),
		aSlice("api", endpointOf("b", discoveryv1.EndpointConditions{}), endpointOf("a", discoveryv1.EndpointConditions{})),
		aSlice("", endpointOf("a", discoveryv1.EndpointConditions{})), aSlice("none", endpointOf("", discoveryv1.EndpointConditions{}, "10.0.0.2")))
	c := NewCluster(s)
	if got := fmt.Sprint(c.ServicesOf(t.Context(), types.NamespacedName{Namespace: "shop", Name: "a"})); got != "[shop/web shop/api]" {
		t.Errorf("got %s, want shop/web and shop/api", got)
	}
	if got := c.ServicesOf(t.Context(), types.NamespacedName{Namespace: "elsewhere", Name: "a"}); len(got) != 0 {
		t.Errorf("got %v for a pod of another namespace", got)
	}
	s.broken = "slice"
	if got := c.ServicesOf(t.Context(), types.NamespacedName{Namespace: "shop", Name: "a"}); got != nil {
		t.Errorf("got %v from a cache that cannot be read", got)
	}
}

func TestIndexesOfOtherThings(t *testing.T) {
	if got := slices.Concat(podNames(aPod("a", nil)), serviceNames(aPod("a", nil)), gateTypes(aService())); len(got) != 0 {
		t.Errorf("a pod is indexed as a slice under %v", got)
	}
}
