package group

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// workers is how many groups are reconciled at a time. A reconcile only computes,
// so more workers than cores serve nothing.
const workers = 4

type queue = workqueue.TypedRateLimitingInterface[target.ARN]

// +kubebuilder:rbac:groups="",resources=services;pods,verbs=list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=list;watch

// SetupWithManager makes the manager run the reconciler, and wait for its calls
// when it stops.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	cache := mgr.GetCache()
	sources := []source.TypedSource[target.ARN]{&r.Wake, source.TypedKind(cache, &corev1.Pod{}, r.onPod())}
	if r.Services {
		sources = append(sources,
			source.TypedKind(cache, &corev1.Service{}, r.onService()),
			source.TypedKind(cache, &discoveryv1.EndpointSlice{}, r.onSlice()))
	}
	if err := controller.Watch(mgr, "group", workers, r, sources...); err != nil {
		return err
	}
	return mgr.Add(r)
}

// enqueue puts the groups of a Service on the queue.
func (r *Reconciler) enqueue(q queue, service types.NamespacedName) {
	for _, arn := range r.Registry.GroupsOf(service) {
		q.Add(arn)
	}
}

func (r *Reconciler) onService() handler.TypedEventHandler[*corev1.Service, target.ARN] {
	seen := func(service *corev1.Service, q queue) {
		r.Cluster.ServiceExists(client.ObjectKeyFromObject(service))
		r.enqueue(q, client.ObjectKeyFromObject(service))
	}
	return handler.TypedFuncs[*corev1.Service, target.ARN]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*corev1.Service], q queue) { seen(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*corev1.Service], q queue) { seen(e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*corev1.Service], q queue) {
			r.Cluster.ServiceDeleted(client.ObjectKeyFromObject(e.Object))
			r.enqueue(q, client.ObjectKeyFromObject(e.Object))
		},
	}
}

func (r *Reconciler) onSlice() handler.TypedEventHandler[*discoveryv1.EndpointSlice, target.ARN] {
	type slice = *discoveryv1.EndpointSlice
	return handler.TypedFuncs[slice, target.ARN]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[slice], q queue) {
			r.enqueue(q, kube.ServiceOf(e.Object))
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[slice], q queue) {
			r.enqueue(q, kube.ServiceOf(e.ObjectOld))
			r.enqueue(q, kube.ServiceOf(e.ObjectNew))
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[slice], q queue) {
			r.enqueue(q, kube.ServiceOf(e.Object))
		},
	}
}

func (r *Reconciler) onPod() handler.TypedEventHandler[*corev1.Pod, target.ARN] {
	concerned := func(ctx context.Context, pod *corev1.Pod, q queue) {
		for _, arn := range r.Registry.GroupsChoosing(pod) {
			q.Add(arn)
		}
		if !r.Services {
			return
		}
		for _, service := range r.Cluster.ServicesOf(ctx, client.ObjectKeyFromObject(pod)) {
			r.enqueue(q, service)
		}
	}
	return handler.TypedFuncs[*corev1.Pod, target.ARN]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*corev1.Pod], q queue) { concerned(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*corev1.Pod], q queue) {
			if e.ObjectOld.UID != e.ObjectNew.UID { // deleted and made anew while the watch was broken
				r.Cluster.PodDeleted(e.ObjectOld.UID)
			}
			if !maps.Equal(e.ObjectOld.Labels, e.ObjectNew.Labels) { // who chose it before may do so no more
				concerned(ctx, e.ObjectOld, q)
			}
			if kube.Differ(e.ObjectOld, e.ObjectNew) {
				concerned(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*corev1.Pod], q queue) {
			r.Cluster.PodDeleted(e.Object.UID)
			concerned(ctx, e.Object, q)
		},
	}
}
