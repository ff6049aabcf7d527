package kube

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Leaver is what counts of a pod with a drain hook once it is being deleted.
type Leaver struct {
	Pod   desired.PodRef
	Addrs []netip.Addr
	Mode  drain.Mode
	// Leaving: it is being deleted, and is still there. A pod with no grace period left
	// is as good as gone: it has ended, or is deleted by force.
	Leaving bool
	// Leave has when the deletion was asked for, by the clock of the API server, and
	// for how long the pod serves after it.
	Leave drain.Leave
	// Hold is for how long it is held after its deregistration, and Needs what its
	// grace period must have for a deregistration that is as late as it may be.
	Hold, Needs time.Duration
	// Grace is the grace period that the pod was given at last.
	Grace time.Duration
	// Said is what the condition says; nil if there is none yet.
	Said *corev1.PodCondition
}

// HasHook tells whether a pod has a drain hook in one container at least.
func HasHook(pod *corev1.Pod) bool { return drainMode(pod) != "" && len(admission.Held(pod)) > 0 }

func drainMode(pod *corev1.Pod) drain.Mode {
	return drain.Mode(pod.Annotations[v1beta1.AnnotationDrainMode])
}

// LeaverOf reads what counts of a pod; false unless it has a drain hook.
func LeaverOf(pod *corev1.Pod) (Leaver, bool) {
	if !HasHook(pod) {
		return Leaver{}, false
	}
	hold, late, shutdown := admission.DrainSeconds(pod)
	l := Leaver{
		Pod:     desired.PodRef{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)},
		Mode:    drainMode(pod),
		Leaving: pod.DeletionTimestamp != nil && value(pod.DeletionGracePeriodSeconds) > 0,
		Leave:   leaveOf(pod, PodOf(pod).Deleted),
		Hold:    time.Duration(hold) * time.Second, Needs: time.Duration(hold+late+shutdown) * time.Second,
		Grace: graceOf(pod), Said: Deregistered(pod),
	}
	l.Addrs = addrsOf(pod)
	return l, true
}

// addrsOf are the addresses under which a pod may be registered: its own, and those of
// its node if a port of the node leads to it.
func addrsOf(pod *corev1.Pod) []netip.Addr {
	selected := SelectedOf(pod)
	if onNode := func(port desired.ContainerPort) bool { return port.Host != 0 }; slices.ContainsFunc(selected.Ports, onNode) {
		return append(selected.Addrs, selected.HostAddrs...)
	}
	return selected.Addrs
}

// graceOf is the grace period of a pod: that of its deletion, or while that is not known
// the least that admission gives.
func graceOf(pod *corev1.Pod) time.Duration {
	if grace := value(pod.DeletionGracePeriodSeconds); grace > 0 {
		return time.Duration(grace) * time.Second
	}
	hold, late, shutdown := admission.DrainSeconds(pod)
	return time.Duration(hold+late+shutdown)*time.Second + drain.Margin
}

// leaveOf is how much time a pod has that is deleted. With Sleep it stops after the
// sleep however much is left of the grace period.
func leaveOf(pod *corev1.Pod, deleted time.Time) drain.Leave {
	hold, late, shutdown := admission.DrainSeconds(pod)
	l := drain.Leave{Deleted: deleted, Grace: graceOf(pod), Shutdown: time.Duration(shutdown) * time.Second}
	if drainMode(pod) == drain.Sleep {
		l.Grace = min(l.Grace, time.Duration(hold+late+shutdown)*time.Second+drain.Reserve)
	}
	return l
}

// Deregistered is the condition of a pod that tells whether it is; nil if there is none.
func Deregistered(pod *corev1.Pod) *corev1.PodCondition { return find(pod, v1beta1.PodDeregistered) }

// WriteDeregistered writes whether a pod is deregistered, unless it says so already.
// The error is that of a missing pod, too, if another pod has the name by now.
func WriteDeregistered(ctx context.Context, c client.Client, pod *corev1.Pod, condition report.Condition, now time.Time) error {
	said := corev1.PodCondition{
		Type: v1beta1.PodDeregistered, Status: corev1.ConditionFalse, Reason: string(condition.Reason),
		Message: condition.Message, LastTransitionTime: metav1.NewTime(now),
	}
	if condition.True {
		said.Status = corev1.ConditionTrue
	}
	if before := Deregistered(pod); before != nil && before.Status == said.Status {
		if before.Reason == said.Reason && before.Message == said.Message {
			return nil
		}
		said.LastTransitionTime = before.LastTransitionTime
	}
	patch := patchOf(pod)
	patch.Status.Conditions = []corev1.PodCondition{said}
	if err := patch.write(ctx, c, pod); err != nil {
		return fmt.Errorf("write the condition of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// AnswerOf is what a pod is told of itself, as far as the pod as it is read says. Since
// is when at the latest it was deregistered, if it is.
func AnswerOf(pod *corev1.Pod, since time.Time) drain.Answer {
	if pod.DeletionTimestamp == nil {
		return drain.Answer{State: drain.Staying}
	}
	answer := drain.Answer{State: drain.StillRegistered, GraceSeconds: value(pod.DeletionGracePeriodSeconds)}
	said := Deregistered(pod)
	switch {
	case said == nil:
	case said.Status != corev1.ConditionTrue:
		answer.Reason = target.Reason(said.Reason)
	case said.Reason == string(target.NotRegistered):
		answer.State = drain.NotRegistered
	default:
		answer.State = drain.Deregistered
		answer.SinceMillis = max(0, time.Since(since).Milliseconds())
	}
	return answer
}
