package departure

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
)

// workers is how many writes to the API server are under way at a time: a scale-down
// makes many pods leave within a moment.
const workers = 16

type queue = workqueue.TypedRateLimitingInterface[desired.PodRef]

// The condition of a pod is written by a patch of its status. That right cannot be
// limited to the condition, nor to pods that have a drain hook.
//
// +kubebuilder:rbac:groups="",resources=pods/status,verbs=patch

// SetupWithManager makes the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.elected = mgr.Elected()
	return controller.Watch(mgr, "departure", workers, r, &r.wake, source.TypedKind(mgr.GetCache(), &corev1.Pod{}, r.onPod()))
}

// Wake brings a pod to Reconcile, after something was learned of its targets.
func (r *Reconciler) Wake(pod desired.PodRef) { r.wake.Add(pod) }

// onPod follows pods with a hook from their deletion on. When that was is seen only as
// the pod changes; of a pod that was being deleted before, the API server tells.
func (r *Reconciler) onPod() handler.TypedEventHandler[*corev1.Pod, desired.PodRef] {
	type pod = *corev1.Pod
	leaves := func(p pod) bool { return p.DeletionTimestamp != nil && kube.HasHook(p) }
	return handler.TypedFuncs[pod, desired.PodRef]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[pod], q queue) {
			if leaves(e.Object) {
				q.Add(refOf(e.Object))
			}
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[pod], q queue) {
			if e.ObjectOld.UID != e.ObjectNew.UID { // deleted and made anew while the watch was broken
				r.gone(e.ObjectOld, q)
			}
			if leaves(e.ObjectNew) {
				if !leaves(e.ObjectOld) {
					r.begin(e.ObjectNew, time.Now())
				}
				q.Add(refOf(e.ObjectNew))
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[pod], q queue) {
			r.gone(e.Object, q)
		},
	}
}

// gone takes in that a pod with a hook is gone, be it that it was never seen to leave:
// it was deleted by force.
func (r *Reconciler) gone(pod *corev1.Pod, q queue) {
	switch {
	case !kube.HasHook(pod):
	case r.leads():
		r.noteGone(pod)
		q.Add(refOf(pod))
	default:
		r.forget(refOf(pod))
	}
}

// noteGone notes when a pod was first seen to be gone.
func (r *Reconciler) noteGone(pod *corev1.Pod) {
	now := time.Now()
	l := r.begin(pod, now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.gone.IsZero() {
		l.gone = now
	}
}
