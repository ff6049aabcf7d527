// Package departure follows pods with a drain hook on their way out: it finds out when
// every target group has let go of a pod, writes that on the pod, where any replica can
// read it and tell the pod, and counts how it came out.
package departure

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const (
	// lookEvery is how often a pod is looked at whose groups have not let go. Their
	// rounds bring it back earlier, but for targets that no endpoint explains.
	lookEvery = time.Second
	// writeLimit bounds a write to the API server.
	writeLimit = 5 * time.Second
)

// Reconciler reconciles leaving pods. Reconcile never waits for AWS.
type Reconciler struct {
	// Client reads from a cache with the indexes of kube.AddIndexes.
	Client   client.Client
	Cluster  *kube.Cluster
	Registry *controller.Registry
	Board    *controller.Board
	Events   *kube.Recorder
	Metrics  *metrics.Metrics
	// Standing tells how the targets of a pod stand in a group, and which guard
	// holds them.
	Standing func(target.ARN, desired.PodRef, []netip.Addr) (elb.Standing, target.Reason)
	// Groupless tells whether a binding has no group for good.
	Groupless func(desired.BindingID) bool

	wake    controller.Queue[desired.PodRef]
	elected <-chan struct{}

	mu      sync.Mutex
	leavers map[desired.PodRef]*leaver
}

// leaver is what is remembered of a pod between its deletion and its end. Only the
// worker that has the pod uses it, but for gone, which the Reconciler's lock guards.
type leaver struct {
	// since is when the deletion was seen, or was asked for if that was before the
	// program started. It bears a monotonic reading.
	since time.Time
	// gone is when the pod was seen to be gone; zero while it is there.
	gone time.Time

	pod    *corev1.Pod
	facts  kube.Leaver
	groups map[place]standing
	told   map[target.Reason]string
	// accepted is when the last group had let go; zero while one has not.
	accepted time.Time
	// counted: how the leaving came out was counted.
	counted bool
}

// place is a group of a binding; of a binding of which none is known, the group is zero.
type place struct {
	binding desired.BindingID
	group   target.ARN
}

// standing is what a binding's group was found to say of a pod.
type standing struct {
	group string
	// open: the group holds the pod, or it is not known whether it does.
	open bool
	// held: it was seen to hold the pod.
	held bool
	// accepted is when the group let go of the pod, once it has.
	accepted time.Time
}

// Reconcile looks how far a pod is and writes it on the pod.
func (r *Reconciler) Reconcile(ctx context.Context, ref desired.PodRef) (reconcile.Result, error) {
	var pod corev1.Pod
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, &pod)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return reconcile.Result{}, err
	case err != nil || string(pod.UID) != ref.UID:
		if err := r.end(ctx, ref); err != nil {
			return reconcile.Result{}, err
		}
		r.forget(ref)
		return reconcile.Result{}, nil
	}
	facts, hooked := kube.LeaverOf(&pod)
	switch {
	case !hooked || pod.DeletionTimestamp == nil:
		return reconcile.Result{}, nil
	case !facts.Leaving:
		r.noteGone(&pod)
		return reconcile.Result{}, r.end(ctx, ref)
	}
	l := r.begin(&pod, facts.Leave.Deleted)
	l.pod, l.facts = &pod, facts
	r.tellGrace(ctx, l)
	again, err := r.follow(ctx, l)
	if client.IgnoreNotFound(err) != nil {
		// A pause that grows would soon be longer than the pod can wait.
		log.FromContext(ctx).Info("Cannot follow a leaving pod yet", "pod", ref, "error", err.Error())
		again = lookEvery
	}
	r.tellForced(ctx, l)
	return reconcile.Result{RequeueAfter: again}, nil
}

// follow looks how far a pod is, writes it, and tells when to look again.
func (r *Reconciler) follow(ctx context.Context, l *leaver) (time.Duration, error) {
	if l.done() {
		return 0, nil
	}
	departures, err := r.look(ctx, l)
	if err != nil {
		return 0, err
	}
	return r.write(ctx, l, departures)
}

// done tells whether all groups have let go, so that there is nothing to look for any
// more. When that was, an earlier leader may have known.
func (l *leaver) done() bool {
	said := l.facts.Said
	if said == nil || said.Status != corev1.ConditionTrue {
		return false
	}
	if l.accepted.IsZero() && said.Reason != string(target.NotRegistered) {
		l.accepted = said.LastTransitionTime.Time
	}
	return true
}

// begin remembers a pod from the time on when it was seen to leave.
func (r *Reconciler) begin(pod *corev1.Pod, since time.Time) *leaver {
	ref := refOf(pod)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leavers == nil {
		r.leavers = map[desired.PodRef]*leaver{}
	}
	if r.leavers[ref] == nil {
		// What the API server tells is by a clock that may be ahead, and may step.
		now := time.Now()
		since = now.Add(-max(0, now.Sub(since)))
		facts, _ := kube.LeaverOf(pod)
		r.leavers[ref] = &leaver{
			since: since, pod: pod, facts: facts, groups: map[place]standing{}, told: map[target.Reason]string{},
		}
	}
	return r.leavers[ref]
}

