package kube

import (
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestDeletedPodsAreForgottenInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCluster(newShelf())
		c.PodDeleted("old")
		time.Sleep(rememberPods - time.Second)
		c.PodDeleted("young")
		if !c.gone.pod("old") || !c.gone.pod("young") || c.gone.pod("never") {
			t.Error("what was deleted a while ago is not remembered")
		}
		time.Sleep(2 * time.Second)
		c.PodDeleted("last")
		if c.gone.pod("old") || !c.gone.pod("young") || !c.gone.pod("last") {
			t.Errorf("old %v, young %v, last %v: want the old forgotten only", c.gone.pod("old"), c.gone.pod("young"), c.gone.pod("last"))
		}
	})
}

// A Service that a binding still names is asked for again and again.
func TestDeletedServicesAreForgottenWhenNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		named := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: name} }
		c := NewCluster(newShelf())
		c.ServiceDeleted(named("asked"))
		c.ServiceDeleted(named("back"))
		c.ServiceDeleted(named("unused"))
		c.ServiceExists(named("back"))
		for range 4 {
			time.Sleep(rememberServices / 2)
			if !c.gone.service(named("asked")) || c.gone.service(named("back")) {
				t.Error("what is asked for is forgotten, or what exists is gone")
			}
		}
		c.ServiceDeleted(named("last"))
		if c.gone.service(named("unused")) || !c.gone.service(named("asked")) || !c.gone.service(named("last")) {
			t.Errorf("remembered: %v", c.gone.services.since)
		}
	})
}

// When a pod was deleted is counted from when that was news, on the clock of this
// process. The API server's is two minutes behind here, or ahead.
func TestDeletionDoesNotMoveWithTheClock(t *testing.T) {
	for _, ahead := range []time.Duration{-2 * time.Minute, 2 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			c := NewCluster(newShelf())
			seen := time.Now()
			told := seen.Add(ahead)
			want := seen.Add(min(0, ahead))
			for range 3 {
				if got := c.gone.deletion("a", told); !got.Equal(want) {
					t.Errorf("after %v it is %v, want %v", time.Since(seen), got, want)
				}
				time.Sleep(time.Minute)
			}
			c.PodDeleted("a")
			if c.gone.deletion("a", told); len(c.gone.leaving) != 0 {
				t.Errorf("remembered when it is gone: %v", c.gone.leaving)
			}
		})
	}
}
