package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

var account = &elb.Account{}

func arn(name string) target.ARN { return target.ARN{Name: name} }

// bound is a binding of a Service of the same name to a group.
func bound(name, group string) Bound {
	return Bound{
		Binding: kube.Binding{
			ID:      desired.BindingID{Namespace: "shop", Name: name},
			Service: types.NamespacedName{Namespace: "shop", Name: name},
		},
		Target: target.Group{ARN: arn(group)}, Account: account,
	}
}

// bind files a binding with one group.
func bind(r *Registry, b Bound) []target.ARN { return r.Bind(b.ID, b) }

func named(groups []target.ARN) string {
	var names []string
	for _, group := range groups {
		names = append(names, group.Name)
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

func TestRegistryTellsWhichGroupsAreConcerned(t *testing.T) {
	r := NewRegistry()
	for _, c := range []struct {
		name   string
		do     func() []target.ARN
		want   string
		groups string // of Service web afterwards
	}{
		{"bound", func() []target.ARN { return bind(r, bound("web", "g1")) }, "[g1]", "[g1]"},
		{"bound unchanged", func() []target.ARN { return bind(r, bound("web", "g1")) }, "[]", "[g1]"},
		{"remembers something else", func() []target.ARN {
			b := bound("web", "g1")
			b.OursIn, b.Ours = "g1", target.SetOf(target.Key{Port: 1})
			return bind(r, b)
		}, "[]", "[g1]"},
		{"deleting", func() []target.ARN {
			b := bound("web", "g1")
			b.Deleting = true
			return bind(r, b)
		}, "[g1]", "[g1]"},
		{"in use now", func() []target.ARN {
			b := bound("web", "g1")
			b.Deleting, b.Target.LoadBalancers = true, []string{"front"}
			return bind(r, b)
		}, "[g1]", "[g1]"},
		{"bound to another group", func() []target.ARN { return bind(r, bound("web", "g2")) }, "[g1 g2]", "[g2]"},
		{"bound to another Service", func() []target.ARN {
			b := bound("web", "g2")
			b.Service.Name = "api"
			return bind(r, b)
		}, "[g2]", "[]"},
		{"dropped", func() []target.ARN { return r.Drop(bound("web", "").ID) }, "[g2]", "[]"},
		{"dropped again", func() []target.ARN { return r.Drop(bound("web", "").ID) }, "[]", "[]"},
	} {
		if got := named(c.do()); got != c.want {
			t.Errorf("%s: concerned are %s, want %s", c.name, got, c.want)
		}
		if got := named(r.GroupsOf(types.NamespacedName{Namespace: "shop", Name: "web"})); got != c.groups {
			t.Errorf("%s: the Service has groups %s, want %s", c.name, got, c.groups)
		}
	}
	if len(r.bindings)+len(r.groups)+len(r.services) != 0 {
		t.Errorf("the empty registry still holds %v, %v, %v", r.bindings, r.groups, r.services)
	}
}

func TestBehaviour32_RegistryUnitesBindingsInOrder(t *testing.T) {
	r := NewRegistry()
	for _, name := range []string{"c", "a", "b"} {
		bind(r, bound(name, "g"))
	}
	bind(r, bound("z", "other"))
	var names []string
	for _, b := range r.Of(arn("g")) {
		names = append(names, b.ID.Name)
	}
	if fmt.Sprint(names) != "[a b c]" {
		t.Errorf("the group has %v, want a, b and c", names)
	}
	if got := r.Of(arn("unknown")); len(got) != 0 {
		t.Errorf("an unknown group has %v", got)
	}
}

// A binding may mean several groups, of which some come and go.
func TestRegistryOfABindingWithSeveralGroups(t *testing.T) {
	r := NewRegistry()
	in := func(groups ...string) []Bound {
		var bounds []Bound
		for _, group := range groups {
			b := bound("web", strings.TrimPrefix(group, "left "))
			b.Left = strings.HasPrefix(group, "left ")
			bounds = append(bounds, b)
		}
		return bounds
	}
	id := bound("web", "").ID
	for _, c := range []struct {
		groups                  []string
		concerned, meant, filed string
	}{
		{[]string{"g1", "g2"}, "[g1 g2]", "[g1 g2]", "[g1 g2]"},
		{[]string{"g2", "g1"}, "[]", "[g1 g2]", "[g1 g2]"},
		{[]string{"g1", "g2", "g3"}, "[g3]", "[g1 g2 g3]", "[g1 g2 g3]"},
		{[]string{"left g1", "g2", "g3"}, "[g1]", "[g2 g3]", "[g1 g2 g3]"},
		{[]string{"g2", "g3"}, "[g1]", "[g2 g3]", "[g2 g3]"},
		{nil, "[g2 g3]", "[]", "[]"},
	} {
		concerned := named(r.Bind(id, in(c.groups...)...))
		var meant []target.ARN
		for _, b := range r.Meant(id) {
			meant = append(meant, b.Target.ARN)
		}
		filed := named(r.GroupsOf(types.NamespacedName{Namespace: "shop", Name: "web"}))
		if concerned != c.concerned || named(meant) != c.meant || filed != c.filed || len(r.In("shop")) != len(c.groups) || r.Has(id) != (len(c.groups) > 0) {
			t.Errorf("%v: concerned %s, meant %s, filed %s", c.groups, concerned, named(meant), filed)
		}
	}
	if len(r.bindings)+len(r.groups)+len(r.services)+len(r.selecting) != 0 {
		t.Errorf("the empty registry still holds %+v", r)
	}
}

// A pod's own labels tell which bindings choose it.
func TestBehaviour37_RegistryFindsTheGroupsThatChooseAPod(t *testing.T) {
	r := NewRegistry()
	for name, label := range map[string]string{"web": "web", "also": "web", "api": "api"} {
		b := bound(name, "g-"+name)
		b.Service, b.Selector = types.NamespacedName{}, labels.SelectorFromSet(labels.Set{"app": label})
		bind(r, b)
	}
	bind(r, bound("service", "g-service"))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Labels: map[string]string{"app": "web"}}}
	if got := named(r.GroupsChoosing(pod)); got != "[g-also g-web]" {
		t.Errorf("got %s", got)
	}
	pod.Namespace = "other"
	if got := named(r.GroupsChoosing(pod)); got != "[]" {
		t.Errorf("in another namespace: got %s", got)
	}
}

