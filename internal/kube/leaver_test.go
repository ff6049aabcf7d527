package kube

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// hookedPod has a drain hook of 10 s late, 45 s hold and 30 s shutdown in container
// web, and is deleted at t0 with this grace period; none if that is negative.
func hookedPod(mode drain.Mode, grace int64, change ...func(*corev1.Pod)) *corev1.Pod {
	hook := &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"tgc", "wait"}}}
	if mode == drain.Sleep {
		hook = &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 55}}
	}
	return aPod("web", func(p *corev1.Pod) {
		p.Annotations = map[string]string{
			v1beta1.AnnotationDrainMode: string(mode), v1beta1.AnnotationDrainContainers: "web", v1beta1.AnnotationDrainHold: "45",
			v1beta1.AnnotationDrainLate: "10", v1beta1.AnnotationDrainShutdown: "30",
		}
		p.Spec.Containers = []corev1.Container{{Name: "web", Lifecycle: &corev1.Lifecycle{PreStop: hook}}}
		p.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "2001:db8::1"}}
		if grace >= 0 {
			end := metav1.NewTime(t0.Add(time.Duration(grace) * time.Second))
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &end, &grace
		}
		for _, c := range change {
			c(p)
		}
	})
}

// A pod is certain to serve until its hook returns at the latest, if it has one in
// every container.
func TestPodServesWhileItsDrainHookLasts(t *testing.T) {
	another := func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "other"}) }
	asleep := func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "nap", Lifecycle: &corev1.Lifecycle{
			PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 7}},
		}})
	}
	notOurs := func(p *corev1.Pod) { p.Annotations[v1beta1.AnnotationDrainContainers] = "" }
	for _, c := range []struct {
		name string
		pod  *corev1.Pod
		want int // seconds after the deletion; negative: unknown
	}{
		{"hold", hookedPod(drain.Hold, 90), 58},
		{"hold, longer grace period", hookedPod(drain.Hold, 600), 568},
		{"hold, shortened grace period", hookedPod(drain.Hold, 40), 8},
		{"sleep", hookedPod(drain.Sleep, 90), 55},
		{"a container without", hookedPod(drain.Hold, 90, another), -1},
		{"a container that sleeps less", hookedPod(drain.Hold, 90, asleep), 7},
		{"somebody else's exec hook", hookedPod(drain.Hold, 90, notOurs), -1},
	} {
		got := PodOf(c.pod).ServesUntil
		if c.want < 0 && !got.IsZero() || c.want >= 0 && !got.Equal(t0.Add(time.Duration(c.want)*time.Second)) {
			t.Errorf("%s: serves until %v, want %d s after %v", c.name, got, c.want, t0)
		}
	}
}

func TestLeaver(t *testing.T) {
	for _, c := range []struct {
		name     string
		pod      *corev1.Pod
		hooked   bool
		leaving  bool
		deadline int // seconds after the deletion
	}{
		{"hold", hookedPod(drain.Hold, 90), true, true, 58},
		{"sleep, which lasts no longer for a longer grace period", hookedPod(drain.Sleep, 600), true, true, 55},
		{"sleep, shortened", hookedPod(drain.Sleep, 40), true, true, 8},
		{"deleted by force, or ended", hookedPod(drain.Hold, 0), true, false, 58},
		{"not deleted", hookedPod(drain.Hold, -1), true, false, 58},
		{"without a hook", aPod("web", func(*corev1.Pod) {}), false, false, 0},
	} {
		l, hooked := LeaverOf(c.pod)
		if hooked != c.hooked || l.Leaving != c.leaving {
			t.Errorf("%s: hook %v, leaving %v", c.name, hooked, l.Leaving)
		}
		if deadline := l.Leave.Deadline().Sub(l.Leave.Deleted); hooked && deadline != time.Duration(c.deadline)*time.Second {
			t.Errorf("%s: the deadline is %v after the deletion, want %d s", c.name, deadline, c.deadline)
		}
		if hooked && (l.Hold != 45*time.Second || l.Needs != 85*time.Second || len(l.Addrs) != 2) {
			t.Errorf("%s: %+v", c.name, l)
		}
	}
}

func TestAnswerTellsNoMoreThanThePodSays(t *testing.T) {
	says := func(status corev1.ConditionStatus, reason target.Reason) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
				Type: v1beta1.PodDeregistered, Status: status, Reason: string(reason), Message: "secret names",
			})
		}
	}
	for _, c := range []struct {
		pod  *corev1.Pod
		want drain.Answer
	}{
		{hookedPod(drain.Hold, -1), drain.Answer{State: drain.Staying}},
		{hookedPod(drain.Hold, 90), drain.Answer{State: drain.StillRegistered, GraceSeconds: 90}},
		{
			hookedPod(drain.Hold, 90, says(corev1.ConditionFalse, target.AccessDenied)),
			drain.Answer{State: drain.StillRegistered, GraceSeconds: 90, Reason: target.AccessDenied},
		},
		{
			hookedPod(drain.Hold, 90, says(corev1.ConditionTrue, target.NotRegistered)),
			drain.Answer{State: drain.NotRegistered, GraceSeconds: 90},
		},
	} {
		if got := AnswerOf(c.pod, time.Now()); got != c.want {
			t.Errorf("got %+v, want %+v", got, c.want)
		}
	}
	got := AnswerOf(hookedPod(drain.Hold, 90, says(corev1.ConditionTrue, target.Deregistered)), time.Now().Add(-time.Minute))
	if got.State != drain.Deregistered || got.SinceMillis < 60_000 {
		t.Errorf("got %+v", got)
	}
}
