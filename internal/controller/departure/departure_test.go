package departure

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The time of a deletion as the API server tells it has no monotonic reading, so that
// a step of the clock would move it.
func TestDeletionDoesNotMoveWithTheClock(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0", UID: "uid-0"}}
	for told, want := range map[time.Duration]time.Duration{-time.Minute: -time.Minute, time.Minute: 0} {
		before := time.Now()
		l := (&Reconciler{}).begin(pod, before.Add(told).Round(0))
		// The two clocks are not read at the same moment.
		if off := l.since.Sub(before.Add(want)).Abs(); off > time.Minute/2 {
			t.Errorf("told %v: deleted at %v, want %v", told, l.since, before.Add(want))
		}
		if l.since == l.since.Round(0) { //nolint:staticcheck // because Equal does not see whether there is a monotonic reading
			t.Errorf("told %v: %v has no monotonic reading", told, l.since)
		}
	}
}
