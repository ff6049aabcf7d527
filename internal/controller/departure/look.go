package departure

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// look asks all groups of the pod's namespace how the pod stands in them, takes that
// in, and tells what there is to say.
func (r *Reconciler) look(ctx context.Context, l *leaver) ([]report.Departure, error) {
	services := r.Cluster.ServicesOf(ctx, client.ObjectKeyFromObject(l.pod))
	var departures []report.Departure
	filed, asked := map[desired.BindingID]bool{}, map[place]bool{}
	for _, bound := range r.Registry.In(l.pod.Namespace) {
		filed[bound.ID], asked[place{bound.ID, bound.Target.ARN}] = true, true
		departures = append(departures, r.ask(l, bound, bound.Chooses(l.pod, services))...)
	}
	var list v1beta1.TargetGroupBindingList
	if err := r.Client.List(ctx, &list, client.InNamespace(l.pod.Namespace)); err != nil {
		return nil, fmt.Errorf("list the bindings of namespace %s: %w", l.pod.Namespace, err)
	}
	for i := range list.Items {
		binding, err := kube.BindingOf(&list.Items[i])
		if err != nil {
			continue // it never had a group
		}
		if !filed[binding.ID] {
			asked[place{binding: binding.ID}] = true
			departures = append(departures, r.unfiled(l, binding, binding.Chooses(l.pod, services))...)
		}
	}
	departures = append(departures, l.vanished(asked)...)
	l.sum()
	return departures, nil
}

// vanished takes in that there are places no more where the pod was looked for before: a
// group has the tags of its binding no longer, or does not exist, or the binding is gone
// with all its targets.
func (l *leaver) vanished(asked map[place]bool) []report.Departure {
	var departures []report.Departure
	for at, s := range l.groups {
		if !asked[at] {
			departures = append(departures, l.letGo(at, s, s.held, time.Now())...)
		}
	}
	return departures
}

// sum notes when the last group had let go.
func (l *leaver) sum() {
	var last time.Time
	for _, s := range l.groups {
		if s.open {
			return
		}
		if s.accepted.After(last) {
			last = s.accepted
		}
	}
	l.accepted = last
}

// ask asks the group of a binding. Listed tells that the pod is among the endpoints of
// the binding.
func (r *Reconciler) ask(l *leaver, bound controller.Bound, listed bool) []report.Departure {
	found, held := r.Standing(bound.Target.ARN, l.facts.Pod, l.facts.Addrs)
	at := place{bound.ID, bound.Target.ARN}
	before, known := l.groups[at]
	if unfiled := (place{binding: bound.ID}); !known {
		before = l.groups[unfiled]
		delete(l.groups, unfiled)
	}
	before.group = bound.Target.ARN.Name
	had := before.held || bound.OursIn == bound.Target.ARN.String() && l.among(bound.Ours)
	switch {
	case !found.Known && found.Failure != nil && found.Failure.Reason == target.TargetGroupNotFound:
		return l.letGo(at, before, had, time.Now())
	case !found.Known && (listed || had), found.Registered:
		return l.registered(at, before, held, found)
	case !found.Known:
		return nil
	case !found.Left.IsZero():
		return l.letGo(at, before, found.Left.Add(l.facts.Hold).After(l.since), found.Left)
	}
	return l.letGo(at, before, before.held, time.Now())
}

// unfiled is about a binding of which no group is known, for good or not yet.
func (r *Reconciler) unfiled(l *leaver, binding kube.Binding, listed bool) []report.Departure {
	at := place{binding: binding.ID}
	before := l.groups[at]
	if before.group == "" {
		before.group = binding.Means()
	}
	had := before.held || l.among(binding.Ours)
	if r.Groupless(binding.ID) {
		return l.letGo(at, before, had, time.Now())
	}
	if !listed && !had {
		return nil
	}
	notice, _ := r.Board.Read(binding.ID)
	departures := l.registered(at, before, notice.Report.Ready.Reason, elb.Standing{})
	if departures[0].Registered {
		departures[0].Message = notice.Report.Ready.Message
	}
	return departures
}

// among tells whether one of the pod's targets is among those that a status remembers.
func (l *leaver) among(ours target.Set) bool {
	return slices.ContainsFunc(ours.Keys(), func(key target.Key) bool { return slices.Contains(l.facts.Addrs, key.Addr) })
}

// registered takes in that a group holds the pod, or may hold it. A group that has let
// go does not take it again: who has the address now is another pod.
func (l *leaver) registered(at place, s standing, held target.Reason, found elb.Standing) []report.Departure {
	if !s.accepted.IsZero() {
		return l.letGo(at, s, true, s.accepted)
	}
	s.open, s.held = true, s.held || found.Registered
	l.groups[at] = s
	d := report.Departure{Group: s.group, Registered: true, Reason: held}
	if found.Failure != nil {
		d.Reason, d.Message = found.Failure.Reason, found.Failure.String()
	}
	return []report.Departure{d}
}

// letGo takes in that a group does not hold the pod. If it had it, it let go at a time;
// of several moments at which that was known, the first stands.
func (l *leaver) letGo(in place, s standing, had bool, at time.Time) []report.Departure {
	if s.accepted.IsZero() && !had {
		delete(l.groups, in)
		return nil
	}
	if s.accepted.IsZero() {
		s.accepted = at
	}
	s.open = false
	l.groups[in] = s
	return []report.Departure{{Group: s.group, After: s.accepted.Sub(l.since)}}
}
