package kube

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
)

func TestGateKeepsTheTimeOfItsLastChange(t *testing.T) {
	now := t0.Add(time.Minute)
	for _, c := range []struct {
		name   string
		before []corev1.PodCondition
		open   bool
		want   time.Time
	}{
		{"first said", nil, false, now},
		{"closed before", []corev1.PodCondition{condition(ourGate, corev1.ConditionFalse, time.Second)}, false, t0.Add(time.Second)},
		{"opened", []corev1.PodCondition{condition(ourGate, corev1.ConditionFalse, time.Second)}, true, now},
		{"not ready for long", []corev1.PodCondition{condition(corev1.PodReady, corev1.ConditionFalse, time.Second)}, true, now},
		// Else the pod would seem to be on a silent node until the kubelet looks.
		{"the kubelet's clock is ahead", []corev1.PodCondition{condition(corev1.PodReady, corev1.ConditionFalse, 2*time.Minute)}, true, t0.Add(2 * time.Minute)},
	} {
		pod := aPod("web", func(p *corev1.Pod) { p.Status.Conditions = c.before })
		got := conditionOf(pod, report.Gate{Type: string(ourGate), Condition: report.Condition{True: c.open, Reason: "R", Message: "m"}}, now)
		if !got.LastTransitionTime.Time.Equal(c.want) || got.Type != ourGate || got.Reason != "R" || got.Message != "m" || (got.Status == corev1.ConditionTrue) != c.open {
			t.Errorf("%s: got %+v, want since %v", c.name, got, c.want)
		}
	}
}
