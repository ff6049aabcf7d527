package desired

import (
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func TestBehaviour34_NewerBindingThatDisagreesIsRefused(t *testing.T) {
	older := web(at(1, ready))
	older.ID.Name, older.Created = "z-older", t0
	newer := web(at(2, ready))
	newer.ID.Name, newer.Created = "a-newer", t0.Add(time.Second)
	for _, shared := range []bool{false, true} {
		older.Shared, newer.Shared = shared, !shared
		wanted := expect(t, ipv4(newer, older), "10.0.0.1:8080 want PodReady")
		if wanted.Shared != shared {
			t.Errorf("the group is shared: %v, want it as the older binding says", wanted.Shared)
		}
		if len(wanted.Problems) != 1 || wanted.Problems[0].Binding != newer.ID || wanted.Problems[0].Reason != target.SharingConflict {
			t.Fatalf("problems: %+v", wanted.Problems)
		}
		if message := wanted.Problems[0].Message; !strings.Contains(message, "shop/z-older") || !strings.Contains(message, "multiClusterTargetGroup") {
			t.Errorf("the message names not both: %s", message)
		}
		if wanted.HoldOthers != target.SharingConflict {
			t.Errorf("targets of the refused binding are not held: %q", wanted.HoldOthers)
		}
	}
}

func TestBehaviour34_OneThatEndsDecidesNothing(t *testing.T) {
	ends := web(at(1, ready)).with(func(b *Binding) { b.Deleting = true })
	stays := web(at(2, ready))
	stays.ID.Name, stays.Created, stays.Shared = "stays", t0, true
	wanted := expect(t, ipv4(ends, stays), "10.0.0.1:8080 leave BindingDeleted", "10.0.0.2:8080 want PodReady")
	if !wanted.Shared || len(wanted.Problems) > 0 {
		t.Errorf("shared: %v, problems: %v", wanted.Shared, wanted.Problems)
	}
}

func TestBehaviour34_BindingsThatAgree(t *testing.T) {
	one, other := web(at(1, ready)), web(at(2, ready))
	other.ID.Name, one.Shared, other.Shared = "other", true, true
	wanted := expect(t, ipv4(one, other), "10.0.0.1:8080 want PodReady", "10.0.0.2:8080 want PodReady")
	if !wanted.Shared || len(wanted.Problems) > 0 {
		t.Errorf("shared: %v, problems: %v", wanted.Shared, wanted.Problems)
	}
}
