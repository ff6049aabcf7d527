package integration

import (
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

// Pods that leave for good wait for no other: they are deregistered when it shows that
// none was made, long before their time is over.
func TestDrain_ScaledToZero(t *testing.T) {
	for _, mode := range []v1beta1.DrainMode{v1beta1.DrainSleep, v1beta1.DrainHold} {
		t.Run(string(mode), func(t *testing.T) {
			// Longer than anybody waits here.
			d := newDraining(t, mode, times{hold: 3, late: 600, shutdown: 2})
			web := d.serve(2, gatedBy("web"))
			pods := d.list("web")
			d.scale(web, 0)
			for i := range pods {
				accepted := d.deregistration(d.group, &pods[i])
				if mode == v1beta1.DrainHold {
					d.held(&pods[i], accepted)
				}
			}
			if mode == v1beta1.DrainHold {
				d.outcome(d.process, drain.Held)
			}
		})
	}
}
