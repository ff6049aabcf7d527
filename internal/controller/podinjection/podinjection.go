// Package podinjection gathers what the bindings of each namespace put into new
// pods into the namespace's PodInjection, where the policy reads it.
package podinjection

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
)

// workers is how many writes to the API server are under way at a time.
const workers = 4

// Reconciler reconciles namespaces, by name. It reads the status of bindings alone,
// so that what it writes is complete at any time, right after a start too.
type Reconciler struct {
	Client client.Client
}

// The object is applied, which is a patch, and a create where there is none.
//
// +kubebuilder:rbac:groups=targetgroupcontroller.io,resources=podinjections,verbs=list;watch;create;patch;delete

// SetupWithManager makes the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return controller.Watch(mgr, "podinjection", workers, r,
		source.TypedKind(mgr.GetCache(), &v1beta1.TargetGroupBinding{}, namespaceOf[*v1beta1.TargetGroupBinding]()),
		source.TypedKind(mgr.GetCache(), &v1beta1.PodInjection{}, namespaceOf[*v1beta1.PodInjection]()))
}

// namespaceOf brings the namespace of every object that came, changed or went.
func namespaceOf[T client.Object]() handler.TypedEventHandler[T, string] {
	type queue = workqueue.TypedRateLimitingInterface[string]
	return handler.TypedFuncs[T, string]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[T], q queue) { q.Add(e.Object.GetNamespace()) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[T], q queue) { q.Add(e.ObjectNew.GetNamespace()) },
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[T], q queue) { q.Add(e.Object.GetNamespace()) },
	}
}

// Reconcile writes the PodInjection of a namespace if it is not as it should be.
func (r *Reconciler) Reconcile(ctx context.Context, namespace string) (reconcile.Result, error) {
	var bindings v1beta1.TargetGroupBindingList
	if err := r.Client.List(ctx, &bindings, client.InNamespace(namespace)); err != nil {
		return reconcile.Result{}, fmt.Errorf("list the bindings of %s: %w", namespace, err)
	}
	existing := v1beta1.PodInjection{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: v1beta1.PodInjectionName}}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(&existing), &existing)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("read the PodInjection of %s: %w", namespace, err)
	}
	exists, want := err == nil, admission.ByLabel(admission.BindingsOf(bindings.Items))
	switch {
	case len(want) == 0 && exists:
		err = client.IgnoreNotFound(r.Client.Delete(ctx, &existing))
	case len(want) == 0 || exists && equality.Semantic.DeepEqual(existing.ByLabel, want):
		return reconcile.Result{}, nil
	default:
		err = r.apply(ctx, namespace, want)
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("write the PodInjection of %s: %w", namespace, err)
	}
	return reconcile.Result{}, nil
}

func (r *Reconciler) apply(ctx context.Context, namespace string, byLabel map[string]v1beta1.BindingInjections) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1beta1.PodInjection{ByLabel: byLabel})
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{"byLabel": fields["byLabel"]}}
	object.SetGroupVersionKind(v1beta1.GroupVersion.WithKind("PodInjection"))
	object.SetNamespace(namespace)
	object.SetName(v1beta1.PodInjectionName)
	return r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), kube.FieldOwner, client.ForceOwnership)
}
