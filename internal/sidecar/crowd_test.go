package sidecar_test

import (
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// crowd starts pods at one moment, in an account with the limits that AWS documents,
// waits until all are in service, ends them at one moment later, and gives what calls were
// made in the meantime.
func crowd(t *testing.T, n int, spread time.Duration) (starting, ending map[string]int) {
	t.Helper()
	throttled := func(s *elbsim.Settings) { s.Buckets = model.DefaultBuckets() }
	inWorld(t, throttled, func(w *world) {
		for i := range n {
			cfg := usual(i + 1)
			cfg.StartSpread = spread
			w.start(cfg)
		}
		took := w.until("all are in service", func() bool {
			for _, p := range w.pods {
				if !strings.Contains(p.log.String(), "In service") {
					return false
				}
			}
			return true
		})
		starting = w.sum()
		t.Logf("in service after %v: %v", took, starting)
		time.Sleep(10 * time.Minute) // within which each has read the group's delay
		w.sim.ClearCalls()
		for _, p := range w.pods {
			p.stop()
		}
		for _, p := range w.pods {
			if err := <-p.ended; err != nil {
				t.Errorf("a pod ended with %v", err)
			}
		}
		ending = w.sum()
		t.Logf("ended: %v", ending)
	})
	return starting, ending
}

// With time to start each pod makes four calls, and hardly any is refused.
func TestCrowdWithSpread(t *testing.T) {
	const n = 100
	starting, ending := crowd(t, n, n*time.Second/2)
	if made := starting["DescribeTargetGroups OK"] + starting["DescribeTargetHealth OK"] + starting["RegisterTargets OK"]; made > 5*n {
		t.Errorf("%d calls were made for %d pods", made, n)
	}
	refused := starting["DescribeTargetGroups Throttling"] + starting["DescribeTargetHealth Throttling"] + starting["RegisterTargets Throttling"]
	if refused > n/10 {
		t.Errorf("%d calls were refused", refused)
	}
	if ending["DeregisterTargets OK"] != n {
		t.Errorf("%d pods were deregistered, want %d", ending["DeregisterTargets OK"], n)
	}
}

// Without, each is refused a few times, and all get there.
func TestCrowdAtOnce(t *testing.T) {
	const n = 100
	starting, ending := crowd(t, n, 0)
	refused := starting["DescribeTargetGroups Throttling"] + starting["DescribeTargetHealth Throttling"] + starting["RegisterTargets Throttling"]
	if refused < n/2 || refused > 10*n {
		t.Errorf("%d calls were refused, want a few for each of %d pods", refused, n)
	}
	if starting["RegisterTargets OK"] != n || ending["DeregisterTargets OK"] != n {
		t.Errorf("%d pods were registered and %d deregistered, want %d", starting["RegisterTargets OK"], ending["DeregisterTargets OK"], n)
	}
}
