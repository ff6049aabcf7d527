package binding

import (
	"context"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
)

// workers is how many bindings are reconciled at a time. The only thing they wait
// for is the API server taking a finalizer.
const workers = 8

// The finalizer is put on by a patch.
//
// +kubebuilder:rbac:groups=targetgroupcontroller.io,resources=targetgroupbindings,verbs=list;watch;patch

// SetupWithManager makes the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	for _, binding := range r.Flags {
		r.queue.Add(binding.ID)
	}
	sources := []source.TypedSource[desired.BindingID]{&r.queue}
	if r.Objects {
		if err := addIndex(mgr); err != nil {
			return err
		}
		sources = append(sources, source.TypedKind(mgr.GetCache(), &v1beta1.TargetGroupBinding{}, onBinding()))
	}
	return controller.Watch(mgr, "binding", workers, r, sources...)
}

type queue = workqueue.TypedRateLimitingInterface[desired.BindingID]

func onBinding() handler.TypedEventHandler[*v1beta1.TargetGroupBinding, desired.BindingID] {
	type tgb = *v1beta1.TargetGroupBinding
	enqueue := func(binding tgb, q queue) {
		q.Add(desired.BindingID{Namespace: binding.Namespace, Name: binding.Name})
	}
	return handler.TypedFuncs[tgb, desired.BindingID]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[tgb], q queue) { enqueue(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[tgb], q queue) { enqueue(e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[tgb], q queue) { enqueue(e.Object, q) },
	}
}
