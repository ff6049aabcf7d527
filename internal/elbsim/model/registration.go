package model

import (
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// RegisterTargets adds targets to a group. Those registered already stay as they
// are. Fails with TargetGroupNotFound, InvalidTarget, ValidationError or
// TooManyTargets.
func (w *World) RegisterTargets(now time.Time, groupARN string, refs []TargetRef) error {
	w.advance(now)
	g, err := w.called(groupARN, refs)
	if err != nil {
		return err
	}
	good, refusal := w.acceptable(g, refs)
	if refusal != nil && w.config.BadTarget != BadTargetFailsAlone {
		return refusal
	}
	if err := w.fits(g, good); err != nil {
		return err
	}
	for _, t := range good {
		w.register(g, t)
	}
	return refusal
}

// called finds the group of a register or deregister call and checks its size.
func (w *World) called(groupARN string, refs []TargetRef) (*group, error) {
	g, err := w.group(groupARN)
	if err != nil {
		return nil, err
	}
	if len(refs) == 0 {
		return nil, invalid("A list of targets must be specified")
	}
	if limit := w.config.Quotas.TargetsPerCall; limit > 0 && len(refs) > limit {
		return nil, invalid("A call cannot carry more than '%d' targets", limit)
	}
	return g, nil
}

// acceptable separates the good targets from the first refusal, nil if none.
func (w *World) acceptable(g *group, refs []TargetRef) (good []target.Target, refusal error) {
	for _, ref := range refs {
		t, err := w.place(g, ref)
		if err == nil {
			err = w.mayRegister(g, t)
		}
		if err == nil {
			good = append(good, t)
		} else if refusal == nil {
			refusal = err
		}
	}
	return good, refusal
}

func (w *World) mayRegister(g *group, t target.Target) error {
	r, known := g.targets[t.Key]
	if known && r.health.State.Leaving() && w.config.Reregister == ReregisterRefused {
		return refuse("InvalidTarget", "The target '%s' is deregistering and cannot be registered until that is done", t.Key)
	}
	return nil
}

func (w *World) register(g *group, t target.Target) {
	r, known := g.targets[t.Key]
	if known && r.registered() {
		return
	}
	if !known {
		r = &record{group: g, target: t}
		g.targets[t.Key] = r
	}
	r.target = t
	w.admit(r, w.now)
}

// fits checks the quotas of the group and of each load balancer that uses it.
// Draining targets do not count.
func (w *World) fits(g *group, wanted []target.Target) error {
	added := 0
	keys := make([]target.Key, 0, len(wanted))
	for _, t := range wanted {
		keys = append(keys, t.Key)
	}
	for _, key := range target.SetOf(keys...).Keys() {
		if r, known := g.targets[key]; !known || !r.registered() {
			added++
		}
	}
	if added == 0 {
		return nil
	}
	if limit := w.config.Quotas.TargetsPerGroup; limit > 0 && g.registered()+added > limit {
		return refuse("TooManyTargets", "The maximum number of targets per target group '%d' has been reached on target group '%s'", limit, g.arn)
	}
	return w.balancersTake(g, added)
}

func (w *World) balancersTake(g *group, added int) error {
	for _, arn := range g.users {
		limit, total := w.targetQuota(w.balancers[arn]), added
		for _, other := range w.groupList {
			if slices.Contains(other.users, arn) {
				total += other.registered()
			}
		}
		if limit > 0 && total > limit {
			return refuse("TooManyTargets", "The maximum number of targets per load balancer '%d' has been reached on load balancer '%s'", limit, arn)
		}
	}
	return nil
}

func (w *World) targetQuota(b *balancer) int {
	if b.Type == Network {
		return w.config.Quotas.TargetsPerNLB
	}
	return w.config.Quotas.TargetsPerALB
}

// DeregisterTargets takes targets out of a group. Those that are not registered
// under the port given, or under the group's port if none is, are passed over.
// Fails with TargetGroupNotFound or ValidationError.
func (w *World) DeregisterTargets(now time.Time, groupARN string, refs []TargetRef) error {
	w.advance(now)
	g, err := w.called(groupARN, refs)
	if err != nil {
		return err
	}
	keys, err := g.keys(refs)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if r, known := g.targets[key]; known && r.registered() {
			w.release(r, w.now)
		}
	}
	return nil
}

func (g *group) keys(refs []TargetRef) ([]target.Key, error) {
	keys := make([]target.Key, 0, len(refs))
	for _, ref := range refs {
		key, err := g.key(ref)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// TargetHealth lists the targets of a group in the order of their keys, those
// that drain included. With refs it answers about these only, in their order; one
// that is not registered is unused with reason Target.NotRegistered. Fails with
// TargetGroupNotFound or ValidationError.
func (w *World) TargetHealth(now time.Time, groupARN string, refs []TargetRef) ([]target.Observed, error) {
	w.advance(now)
	g, err := w.group(groupARN)
	if err != nil {
		return nil, err
	}
	if len(refs) == 0 {
		return w.allHealth(g), nil
	}
	keys, err := g.keys(refs)
	if err != nil {
		return nil, err
	}
	observed := make([]target.Observed, 0, len(keys))
	for _, key := range keys {
		observed = append(observed, w.healthOf(g, key))
	}
	return observed, nil
}

// TargetView is a target with what AWS does not tell about it.
type TargetView struct {
	target.Observed
	// Since is when the target came into its present state, or into what answers
	// show as that where they lag.
	Since time.Time
	// Forced tells that Override decides about the health, and not the checks.
	Forced bool
}

// Targets lists the targets of a group as TargetHealth does, and tells more of
// each. Fails with TargetGroupNotFound.
func (w *World) Targets(now time.Time, groupARN string) ([]TargetView, error) {
	w.advance(now)
	g, err := w.group(groupARN)
	if err != nil {
		return nil, err
	}
	views := make([]TargetView, 0, len(g.targets))
	for _, o := range w.allHealth(g) {
		r := g.targets[o.Key]
		views = append(views, TargetView{Observed: o, Since: w.shown(r).since, Forced: r.forced})
	}
	return views, nil
}

func (w *World) allHealth(g *group) []target.Observed {
	observed := make([]target.Observed, 0, len(g.targets))
	for _, r := range g.targets {
		if health := w.seen(r); health != gone {
			observed = append(observed, target.Observed{Target: r.target, Health: health})
		}
	}
	slices.SortFunc(observed, func(a, b target.Observed) int { return a.Key.Compare(b.Key) })
	return observed
}

func (w *World) healthOf(g *group, key target.Key) target.Observed {
	if r, known := g.targets[key]; known {
		if health := w.seen(r); health != gone {
			return target.Observed{Target: r.target, Health: health}
		}
	}
	return target.Observed{Target: target.Target{Key: key}, Health: notRegistered}
}
