// Package injection works out what each binding puts into new pods, for the policy
// and the webhook to read in its status, and tells which running pods lack it.
package injection

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// fresh is how long the deregistration delay of a group is believed. It is set by
// hand, once, so that a call for each group and hour is enough; what changed
// counts only for pods made afterwards.
const fresh = time.Hour

// Reconciler reconciles bindings, by id. Reconcile never waits for AWS.
type Reconciler struct {
	Client   client.Client
	Cluster  *kube.Cluster
	Registry *controller.Registry
	Board    *controller.Board
	Events   *kube.Recorder
	// Image holds this program, for the drain mode Hold; empty if not known. Endpoint
	// is where it asks the controller.
	Image, Endpoint string
	// Wake brings a binding to Reconcile.
	Wake controller.Queue[desired.BindingID]

	mu     sync.Mutex
	delays map[*elb.Account]*elb.Delays
	told   map[desired.BindingID]map[target.Reason]string
}

// Reconcile posts what a binding puts into new pods.
func (r *Reconciler) Reconcile(ctx context.Context, id desired.BindingID) (reconcile.Result, error) {
	var tgb v1beta1.TargetGroupBinding
	if err := r.Client.Get(ctx, types.NamespacedName(id), &tgb); err != nil {
		r.forget(id)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	gated := tgb.Spec.ReadinessGate == v1beta1.ReadinessGateInject
	settings := kube.DrainSettings(tgb.Spec.Drain)
	if !tgb.DeletionTimestamp.IsZero() || !gated && settings.Mode == drain.None {
		r.Board.PostInjection(id, kube.Injection{})
		r.forget(id)
		return reconcile.Result{}, nil
	}
	binding, err := kube.BindingOf(&tgb)
	if err != nil {
		r.Board.PostInjection(id, kube.Injection{})
		return reconcile.Result{}, nil // the binding's condition says so
	}
	var injection kube.Injection
	if binding.Selector == nil {
		if injection.Selector, err = r.Cluster.Selector(ctx, binding.Service); err != nil {
			return reconcile.Result{}, err
		}
	}
	if gated {
		injection.Gate = string(v1beta1.ReadinessGateOf(tgb.Name))
	}
	again := r.draining(ctx, &tgb, settings, &injection)
	if err := r.count(ctx, &tgb, binding, &injection); err != nil {
		return reconcile.Result{}, err
	}
	r.Board.PostInjection(id, injection)
	return reconcile.Result{RequeueAfter: again}, nil
}

// draining works out the times of a binding, and when to do so again.
func (r *Reconciler) draining(ctx context.Context, tgb *v1beta1.TargetGroupBinding, settings drain.Settings, into *kube.Injection) time.Duration {
	if settings.Mode == drain.None {
		return 0
	}
	if settings.Mode == drain.Hold && r.Image == "" {
		settings.Mode = drain.Sleep
		r.tell(ctx, tgb, target.DrainImageUnknown,
			"spec.drain.mode is Hold, but the image of tgc is not known, so that pods get Sleep: start the controller with --drain-image")
	}
	times, delay, again := r.times(ctx, tgb, settings)
	into.Drain = kube.DrainStatus(times)
	if into.Drain == nil {
		return again
	}
	into.Drain.DeregistrationDelaySeconds = delay
	if settings.Mode == drain.Hold {
		into.Drain.Image, into.Drain.Endpoint = r.Image, r.Endpoint
	}
	return again
}

// times tells the longest times that any group of a binding asks for, the
// deregistration delay that the status is to remember with them, and when to look
// again. What is not known yet, as after a start, is taken from what the status
// remembers.
func (r *Reconciler) times(ctx context.Context, tgb *v1beta1.TargetGroupBinding, settings drain.Settings) (drain.Times, *int32, time.Duration) {
	var remembered *int32
	if tgb.Status.Drain != nil {
		remembered = tgb.Status.Drain.DeregistrationDelaySeconds
	}
	bounds := r.Registry.Meant(idOf(tgb))
	switch {
	case settings.Hold != nil:
		return drain.Of(settings, drain.Group{}), nil, 0
	case len(bounds) == 0:
		if remembered != nil {
			settings.Hold = kube.Seconds(&tgb.Status.Drain.HoldSeconds)
		}
		return drain.Of(settings, drain.Group{}), remembered, 0
	}
	var longest drain.Times
	var again time.Duration
	delay := remembered
	for i, bound := range bounds {
		group, told, next := r.group(ctx, tgb, bound, remembered)
		if times := drain.Of(settings, group); i == 0 || times.Hold > longest.Hold {
			longest, delay = times, told
		}
		if again == 0 || next > 0 && next < again {
			again = next
		}
	}
	return longest, delay, again
}

// group tells what is known of one group of a binding, the deregistration delay, and
// when to look again.
func (r *Reconciler) group(ctx context.Context, tgb *v1beta1.TargetGroupBinding, bound controller.Bound, remembered *int32) (drain.Group, *int32, time.Duration) {
	if len(bound.Tags) == 0 && tgb.Status.TargetGroupARN != bound.Target.ARN.String() {
		remembered = nil // it was of another group
	}
	delay, due := r.delaysOf(bound.Account).Look(ctx, bound.Target.ARN)
	if delay.Known {
		seconds := int32(delay.Value / time.Second)
		remembered = &seconds
	}
	group := drain.Group{Known: true, Application: bound.Target.Application(), Delay: kube.Seconds(remembered)}
	if delay.Err != nil && remembered == nil {
		r.tell(ctx, tgb, target.DrainDefaults, fmt.Sprintf("the deregistration delay of target group %s is not known and taken for %d s: %s",
			bound.Target.ARN.Name, target.DefaultDelay/time.Second, delay.Err.Failure()))
	}
	return group, remembered, max(time.Until(due), 0)
}

// delaysOf gives the delays of an account's groups.
func (r *Reconciler) delaysOf(account *elb.Account) *elb.Delays {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.delays == nil {
		r.delays = map[*elb.Account]*elb.Delays{}
	}
	if r.delays[account] == nil {
		r.delays[account] = elb.NewDelays(account, fresh, func(group target.ARN) {
			for _, bound := range r.Registry.Of(group) {
				r.Wake.Add(bound.ID)
			}
		})
	}
	return r.delays[account]
}

// count counts the running pods that lack what the binding asks for.
func (r *Reconciler) count(ctx context.Context, tgb *v1beta1.TargetGroupBinding, binding kube.Binding, into *kube.Injection) error {
	pods, err := r.Cluster.Running(ctx, binding)
	if err != nil {
		return err
	}
	var ungated, undrained []string
	for _, pod := range pods {
		if into.Gate != "" && !kube.HasGate(pod, into.Gate) {
			ungated = append(ungated, pod.Name)
		}
		if into.Drain != nil && !kube.HasDrainHook(pod) {
			undrained = append(undrained, undrainedPod(pod))
		}
	}
	into.Ungated, into.Undrained = len(ungated), len(undrained)
	r.missing(ctx, tgb, target.GateMissing, "readiness gate "+into.Gate, ungated)
	r.missing(ctx, tgb, target.DrainHookMissing, "drain hook", undrained)
	return nil
}
