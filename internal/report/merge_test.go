package report

import (
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func TestMerge(t *testing.T) {
	part := func(name string, ready, held Condition, n int) Part {
		return Part{target.ARN{Name: name}, Binding{Counted: true, Counts: Counts{n, n, n, n, n}, Ready: ready, Held: held}}
	}
	synced, syncing, full := Condition{True: true, Reason: target.Synced}, Condition{Reason: target.Syncing, Message: "1 to register"}, Condition{Reason: target.TooManyTargets, Message: "full"}
	holds, none := Condition{True: true, Reason: target.NoPodReady, Message: "1 held"}, Condition{Reason: target.Synced}
	for _, c := range []struct {
		name    string
		parts   []Part
		trouble Condition
		ready   Condition
		held    target.Reason
	}{
		{"in line", []Part{part("a", synced, none, 1), part("b", synced, none, 2)}, Condition{}, Condition{true, target.Synced, "3 targets in 2 target groups, 3 healthy"}, target.Synced},
		{"one busy", []Part{part("a", synced, none, 1), part("b", syncing, holds, 1)}, Condition{}, Condition{false, target.Syncing, "target group b: 1 to register"}, target.NoPodReady},
		{"one busy, one full", []Part{part("a", syncing, none, 1), part("b", full, none, 1)}, Condition{}, Condition{false, target.TooManyTargets, "target group b: full"}, target.Synced},
		{"one full, one busy", []Part{part("a", full, holds, 1), part("b", syncing, none, 1)}, Condition{}, Condition{false, target.TooManyTargets, "target group a: full"}, target.NoPodReady},
		{"trouble", []Part{part("a", full, none, 1)}, Condition{Reason: target.AccessDenied, Message: "no"}, Condition{false, target.AccessDenied, "no"}, target.Synced},
		{"no group", nil, Condition{Reason: target.TargetGroupNotFound}, Condition{Reason: target.TargetGroupNotFound}, target.Synced},
	} {
		got := Merge(c.parts, c.trouble)
		if got.Ready != c.ready || got.Held.Reason != c.held || got.Counted != (len(c.parts) > 0) {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
	if got := Merge([]Part{part("a", synced, none, 1), part("b", synced, none, 2)}, Condition{}).Counts; got != (Counts{3, 3, 3, 3, 3}) {
		t.Errorf("counts are %+v", got)
	}
	if got := Merge([]Part{part("a", synced, none, 1), {}}, Condition{}); got.Counted {
		t.Error("counted, although one group was not listed")
	}
}
