package binding

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// tagsFresh is how long the tags of an account's groups are believed at the longest,
// unless there are so many groups that reading them takes a share of the call budget.
const tagsFresh = time.Minute

// several files a binding with all groups that have its tags, and tells when to look
// again.
func (r *Reconciler) several(ctx context.Context, binding kube.Binding) time.Duration {
	account, wrong := r.account(ctx, binding)
	if wrong != nil {
		r.amiss(ctx, binding, r.known(binding), *wrong)
		if binding.Deleting && settled(wrong.reason) && len(binding.Remembered) == 0 {
			r.Board.Expect(binding.ID, []target.ARN{}, report.Condition{})
		}
		return 0
	}
	catalog := r.catalog(binding.ID, account)
	answer := catalog.Look(ctx, binding.Tags)
	again := max(time.Until(answer.Next), 0)
	switch {
	case !answer.Known:
		return again // an answer brings us back
	case answer.Read == 0:
		r.amiss(ctx, binding, nil, failed(binding, answer.Err))
		return again
	}
	s := sorting{binding: binding, account: account, answer: answer, find: catalog.Group}
	s.sort(r.Registry.Get(binding.ID), r.freed)
	before := r.decided(binding.ID)
	r.exclude(binding.ID, len(s.bounds) == 0)
	r.amiss(ctx, binding, s.groups, s.trouble())
	r.file(binding.ID, s.bounds...)
	if !before {
		r.wake(s.remembered()) // they may have held targets for it
	}
	return again
}

// failed says that the groups could not be looked for.
func failed(binding kube.Binding, err *elb.Error) problem {
	return problem{err.Kind.Reason(), fmt.Sprintf("target groups with the tags %s: %s", kube.TagsText(binding.Tags), err.Failure())}
}

// amiss tells which groups a binding means and what is amiss with the binding as a
// whole, and people once for each change of it.
func (r *Reconciler) amiss(ctx context.Context, binding kube.Binding, groups []target.ARN, wrong problem) {
	now := report.Condition{Reason: wrong.reason, Message: wrong.message}
	before := r.Board.Expect(binding.ID, groups, now)
	if wrong.reason != "" && now != before {
		r.Events.Record(ctx, binding, target.ARN{}, report.Event{Warning: true, Reason: wrong.reason, Message: wrong.message})
	}
}

// known are the groups that a binding is filed with; nil if it is not.
func (r *Reconciler) known(binding kube.Binding) []target.ARN {
	var groups []target.ARN
	for _, bound := range r.Registry.Get(binding.ID) {
		groups = append(groups, bound.Target.ARN)
	}
	return groups
}

// freed tells whether a binding that has left a group has nothing left there.
func (r *Reconciler) freed(bound controller.Bound) bool {
	notice, posted := r.Board.ReadIn(bound.ID, bound.Target.ARN)
	return bound.Left && posted && notice.Finished
}

// sorting finds out which groups a binding means and which it has left.
type sorting struct {
	binding kube.Binding
	account *elb.Account
	answer  elb.Tagged
	find    func(target.ARN) (target.Group, bool)
	// bounds are the groups to be filed, and groups those of which the status is to
	// tell, in order: of one that is not filed it is not known yet whether it exists.
	bounds []controller.Bound
	groups []target.ARN
	meant  int
}

// sort takes the groups with the tags, and those that had them: filed ones, unless they
// were freed, and ones that the status remembers.
func (s *sorting) sort(filed []controller.Bound, freed func(controller.Bound) bool) {
	s.groups = []target.ARN{}
	done := map[target.ARN]bool{}
	for _, group := range s.answer.Groups {
		if s.binding.Family != "" && s.binding.Family != group.Family || s.binding.VPC != "" && s.binding.VPC != group.VPCID {
			continue
		}
		done[group.ARN] = true
		s.meant++
		s.add(group, false)
	}
	for _, bound := range filed {
		if !done[bound.Target.ARN] && !freed(bound) {
			s.leave(bound.Target.ARN)
		}
		done[bound.Target.ARN] = true
	}
	for _, arn := range s.remembered() {
		if !done[arn] {
			s.leave(arn)
		}
	}
}

// remembered are the groups that the status tells of, in order.
func (s *sorting) remembered() []target.ARN {
	return slices.SortedFunc(maps.Keys(s.binding.Remembered), func(a, b target.ARN) int { return strings.Compare(a.String(), b.String()) })
}

// leave takes a group that does not have the tags. Before two readings agree on that
// all stays as it is, and a group that does not exist has nothing to be taken out.
func (s *sorting) leave(arn target.ARN) {
	group, exists := s.find(arn)
	switch {
	case exists:
		s.add(group, s.answer.Read > 1)
	case s.answer.Read < 2:
		s.groups = append(s.groups, arn)
	}
}

func (s *sorting) add(group target.Group, left bool) {
	binding := s.binding.In(group.ARN)
	binding.Left = left
	s.groups = append(s.groups, group.ARN)
	s.bounds = append(s.bounds, controller.Bound{Binding: binding, Target: group, Account: s.account})
}

// trouble is what is amiss with the binding as a whole; zero if nothing is.
func (s *sorting) trouble() problem {
	switch {
	case s.answer.Err != nil:
		wrong := failed(s.binding, s.answer.Err)
		wrong.message += "; those known before stay"
		return wrong
	case s.meant == 0 && !s.binding.Deleting:
		return problem{target.TargetGroupNotFound, fmt.Sprintf(
			"no target group of type ip has the tags %s%s: tag the groups that are to get the pods, or make a binding with other tags",
			kube.TagsText(s.binding.Tags), s.narrowed())}
	}
	return problem{}
}

// narrowed names what else the groups must be.
func (s *sorting) narrowed() string {
	text := ""
	if s.binding.Family != "" {
		text += fmt.Sprintf(" and the ipAddressType %s", s.binding.Family)
	}
	if s.binding.VPC != "" {
		text += fmt.Sprintf(" and the vpcID %s", s.binding.VPC)
	}
	return text
}

// catalog gives the Catalog of an account, and makes what is read there come back to
// the binding.
func (r *Reconciler) catalog(id desired.BindingID, account *elb.Account) *elb.Catalog {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.catalogs == nil {
		r.catalogs, r.tagged = map[*elb.Account]*elb.Catalog{}, map[desired.BindingID]*elb.Catalog{}
	}
	if r.catalogs[account] == nil {
		var made *elb.Catalog
		made = elb.NewCatalog(account, min(r.Fresh, tagsFresh), func() { r.readAgain(made) })
		r.catalogs[account] = made
	}
	r.tagged[id] = r.catalogs[account]
	return r.catalogs[account]
}

// readAgain brings the bindings back whose groups are in a Catalog.
func (r *Reconciler) readAgain(catalog *elb.Catalog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, in := range r.tagged {
		if in == catalog {
			r.queue.Add(id)
		}
	}
}

// Freed brings a binding back that has nothing left in a group which it has left.
func (r *Reconciler) Freed(id desired.BindingID) { r.queue.Add(id) }
