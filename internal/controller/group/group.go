// Package group keeps each target group in line with the union of its bindings.
package group

import (
	"context"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Reconciler reconciles target groups, by ARN. Reconcile never waits for AWS.
type Reconciler struct {
	Cluster *kube.Cluster
	// Services: Services and their slices are watched. Where no binding can name a
	// Service they are not, and no right to read them is needed.
	Services bool
	Registry *controller.Registry
	Board    *controller.Board
	// Answers tells pods that wait at readiness gates what their targets' health is.
	Answers *controller.Answers
	Metrics *metrics.Metrics
	// Events tells people what happened to a binding.
	Events *kube.Recorder
	// Undecided lists the bindings of which it is not known yet whether they mean
	// a group. It is quick and does not wait.
	Undecided func(context.Context, target.ARN) ([]desired.BindingID, error)
	// WakeGates brings back the pods that wait at the gate of a binding.
	WakeGates func(context.Context, desired.BindingID)
	// Leaving is told of pods that a round found to leave, or to have left.
	Leaving func(desired.PodRef)
	// Freed is told of bindings that have nothing left in a group that they no longer mean.
	Freed func(desired.BindingID)
	// Lost is told of bindings whose group proved not to exist.
	Lost func(controller.Bound)
	// Sweep is how often an unchanged group is looked at for drift.
	Sweep time.Duration
	// Wake brings a group back to Reconcile.
	Wake controller.Queue[target.ARN]

	mu      sync.Mutex
	syncers map[target.ARN]*syncer
}

// syncer is a group's Syncer with the account it was made for.
type syncer struct {
	*elb.Syncer
	account *elb.Account
	// last is the plan that was published last. The Reconciler's lock guards it.
	last plan.Plan
}

// Reconcile makes the group's plan, starts the calls that are due, and reports.
func (r *Reconciler) Reconcile(ctx context.Context, arn target.ARN) (reconcile.Result, error) {
	bindings := r.Registry.Of(arn)
	if len(bindings) == 0 {
		r.forget(arn)
		return reconcile.Result{}, nil
	}
	s := r.syncer(ctx, arn, bindings)
	round := s.Step(ctx)
	r.mu.Lock()
	s.last = round.Plan
	r.mu.Unlock()
	r.publish(ctx, bindings, round)
	r.tellLeaving(round)
	return reconcile.Result{RequeueAfter: until(round.Next)}, nil
}

// syncer gives the group's Syncer, a new one if the credentials are others than
// before. The old one's calls come to an end first, which brings the group back.
func (r *Reconciler) syncer(ctx context.Context, arn target.ARN, bindings []controller.Bound) *syncer {
	r.mu.Lock()
	defer r.mu.Unlock()
	account := bindings[0].Account
	if s := r.syncers[arn]; s != nil && (s.account == account || !s.Idle()) {
		return s
	}
	if r.syncers == nil {
		r.syncers = map[target.ARN]*syncer{}
	}
	r.syncers[arn] = &syncer{account: account, Syncer: elb.NewSyncer(elb.SyncerConfig{
		Account:  account,
		Group:    arn,
		Ours:     remembered(arn, bindings),
		Plan:     func(have plan.Observation) (plan.Plan, bool) { return r.plan(ctx, arn, have) },
		Wake:     func() { r.Wake.Add(arn) },
		Sweep:    r.Sweep,
		Accepted: r.Metrics.Accepted,
	})}
	return r.syncers[arn]
}

// forget drops a group that no binding means any more. Calls that still wait for
// their turn find nothing to do; the end of the last brings the group back here.
func (r *Reconciler) forget(arn target.ARN) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.syncers[arn]; s != nil && !s.Idle() {
		return
	}
	delete(r.syncers, arn)
	r.Answers.Post(arn, nil)
	r.Metrics.Forget(arn)
}

// Start waits for ctx to end and then for the calls under way, so that the
// program does not give up its lease while one of its calls may still land.
func (r *Reconciler) Start(ctx context.Context) error {
	<-ctx.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.syncers {
		s.Wait()
	}
	return nil
}