func refOf(pod *corev1.Pod) desired.PodRef {
	return desired.PodRef{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)}
}

// write writes how far the pod is, and tells when to look again. That it takes a moment
// is not worth a write.
func (r *Reconciler) write(ctx context.Context, l *leaver, departures []report.Departure) (time.Duration, error) {
	condition := report.Leaving(departures, l.facts.Hold)
	if condition.Reason == target.Syncing && l.facts.Said == nil && time.Since(l.since) < lookEvery {
		return lookEvery, nil
	}
	// A write that has begun is finished when the program stops.
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	if err := kube.WriteDeregistered(writing, r.Client, l.pod, condition, time.Now()); err != nil {
		return 0, err
	}
	if !condition.True {
		return lookEvery, nil
	}
	if !l.accepted.IsZero() && r.once(l, condition.Reason, condition.Message) {
		r.Metrics.Deregistered(l.facts.Mode, l.accepted.Sub(l.since))
		r.Events.Tell(ctx, l.pod, condition.Reason, condition.Message)
	}
	return 0, nil
}

// leave is what is known of the pod's leaving, on the clock of this process as far as
// it has been running.
func (l *leaver) leave() drain.Leave {
	leave := l.facts.Leave
	leave.Deleted, leave.Told = l.since, true
	for _, s := range l.groups {
		if s.open || !s.accepted.IsZero() {
			leave.Departures = append(leave.Departures, drain.Departure{Accepted: s.accepted, Hold: l.facts.Hold})
		}
	}
	if len(leave.Departures) == 0 && !l.accepted.IsZero() {
		leave.Departures = []drain.Departure{{Accepted: l.accepted, Hold: l.facts.Hold}}
	}
	return leave
}

// tellGrace tells that somebody gave the pod less time than it may need.
func (r *Reconciler) tellGrace(ctx context.Context, l *leaver) {
	if l.facts.Grace >= l.facts.Needs {
		return
	}
	message := fmt.Sprintf("Deleted with a grace period of %d s, while draining may take %d s",
		int(l.facts.Grace.Seconds()), int(l.facts.Needs.Seconds()))
	if r.once(l, target.GracePeriodShortened, message) {
		r.Events.Complain(ctx, l.pod, target.GracePeriodShortened, message)
	}
}

// tellForced tells that the pod will stop, or has stopped, before it is safe, as soon
// as that is certain.
func (r *Reconciler) tellForced(ctx context.Context, l *leaver) {
	leave := l.leave()
	verdict := leave.Decide(time.Now())
	deadline := int(leave.Deadline().Sub(leave.Deleted).Seconds())
	var message string
	switch {
	case !verdict.Forced:
		return
	case verdict.Stage == drain.Holding:
		message = fmt.Sprintf("The grace period lets it serve until %d s after the deletion, which is too early: deregistered after %d s, it should be held %d s",
			deadline, int(l.accepted.Sub(l.since).Seconds()), int(l.facts.Hold.Seconds()))
	case verdict.Left == 0:
		message = fmt.Sprintf("Still registered %d s after the deletion, when the grace period makes it stop", deadline)
	default:
		return // it may yet come in time
	}
	if r.once(l, target.DrainForced, "") {
		r.Events.Complain(ctx, l.pod, target.DrainForced, message)
	}
}

// once notes that something was told of a pod; false if it was before.
func (r *Reconciler) once(l *leaver, reason target.Reason, message string) bool {
	before, told := l.told[reason]
	l.told[reason] = message
	return !told || before != message
}

// end counts how the leaving of a pod came out that was seen to be gone. A pod that is
// in the cache no more, and was not, will be in a moment.
func (r *Reconciler) end(ctx context.Context, ref desired.PodRef) error {
	r.mu.Lock()
	l := r.leavers[ref]
	var gone time.Time
	if l != nil {
		gone = l.gone
	}
	r.mu.Unlock()
	if gone.IsZero() || l.counted {
		return nil
	}
	if !l.done() {
		// A last look: a group that holds it now did so when the pod was gone.
		if _, err := r.look(ctx, l); err != nil {
			return err
		}
	}
	l.counted = true
	leave := l.leave()
	if len(leave.Departures) == 0 {
		return nil
	}
	outcome := leave.Outcome(gone)
	r.Metrics.Drained(outcome)
	if outcome == drain.Uncovered {
		r.Events.Complain(ctx, l.pod, target.DrainUncovered, fmt.Sprintf(
			"Gone %d s after the deletion, while load balancers could still send to it", int(gone.Sub(l.since).Seconds())))
	}
	return nil
}

// forget drops a pod whose end was counted, or is not to be.
func (r *Reconciler) forget(ref desired.PodRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.leavers[ref]; l != nil && (l.counted || !r.leads()) {
		delete(r.leavers, ref)
	}
}

// leads tells whether it is for this replica to count. Others follow pods, too, so that
// they know since when, but what ended before they lead is not theirs.
func (r *Reconciler) leads() bool {
	select {
	case <-r.elected:
		return true
	default:
		return false
	}
}
