package controller

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// says is what a group says to a pod at gate web.
func says(pod string, open bool, reason target.Reason) report.Gate {
	return report.Gate{
		Pod: desired.PodRef{Namespace: "shop", Name: pod, UID: "uid-" + pod}, Type: "web",
		Condition: report.Condition{True: open, Reason: reason},
	}
}

func TestAnswersWakeThePodsToWhichTheySaySomethingNew(t *testing.T) {
	a := NewAnswers()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]())
	defer queue.ShutDown()
	if err := a.Changed.Start(context.Background(), queue); err != nil {
		t.Fatal(err)
	}
	woken := func() string {
		names := ""
		for queue.Len() > 0 {
			name, _ := queue.Get()
			names += name.Name
			queue.Done(name)
		}
		return names
	}
	for _, c := range []struct {
		name, group string
		gates       []report.Gate
		woken       string
		a           target.Reason // what is said to pod a afterwards
	}{
		{"first", "g", []report.Gate{says("a", false, "x")}, "a", "x"},
		{"the same", "g", []report.Gate{says("a", false, "x")}, "", "x"},
		{"one more", "g", []report.Gate{says("a", false, "x"), says("b", false, "x")}, "b", "x"},
		{"something else", "g", []report.Gate{says("a", true, "y"), says("b", false, "x")}, "a", "y"},
		{"another group has nothing to say", "other", nil, "", "y"},
		{"nothing more to a", "g", []report.Gate{says("b", false, "x")}, "", ""},
		{"nothing more", "g", nil, "", ""},
	} {
		a.Post(target.ARN{Name: c.group}, c.gates)
		if got := woken(); got != c.woken {
			t.Errorf("%s: woken %q, want %q", c.name, got, c.woken)
		}
		if got, known := a.Read("uid-a", "web", []target.ARN{{Name: "g"}}); got.Reason != c.a || known != (c.a != "") {
			t.Errorf("%s: pod a is told %+v", c.name, got)
		}
	}
	if len(a.answers)+len(a.asked) != 0 {
		t.Errorf("left are %v, %v", a.answers, a.asked)
	}
}

// A pod of another UID is another pod, whatever its name.
func TestAnswersAreToAPodAndNotToItsName(t *testing.T) {
	a := NewAnswers()
	a.Post(target.ARN{Name: "g"}, []report.Gate{says("a", true, "x")})
	if got, known := a.Read("uid-other", "web", []target.ARN{{Name: "g"}}); known {
		t.Errorf("got %+v", got)
	}
}

// Of two groups that answer the same gate both must open it, and what one does not say
// is not made up for by the other.
func TestAnswersOfTwoGroups(t *testing.T) {
	one, two := target.ARN{Name: "one"}, target.ARN{Name: "two"}
	for _, c := range []struct {
		name     string
		one, two []report.Gate
		want     string // what is told; empty for nothing
	}{
		{"both closed", []report.Gate{says("a", false, "x")}, []report.Gate{says("a", false, "y")}, "false x"},
		{"one open", []report.Gate{says("a", true, target.TargetHealthy)}, []report.Gate{says("a", false, "y")}, "false y"},
		{"the other open", []report.Gate{says("a", false, "x")}, []report.Gate{says("a", true, target.TargetHealthy)}, "false x"},
		{"both open", []report.Gate{says("a", true, target.TargetHealthy)}, []report.Gate{says("a", true, target.TargetHealthy)}, "true TargetHealthy"},
		{"one open without health", []report.Gate{says("a", true, target.TargetHealthy)}, []report.Gate{says("a", true, target.TargetGroupNotInUse)}, "true TargetGroupNotInUse"},
		{"the other open without health", []report.Gate{says("a", true, target.TargetGroupNotInUse)}, []report.Gate{says("a", true, target.TargetHealthy)}, "true TargetGroupNotInUse"},
		{"one silent", nil, []report.Gate{says("a", true, target.TargetHealthy)}, ""},
		{"the other silent", []report.Gate{says("a", true, target.TargetHealthy)}, nil, ""},
		{"one speaks to others only", []report.Gate{says("b", true, target.TargetHealthy)}, []report.Gate{says("a", true, target.TargetHealthy)}, ""},
	} {
		a := NewAnswers()
		a.Post(one, []report.Gate{says("a", false, "before")})
		a.Post(one, c.one)
		a.Post(two, c.two)
		got, known := a.Read("uid-a", "web", []target.ARN{one, two})
		if text := fmt.Sprintf("%v %s", got.True, got.Reason); known != (c.want != "") || known && text != c.want {
			t.Errorf("%s: got %s, %v, want %q", c.name, text, known, c.want)
		}
		if _, known := a.Read("uid-a", "web", nil); known {
			t.Errorf("%s: an answer of no group", c.name)
		}
	}
}
