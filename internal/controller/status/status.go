// Package status writes what the Board says of a binding into its status, and
// lets go of bindings of which nothing is left.
package status

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
)

// workers is how many writes to the API server are under way at a time.
const workers = 8

// soon is when to try again what came too early for the cache.
const soon = 100 * time.Millisecond

// writeLimit bounds a write to the API server.
const writeLimit = 5 * time.Second

// Reconciler writes the status of bindings that are objects.
type Reconciler struct {
	Client client.Client
	Board  *controller.Board
}

// The status is applied, which is a patch, and so is taking the finalizer off.
//
// +kubebuilder:rbac:groups=targetgroupcontroller.io,resources=targetgroupbindings,verbs=patch
// +kubebuilder:rbac:groups=targetgroupcontroller.io,resources=targetgroupbindings/status,verbs=patch

// SetupWithManager makes the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return controller.Watch(mgr, "status", workers, r, &r.Board.Changed)
}

// Reconcile writes the latest notice on a binding. The cached object may be older
// than our own last write; then the same is written again, which changes nothing.
func (r *Reconciler) Reconcile(ctx context.Context, id desired.BindingID) (reconcile.Result, error) {
	notice, posted := r.Board.Read(id)
	injection := r.Board.Injection(id)
	if !posted && injection == nil {
		return reconcile.Result{}, nil
	}
	var tgb v1beta1.TargetGroupBinding
	err := r.Client.Get(ctx, types.NamespacedName(id), &tgb)
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if notice.Finished && !tgb.DeletionTimestamp.IsZero() {
		err := r.letGo(ctx, &tgb)
		if apierrors.IsConflict(err) {
			// The newer object is on its way to the cache, and does not bring us
			// back by itself.
			return reconcile.Result{RequeueAfter: soon}, nil
		}
		return reconcile.Result{}, err
	}
	// A write that has begun is finished when the program stops: it is what the
	// next leader knows.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	if injection != nil {
		err = kube.WriteInjection(ctx, r.Client, &tgb, *injection)
	}
	if posted {
		err = errors.Join(err, kube.WriteStatus(ctx, r.Client, &tgb, statusOf(&tgb, notice)))
	}
	if apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, err
}

func statusOf(tgb *v1beta1.TargetGroupBinding, notice controller.Notice) v1beta1.TargetGroupBindingStatus {
	if notice.Several {
		return kube.StatusOfAll(tgb, notice.Report, notice.Groups)
	}
	return kube.StatusOf(tgb, notice.Report, notice.Group)
}

// letGo removes the finalizer, so that the object disappears.
func (r *Reconciler) letGo(ctx context.Context, cached *v1beta1.TargetGroupBinding) error {
	tgb := cached.DeepCopy()
	if !controllerutil.RemoveFinalizer(tgb, v1beta1.Finalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(cached, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, tgb, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("remove the finalizer of %s/%s: %w", tgb.Namespace, tgb.Name, err)
	}
	return nil
}