// plan is the data flow of the project: facts, what is wanted, what to do.
func (r *Reconciler) plan(ctx context.Context, arn target.ARN, have plan.Observation) (plan.Plan, bool) {
	// Asked first, lest a binding be filed after the others are read.
	undecided, err := r.Undecided(ctx, arn)
	bindings := r.Registry.Of(arn)
	if len(bindings) == 0 {
		return plan.Plan{}, false
	}
	var facts desired.Facts
	if err == nil {
		facts, err = r.Cluster.Facts(ctx, bindings[0].Target.Family, declared(bindings))
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "Cannot decide about the target group yet", "group", arn)
		return plan.Plan{}, false
	}
	facts.Undecided = undecided
	have.Journal = remembered(arn, bindings)
	return plan.Make(desired.For(facts), have, policy(bindings), time.Now()), true
}

// publish tells people and machines what a round found and did.
func (r *Reconciler) publish(ctx context.Context, bindings []controller.Bound, round elb.Round) {
	group := bindings[0].Target
	// Read anew: it names all that calls under way carry.
	round.Have.Journal = remembered(group.ARN, r.Registry.Of(group.ARN))
	input := report.Input{
		Group: group, Bindings: ids(bindings), Have: round.Have, Plan: round.Plan, Outcome: round.Outcome, Busy: round.Busy,
	}
	reports := report.Of(input)
	r.Answers.Post(group.ARN, report.Gates(input))
	if round.Known {
		r.Metrics.Group(group.ARN, round)
	}
	for i, binding := range bindings {
		if !round.Known {
			reports[i] = r.unknown(reports[i], group.ARN, round)
		}
		notice := controller.Notice{Report: reports[i], Group: group, Finished: finished(binding, round)}
		previous := r.Board.Post(notice)
		if !round.Known {
			r.WakeGates(ctx, binding.ID)
		}
		for _, event := range report.Events(previous.Report, reports[i], round.Outcome) {
			r.Events.Record(ctx, binding.Binding, group.ARN, event)
		}
		if gone(round) {
			r.Lost(binding)
		}
		if binding.Left && notice.Finished {
			r.Freed(binding.ID)
		}
	}
}

// unknown reports on a binding while its group could not be listed: what was last
// known stays, with why nothing newer is.
func (r *Reconciler) unknown(current report.Binding, group target.ARN, round elb.Round) report.Binding {
	previous, _ := r.Board.ReadIn(current.ID, group)
	previous.Report.ID = current.ID
	if len(round.Outcome.Failures) == 0 {
		return report.Failed(previous.Report, target.Syncing, "the target group is being listed")
	}
	return report.Failed(previous.Report, current.Ready.Reason, current.Ready.Message)
}

// finished tells whether nothing of a binding that is being deleted, or has left the
// group, is left to do.
func finished(binding controller.Bound, round elb.Round) bool {
	if !binding.Deleting && !binding.Left {
		return false
	}
	leaving := slices.ContainsFunc(round.Plan.Deregister, func(c plan.Change) bool {
		return len(c.Bindings) == 0 || slices.Contains(c.Bindings, binding.ID)
	})
	return gone(round) || round.Known && !round.Busy && !leaving
}

// gone tells whether AWS said that the group does not exist.
func gone(round elb.Round) bool {
	return slices.ContainsFunc(round.Outcome.Failures, func(f plan.Failure) bool {
		return f.Reason == target.TargetGroupNotFound
	})
}

// policy is the most careful of the bindings' policies.
func policy(bindings []controller.Bound) plan.Policy {
	strictest := plan.Policy{Takeover: plan.Confirmed, FailsWithin: bindings[0].Target.Check.FailsWithin()}
	for _, binding := range bindings {
		if binding.Policy.Takeover != plan.Confirmed {
			strictest.Takeover = plan.Guarded
		}
		strictest.Drain = max(strictest.Drain, binding.Policy.Drain)
	}
	return strictest
}

// remembered is what the status of the bindings remembers of the group.
func remembered(arn target.ARN, bindings []controller.Bound) target.Set {
	var ours target.Set
	for _, binding := range bindings {
		if binding.OursIn == arn.String() {
			ours = ours.Union(binding.Ours)
		}
	}
	return ours
}

func declared(bindings []controller.Bound) []kube.Binding {
	list := make([]kube.Binding, len(bindings))
	for i, binding := range bindings {
		list[i] = binding.Binding
	}
	return list
}

func ids(bindings []controller.Bound) []desired.BindingID {
	list := make([]desired.BindingID, len(bindings))
	for i, binding := range bindings {
		list[i] = binding.ID
	}
	return list
}

// until is how long it is to at; zero, which asks for nothing, if there is no at.
func until(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(time.Until(at), time.Millisecond)
}
