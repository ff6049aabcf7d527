package group

import (
	"net/netip"
	"slices"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// tellLeaving names the pods that leave, or of which a target was just deregistered.
func (r *Reconciler) tellLeaving(round elb.Round) {
	for _, candidate := range round.Plan.Wanted.Candidates {
		if candidate.Reason == target.PodTerminating && candidate.Pod.UID != "" {
			r.Leaving(candidate.Pod)
		}
	}
	for _, change := range round.Outcome.Deregistered {
		if change.Pod.UID != "" {
			r.Leaving(change.Pod)
		}
	}
}

// Standing tells how the targets of a pod with these addresses stand in a group, and
// which guard holds one of them, if one does. They are found by address rather than
// among the endpoints of a Service, for a pod may have been taken out of that just
// before its end. Where pods share an address, as on the network of a node, a target
// that is known to be another's is not counted.
func (r *Reconciler) Standing(group target.ARN, pod desired.PodRef, addrs []netip.Addr) (elb.Standing, target.Reason) {
	r.mu.Lock()
	s := r.syncers[group]
	var last plan.Plan
	if s != nil {
		last = s.last
	}
	r.mu.Unlock()
	if s == nil {
		return elb.Standing{}, ""
	}
	matches := func(key target.Key) bool {
		if !slices.Contains(addrs, key.Addr) {
			return false
		}
		i, known := slices.BinarySearchFunc(last.Wanted.Candidates, key, func(c desired.Candidate, key target.Key) int {
			return c.Key.Compare(key)
		})
		return !known || last.Wanted.Candidates[i].Pod.UID == pod.UID || last.Wanted.Candidates[i].Pod.UID == ""
	}
	var held target.Reason
	for _, change := range last.Held {
		if matches(change.Key) {
			held = change.Reason
		}
	}
	return s.Syncer.Standing(matches), held
}
