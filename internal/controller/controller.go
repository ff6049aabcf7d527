// Package controller holds what the controllers share: the registry of bindings,
// the board of reports, and the queues by which they wake one another.
//
//	annotation    Services with our annotations    -> TargetGroupBinding objects
//	binding       a declared binding               -> Registry: which groups it means
//	group         the bindings of one group        -> calls to AWS, reports on the Board, Answers
//	gate          an Answer to a pod that waits    -> the conditions of its readiness gates
//	departure     a pod with a drain hook, leaving -> its condition Deregistered
//	injection     what a binding asks of pods      -> a word of it on the Board
//	podinjection  the bindings of a namespace      -> the PodInjection that the policy reads
//	status        a report on the Board            -> status, conditions, finalizer
//
// No controller waits for AWS, so a few workers serve any number of groups.
package controller

import (
	"context"
	"sync"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// The markers here and in the packages of the controllers become the ClusterRole
// in config/rbac. All reads come from caches, which list and watch and never get.
// The Lease has a Role of its own beside it, since it is in one namespace only.
//
// To tell people what happened, and to count up what happens again:
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Watch runs a reconciler with so many workers on what its sources bring, while the
// process leads. The sources are read before that, so that a standby's caches are ready
// when it becomes the leader.
func Watch[K comparable](mgr ctrl.Manager, name string, workers int, r reconcile.TypedReconciler[K], sources ...source.TypedSource[K]) error {
	warm := true
	c, err := ctrlcontroller.NewTyped(name, mgr, ctrlcontroller.TypedOptions[K]{
		Reconciler: r, MaxConcurrentReconciles: workers, EnableWarmup: &warm,
	})
	if err != nil {
		return err
	}
	for _, src := range sources {
		if err := c.Watch(src); err != nil {
			return err
		}
	}
	return nil
}

// Queue lets one part of the program put work on a controller's queue. It is a
// source of the controller; what is added before the controller runs is kept
// until then. It is safe for concurrent use, and the zero value is ready.
type Queue[T comparable] struct {
	mu      sync.Mutex
	queue   workqueue.TypedRateLimitingInterface[T]
	waiting map[T]bool
}

// Add puts an item on the queue. It never blocks.
func (q *Queue[T]) Add(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.queue != nil {
		q.queue.Add(item)
		return
	}
	if q.waiting == nil {
		q.waiting = map[T]bool{}
	}
	q.waiting[item] = true
}

// Start is called by the controller that the Queue is a source of.
func (q *Queue[T]) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[T]) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = queue
	for item := range q.waiting {
		queue.Add(item)
	}
	q.waiting = nil
	return nil
}
