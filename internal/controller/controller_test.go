package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

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
		{"bound", func() []target.ARN { return r.Bind(bound("web", "g1")) }, "[g1]", "[g1]"},
		{"bound unchanged", func() []target.ARN { return r.Bind(bound("web", "g1")) }, "[]", "[g1]"},
		{"remembers something else", func() []target.ARN {
			b := bound("web", "g1")
			b.OursIn, b.Ours = "g1", target.SetOf(target.Key{Port: 1})
			return r.Bind(b)
		}, "[]", "[g1]"},
		{"deleting", func() []target.ARN {
			b := bound("web", "g1")
			b.Deleting = true
			return r.Bind(b)
		}, "[g1]", "[g1]"},
		{"in use now", func() []target.ARN {
			b := bound("web", "g1")
			b.Deleting, b.Target.LoadBalancers = true, []string{"front"}
			return r.Bind(b)
		}, "[g1]", "[g1]"},
		{"bound to another group", func() []target.ARN { return r.Bind(bound("web", "g2")) }, "[g1 g2]", "[g2]"},
		{"bound to another Service", func() []target.ARN {
			b := bound("web", "g2")
			b.Service.Name = "api"
			return r.Bind(b)
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
		r.Bind(bound(name, "g"))
	}
	r.Bind(bound("z", "other"))
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

func TestRegistryIsSafeForConcurrentUse(t *testing.T) {
	r := NewRegistry()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				name := fmt.Sprint(j % 5)
				r.Bind(bound(name, fmt.Sprint(i)))
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
