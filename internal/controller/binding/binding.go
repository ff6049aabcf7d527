// Package binding finds the target group that each binding means.
package binding

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Reconciler reconciles bindings, by id. Reconcile never waits for AWS.
type Reconciler struct {
	Client   client.Client
	Accounts *elb.Accounts
	Registry *controller.Registry
	Board    *controller.Board
	Events   *kube.Recorder
	// Region is where groups named by name are looked for.
	Region string
	// Flags are the bindings that no object declares.
	Flags []kube.Binding
	// Objects: TargetGroupBinding objects are watched.
	Objects bool
	// Fresh is how long what AWS told of a group is believed.
	Fresh time.Duration
	// WakeGroup brings a group to its controller.
	WakeGroup func(target.ARN)
	// WakeGates brings back the pods that wait at the gate of a binding.
	WakeGates func(context.Context, desired.BindingID)
	// Filed is told of bindings whose group was found, or is another than before.
	Filed func(desired.BindingID)

	queue controller.Queue[desired.BindingID]

	mu          sync.Mutex
	directories map[*elb.Account]*elb.Directory
	catalogs    map[*elb.Account]*elb.Catalog
	waiting     map[target.Ref]map[desired.BindingID]bool
	groupless   map[desired.BindingID]bool // whatever group they name, they have none
	tagged      map[desired.BindingID]*elb.Catalog
}

// problem is what keeps a binding from its group, with where the user can mend it.
type problem struct {
	reason  target.Reason
	message string
}

// Reconcile finds a binding's group and files both in the Registry.
func (r *Reconciler) Reconcile(ctx context.Context, id desired.BindingID) (reconcile.Result, error) {
	defer r.WakeGates(ctx, id)
	binding, found, err := r.declared(ctx, id)
	switch {
	case apierrors.IsConflict(err):
		return reconcile.Result{}, nil // the newer object is on its way, and brings us back
	case err != nil:
		return reconcile.Result{}, err
	}
	if !found {
		r.dropped(id)
		return reconcile.Result{}, nil
	}
	if len(binding.Tags) > 0 {
		return reconcile.Result{RequeueAfter: r.several(ctx, binding)}, nil
	}
	account, answer, wrong := r.look(ctx, binding)
	if r.exclude(id, wrong != nil && settled(wrong.reason)) {
		r.wake(r.Registry.Called(binding.Group))
	}
	switch {
	case wrong != nil && binding.Deleting && settled(wrong.reason):
		r.finish(binding)
	case wrong != nil:
		r.fail(ctx, binding, *wrong)
	case answer.Known:
		r.file(binding.ID, controller.Bound{Binding: binding, Target: answer.Group, Account: account})
	}
	return reconcile.Result{RequeueAfter: max(time.Until(answer.Next), 0)}, nil
}

// file makes a binding with its groups known to all whom it concerns.
func (r *Reconciler) file(id desired.BindingID, bounds ...controller.Bound) {
	concerned := r.Registry.Bind(id, bounds...)
	if len(concerned) == 0 {
		return
	}
	r.wake(concerned)
	r.Filed(id)
}

// declared reads what declares the binding, and makes sure that an object cannot
// disappear while targets of it are registered.
func (r *Reconciler) declared(ctx context.Context, id desired.BindingID) (kube.Binding, bool, error) {
	for _, binding := range r.Flags {
		if binding.ID == id {
			return binding, true, nil
		}
	}
	var tgb v1beta1.TargetGroupBinding
	if err := r.Client.Get(ctx, types.NamespacedName(id), &tgb); err != nil {
		return kube.Binding{}, false, client.IgnoreNotFound(err)
	}
	binding, err := kube.BindingOf(&tgb)
	if err != nil {
		binding.ID, binding.Object, binding.Deleting = id, &tgb, !tgb.DeletionTimestamp.IsZero()
		binding.Invalid = err
		return binding, true, nil
	}
	return binding, true, r.hold(ctx, &tgb)
}