func TestRegistryIsSafeForConcurrentUse(t *testing.T) {
	r := NewRegistry()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				name := fmt.Sprint(j % 5)
				bind(r, bound(name, fmt.Sprint(i)))
				r.Of(arn(name))
				r.GroupsOf(types.NamespacedName{Namespace: "shop", Name: name})
				r.Drop(bound(name, "").ID)
			}
		})
	}
	all.Wait()
}

func notice(name, message string) Notice {
	return Notice{Report: report.Binding{
		ID: desired.BindingID{Namespace: "shop", Name: name}, Ready: report.Condition{Message: message},
	}}
}

func TestBoardKeepsTheLatestNotice(t *testing.T) {
	b := NewBoard()
	id := notice("web", "").Report.ID
	if _, posted := b.Read(id); posted {
		t.Error("an empty board has a notice")
	}
	if previous := b.Post(notice("web", "one")); previous.Report.Ready.Message != "" {
		t.Errorf("before the first notice there was %+v", previous)
	}
	if previous := b.Post(notice("web", "two")); previous.Report.Ready.Message != "one" {
		t.Errorf("before the second notice there was %+v, want the first", previous)
	}
	if got, posted := b.Read(id); !posted || got.Report.Ready.Message != "two" {
		t.Errorf("got %+v, %v, want the second", got, posted)
	}
	b.Remove(id)
	if _, posted := b.Read(id); posted {
		t.Error("a removed notice is still there")
	}
}

// saying is a notice about one group of binding web.
func saying(group string, n int, ready report.Condition, finished bool) Notice {
	return Notice{Group: target.Group{ARN: arn(group)}, Finished: finished, Report: report.Binding{
		ID: bound("web", "").ID, Counted: true, Counts: report.Counts{Desired: n, Registered: n}, Ready: ready,
	}}
}

