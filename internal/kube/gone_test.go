package kube

import (
	"testing"
	"testing/synctest"
	"time"
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