// hold puts the finalizer on an object, before anything is registered for it.
func (r *Reconciler) hold(ctx context.Context, cached *v1beta1.TargetGroupBinding) error {
	if !cached.DeletionTimestamp.IsZero() {
		return nil
	}
	tgb := cached.DeepCopy()
	if !controllerutil.AddFinalizer(tgb, v1beta1.Finalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(cached, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, tgb, patch); err != nil {
		return fmt.Errorf("put the finalizer on %s/%s: %w", tgb.Namespace, tgb.Name, err)
	}
	return nil
}

// look asks what is known of the binding's group.
func (r *Reconciler) look(ctx context.Context, binding kube.Binding) (*elb.Account, elb.Answer, *problem) {
	account, wrong := r.account(ctx, binding)
	if wrong != nil {
		return nil, elb.Answer{}, wrong
	}
	answer := r.directory(account).Look(ctx, r.wait(binding))
	return account, answer, judge(binding, answer)
}

// account opens the account of the binding's groups.
func (r *Reconciler) account(ctx context.Context, binding kube.Binding) (*elb.Account, *problem) {
	if binding.Invalid != nil {
		return nil, &problem{target.InvalidBinding, binding.Invalid.Error()}
	}
	login := elb.Login{Region: r.Region, Role: binding.Role, ExternalID: binding.ExternalID}
	if !binding.Group.ARN.IsZero() {
		login.Region = binding.Group.ARN.Region
	}
	if login.Region == "" {
		return nil, &problem{target.RegionUnknown, fmt.Sprintf(
			"target group %q is named without a region: start the controller with --region or AWS_REGION, or name the group by targetGroupARN",
			cmp.Or(binding.Group.Name, kube.TagsText(binding.Tags)))}
	}
	account, err := r.Accounts.Account(ctx, login)
	if err != nil {
		return nil, &problem{target.CredentialsInvalid, err.Error()}
	}
	return account, nil
}

// judge tells what stands between a binding and its group.
func judge(binding kube.Binding, answer elb.Answer) *problem {
	group := answer.Group
	switch {
	case !answer.Known:
		return nil
	case group.ARN.IsZero():
		return &problem{answer.Err.Kind.Reason(), fmt.Sprintf("target group %s: %s", binding.Group, answer.Err.Failure())}
	case group.Type != target.TypeIP:
		return &problem{target.TargetTypeMismatch, fmt.Sprintf(
			"target group %s is of type %s, and pods can be targets of type ip only: name a group of type ip; the type of a group cannot be changed",
			group.ARN.Name, group.Type)}
	case binding.Family != "" && binding.Family != group.Family:
		return &problem{target.AddressFamilyMismatch, fmt.Sprintf(
			"ipAddressType is %s but target group %s is of %s: correct ipAddressType or leave it out",
			binding.Family, group.ARN.Name, group.Family)}
	case binding.VPC != "" && binding.VPC != group.VPCID:
		return &problem{target.VPCMismatch, fmt.Sprintf(
			"vpcID is %s but target group %s is in %s: correct vpcID or leave it out",
			binding.VPC, group.ARN.Name, group.VPCID)}
	}
	return nil
}

// settled tells whether a binding with this problem has certainly no targets: its
// group does not exist, or none was ever registered for it.
func settled(reason target.Reason) bool {
	switch reason {
	case target.TargetGroupNotFound, target.InvalidBinding, target.RegionUnknown,
		target.TargetTypeMismatch, target.AddressFamilyMismatch, target.VPCMismatch:
		return true
	}
	return false
}

// finish lets a binding go that has nothing in any group.
func (r *Reconciler) finish(binding kube.Binding) {
	r.Board.Post(controller.Notice{Report: report.Binding{ID: binding.ID}, Finished: true})
}

// fail says what is wrong, once for each change of it.
func (r *Reconciler) fail(ctx context.Context, binding kube.Binding, wrong problem) {
	if wrong.reason == target.TargetGroupNotFound {
		r.wake(r.Registry.Drop(binding.ID))
	}
	notice, _ := r.Board.Read(binding.ID)
	previous := notice.Report
	notice.Report = report.Failed(previous, wrong.reason, wrong.message)
	notice.Report.ID = binding.ID
	r.Board.Post(notice)
	for _, event := range report.Events(previous, notice.Report, plan.Outcome{}) {
		r.Events.Record(ctx, binding, binding.Group.ARN, event)
	}
}

// dropped forgets a binding that exists no more.
func (r *Reconciler) dropped(id desired.BindingID) {
	r.wake(r.Registry.Drop(id))
	r.Board.Remove(id)
	r.exclude(id, false)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tagged, id)
	for ref := range r.waiting {
		if r.waiting[ref][id] {
			delete(r.waiting[ref], id)
			r.wake(r.Registry.Called(ref)) // may have held targets for it
		}
	}
}

func (r *Reconciler) wake(groups []target.ARN) {
	for _, arn := range groups {
		r.WakeGroup(arn)
	}
}

// wait makes answers about the binding's group come back to the binding.
func (r *Reconciler) wait(binding kube.Binding) target.Ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = map[target.Ref]map[desired.BindingID]bool{}
	}
	if r.waiting[binding.Group] == nil {
		r.waiting[binding.Group] = map[desired.BindingID]bool{}
	}
	r.waiting[binding.Group][binding.ID] = true
	return binding.Group
}

// answered brings the bindings back that wait for an answer about a group.
func (r *Reconciler) answered(ref target.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.waiting[ref] {
		r.queue.Add(id)
	}
}

func (r *Reconciler) directory(account *elb.Account) *elb.Directory {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.directories == nil {
		r.directories = map[*elb.Account]*elb.Directory{}
	}
	if r.directories[account] == nil {
		r.directories[account] = elb.NewDirectory(account, r.Fresh, r.answered)
	}
	return r.directories[account]
}

// Lost makes the group of a binding be looked for again, after AWS said that it
// does not exist: one of the same name may have taken its place.
func (r *Reconciler) Lost(bound controller.Bound) {
	if len(bound.Tags) > 0 {
		r.catalog(bound.ID, bound.Account).Doubt()
	} else {
		r.directory(bound.Account).Doubt(bound.Group)
	}
	r.queue.Add(bound.ID)
}
