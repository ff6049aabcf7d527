package gate

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
)

// workers is how many writes to the API server are under way at a time: a rollout of
// a hundred Deployments makes hundreds of pods ready within seconds.
const workers = 16

// bindingByGate is the index by which objects are found that a gate belongs to.
const bindingByGate = "gate"

type queue = workqueue.TypedRateLimitingInterface[types.NamespacedName]

// The conditions of gates are written by a patch of the status. That right cannot be
// limited to them, nor to pods that have gates.
//
// +kubebuilder:rbac:groups="",resources=pods/status,verbs=patch

// SetupWithManager makes the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Objects {
		if err := addIndex(mgr); err != nil {
			return err
		}
	}
	return controller.Watch(mgr, "gate", workers, r, &r.Answers.Changed, source.TypedKind(mgr.GetCache(), &corev1.Pod{}, onPod()))
}

func addIndex(mgr ctrl.Manager) error {
	gates := func(obj client.Object) []string {
		tgb, ok := obj.(*v1beta1.TargetGroupBinding)
		if !ok {
			return nil
		}
		return []string{string(v1beta1.ReadinessGateOf(tgb.Name))}
	}
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1beta1.TargetGroupBinding{}, bindingByGate, gates)
	if err != nil {
		return fmt.Errorf("index bindings by gate: %w", err)
	}
	return nil
}

// onPod looks at pods that wait, and once more at those that waited.
func onPod() handler.TypedEventHandler[*corev1.Pod, types.NamespacedName] {
	type pod = *corev1.Pod
	waits := func(p pod) bool { return kube.PodOf(p).Waits() }
	return handler.TypedFuncs[pod, types.NamespacedName]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[pod], q queue) {
			if waits(e.Object) {
				q.Add(client.ObjectKeyFromObject(e.Object))
			}
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[pod], q queue) {
			if waits(e.ObjectOld) || waits(e.ObjectNew) {
				q.Add(client.ObjectKeyFromObject(e.ObjectNew))
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[pod], q queue) {
			if waits(e.Object) {
				q.Add(client.ObjectKeyFromObject(e.Object))
			}
		},
	}
}
