package binding

import (
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// A binding is undecided from its declaration until its group is known, or that it
// has none.
func TestUndecided(t *testing.T) {
	shop := target.ARN{Partition: "aws", Region: "eu-central-1", Account: "123456789012", Name: "shop", ID: "0123456789abcdef"}
	byARN, byName := desired.BindingID{Namespace: "shop", Name: "arn"}, desired.BindingID{Namespace: "shop", Name: "name"}
	r := &Reconciler{Registry: controller.NewRegistry(), Flags: []kube.Binding{
		{ID: byARN, Group: target.Ref{ARN: shop}},
		{ID: byName, Group: target.Ref{Name: "shop"}},
		{ID: desired.BindingID{Namespace: "shop", Name: "other"}, Group: target.Ref{Name: "other"}},
	}}
	expect := func(when string, want ...desired.BindingID) {
		t.Helper()
		open, err := r.Undecided(t.Context(), shop)
		if err != nil || len(open) != len(want) {
			t.Fatalf("%s: %v, %v; want %v", when, open, err, want)
		}
		for i := range want {
			if open[i] != want[i] {
				t.Errorf("%s: %v, want %v", when, open, want)
			}
		}
	}
	expect("at first", byARN, byName)
	r.Registry.Bind(byARN, controller.Bound{Binding: r.Flags[0], Target: target.Group{ARN: shop}})
	expect("when one is filed", byName)
	if !r.exclude(byName, true) || r.exclude(byName, true) {
		t.Error("exclude does not tell whether it changed anything")
	}
	expect("when the other proves to have no group")
	r.exclude(byName, false)
	expect("when it may have one again", byName)
	if called := r.Registry.Called(target.Ref{Name: "shop"}); len(called) != 1 || called[0] != shop {
		t.Errorf("groups called shop: %v", called)
	}
}
