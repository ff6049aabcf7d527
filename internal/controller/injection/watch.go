package injection

import (
	"context"
	"fmt"
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

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
)

// workers is how many bindings are reconciled at a time. It is all computing.
const workers = 2

// bindingByService is the index by which bindings are found that ask for something
// in the pods of a Service, or under noService in pods that they choose themselves.
const bindingByService = "injecting-service"

// noService is the name of no Service.
const noService = "-"

type queue = workqueue.TypedRateLimitingInterface[desired.BindingID]

// SetupWithManager makes the manager run the reconciler, and wait for its calls
// when it stops.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := addIndex(mgr); err != nil {
		return err
	}
	cache := mgr.GetCache()
	err := controller.Watch(mgr, "injection", workers, r,
		&r.Wake,
		source.TypedKind(cache, &v1beta1.TargetGroupBinding{}, on(func(_ context.Context, tgb *v1beta1.TargetGroupBinding, q queue) {
			q.Add(idOf(tgb))
		})),
		source.TypedKind(cache, &corev1.Service{}, on(func(ctx context.Context, service *corev1.Service, q queue) {
			r.enqueue(ctx, client.ObjectKeyFromObject(service), q)
		})),
		source.TypedKind(cache, &discoveryv1.EndpointSlice{}, on(func(ctx context.Context, slice *discoveryv1.EndpointSlice, q queue) {
			r.enqueue(ctx, kube.ServiceOf(slice), q)
		})),
		source.TypedKind(cache, &corev1.Pod{}, r.onPod()),
	)
	if err != nil {
		return err
	}
	return mgr.Add(r)
}

// Start waits for ctx to end and then for the calls under way.
func (r *Reconciler) Start(ctx context.Context) error {
	<-ctx.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, delays := range r.delays {
		delays.Wait()
	}
	return nil
}

func addIndex(mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1beta1.TargetGroupBinding{}, bindingByService, func(obj client.Object) []string {
		tgb, ok := obj.(*v1beta1.TargetGroupBinding)
		if !ok || tgb.Spec.ReadinessGate != v1beta1.ReadinessGateInject && tgb.Spec.Drain == nil {
			return nil
		}
		if tgb.Spec.PodSelector != nil {
			return []string{noService}
		}
		return []string{tgb.Spec.ServiceRef.Name}
	})
	if err != nil {
		return fmt.Errorf("index bindings by Service: %w", err)
	}
	return nil
}

// enqueue puts the bindings of a Service on the queue that ask for something in
// its pods.
func (r *Reconciler) enqueue(ctx context.Context, service types.NamespacedName, q queue) {
	for _, tgb := range r.injecting(ctx, service) {
		q.Add(idOf(&tgb))
	}
}

// injecting lists the bindings of a Service that ask for something in its pods.
func (r *Reconciler) injecting(ctx context.Context, service types.NamespacedName) []v1beta1.TargetGroupBinding {
	var list v1beta1.TargetGroupBindingList
	err := r.Client.List(ctx, &list, client.InNamespace(service.Namespace), client.MatchingFields{bindingByService: service.Name})
	if err != nil {
		return nil // the cache is not filled yet, and filling it brings every binding
	}
	return list.Items
}

// choosers puts the bindings on the queue that choose a pod by themselves and ask for
// something in it.
func (r *Reconciler) choosers(ctx context.Context, pod *corev1.Pod, q queue) {
	for _, tgb := range r.injecting(ctx, types.NamespacedName{Namespace: pod.Namespace, Name: noService}) {
		if binding, err := kube.BindingOf(&tgb); err == nil && binding.Chooses(pod, nil) {
			q.Add(idOf(&tgb))
		}
	}
}

// on calls seen for every object that came, changed or went.
func on[T client.Object](seen func(context.Context, T, queue)) handler.TypedEventHandler[T, desired.BindingID] {
	return handler.TypedFuncs[T, desired.BindingID]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[T], q queue) { seen(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[T], q queue) { seen(ctx, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[T], q queue) { seen(ctx, e.Object, q) },
	}
}

// onPod looks after pods that come to the cache later than the slice that lists
// them; all else that becomes of a pod of a Service shows in its slices. Bindings that
// choose pods by themselves are told of all that changes which pods run.
func (r *Reconciler) onPod() handler.TypedEventHandler[*corev1.Pod, desired.BindingID] {
	type pod = *corev1.Pod
	stays := func(p pod) bool { return p.DeletionTimestamp.IsZero() && !kube.PodOf(p).Finished }
	return handler.TypedFuncs[pod, desired.BindingID]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[pod], q queue) {
			for _, service := range r.Cluster.ServicesOf(ctx, client.ObjectKeyFromObject(e.Object)) {
				r.enqueue(ctx, service, q)
			}
			r.choosers(ctx, e.Object, q)
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[pod], q queue) {
			if !maps.Equal(e.ObjectOld.Labels, e.ObjectNew.Labels) || stays(e.ObjectOld) != stays(e.ObjectNew) || e.ObjectOld.UID != e.ObjectNew.UID {
				r.choosers(ctx, e.ObjectOld, q)
				r.choosers(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[pod], q queue) { r.choosers(ctx, e.Object, q) },
	}
}