func TestBoardOfABindingWithSeveralGroups(t *testing.T) {
	synced := report.Condition{True: true, Reason: target.Synced}
	b, id := NewBoard(), bound("web", "").ID
	b.Expect(id, nil, report.Condition{Reason: target.AccessDenied})
	if got, _ := b.Read(id); !got.Several || got.Groups != nil || got.Finished || got.Report.Ready.Reason != target.AccessDenied {
		t.Errorf("before the groups are known: %+v", got)
	}
	b.Expect(id, []target.ARN{arn("g1"), arn("g2")}, report.Condition{})
	b.Post(saying("g1", 2, synced, true))
	got, _ := b.Read(id)
	if len(got.Groups) != 2 || got.Finished || got.Report.Counted || got.Report.Ready.Reason != target.Syncing || got.Report.Counts.Registered != 2 {
		t.Errorf("with one of two: %+v", got)
	}
	b.Post(saying("g2", 3, synced, false))
	if got, _ = b.Read(id); got.Finished || !got.Report.Counted || !got.Report.Ready.True || got.Report.Counts.Registered != 5 {
		t.Errorf("with both: %+v", got)
	}
	if one, posted := b.ReadIn(id, arn("g2")); !posted || one.Report.Counts.Registered != 3 {
		t.Errorf("of one: %+v", one)
	}
	b.Post(saying("g2", 3, report.Condition{Reason: target.TooManyTargets, Message: "full"}, true))
	if got, _ = b.Read(id); !got.Finished || got.Report.Ready.Reason != target.TooManyTargets || got.Report.Ready.Message != "target group g2: full" {
		t.Errorf("with one amiss: %+v", got)
	}
	b.Expect(id, []target.ARN{arn("g1")}, report.Condition{})
	if got, _ = b.Read(id); len(got.Groups) != 1 || !got.Report.Ready.True {
		t.Errorf("after one was left: %+v", got)
	}
	if before := b.Expect(id, []target.ARN{}, report.Condition{Reason: target.TargetGroupNotFound}); before != (report.Condition{}) {
		t.Errorf("before there was %+v", before)
	}
	if got, _ = b.Read(id); got.Groups == nil || !got.Finished || got.Report.Ready.Reason != target.TargetGroupNotFound {
		t.Errorf("without any: %+v", got)
	}
	b.Remove(id)
	if got, posted := b.Read(id); posted {
		t.Errorf("a removed notice is still there: %+v", got)
	}
}

// The notice about a group takes the place of that about a group not found.
func TestBoardOfABindingThatFoundItsGroup(t *testing.T) {
	b := NewBoard()
	b.Post(notice("web", "not found"))
	if previous := b.Post(saying("g1", 1, report.Condition{True: true}, false)); previous.Report.Ready.Message != "not found" {
		t.Errorf("before there was %+v", previous)
	}
	if got, _ := b.Read(bound("web", "").ID); got.Several || got.Group.ARN != arn("g1") || len(b.notices[got.Report.ID]) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestBoardWakesWhoeverWritesStatus(t *testing.T) {
	b := NewBoard()
	queue := newQueue[desired.BindingID]()
	b.Post(notice("early", ""))
	if err := b.Changed.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	b.Post(notice("late", ""))
	b.Post(notice("late", "again"))
	if got := drained(queue); fmt.Sprint(got) != "[shop/early shop/late]" {
		t.Errorf("woken for %v, want once for each", got)
	}
}

func newQueue[T comparable]() workqueue.TypedRateLimitingInterface[T] {
	return workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[T]())
}

func drained[T comparable](queue workqueue.TypedRateLimitingInterface[T]) []T {
	var items []T
	for queue.Len() > 0 {
		item, _ := queue.Get()
		queue.Done(item)
		items = append(items, item)
	}
	queue.ShutDown()
	return items
}

func TestQueueKeepsWhatComesBeforeTheController(t *testing.T) {
	var q Queue[string]
	var all sync.WaitGroup
	queue := newQueue[string]()
	for _, item := range []string{"a", "b", "c", "d"} {
		all.Go(func() { q.Add(item); q.Add(item) })
	}
	var failed error
	all.Go(func() { failed = errors.Join(failed, q.Start(context.Background(), queue)) })
	all.Wait()
	q.Add("e")
	got := drained(queue)
	slices.Sort(got)
	if fmt.Sprint(got) != "[a b c d e]" || failed != nil {
		t.Errorf("got %v, %v, want each once", got, failed)
	}
}
