package controller

import (
	"reflect"
	"slices"
	"sync"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Notice is the latest word on a binding.
type Notice struct {
	Report report.Binding
	// Group is the binding's group, zero until it was found.
	Group target.Group
	// Finished: the binding is being deleted, or no longer means the group, and
	// nothing of it is left there.
	Finished bool
	// Several: the binding names its groups by tags. Then Report is on all of them, and
	// Groups has the report on each, in order; nil until they are known. Group is zero.
	Several bool
	Groups  []kube.GroupReport
}

// Board holds the latest word on each binding until the status controller has
// written it. It is safe for concurrent use.
type Board struct {
	// Changed wakes the status controller.
	Changed Queue[desired.BindingID]

	mu         sync.Mutex
	notices    map[desired.BindingID]map[target.ARN]Notice
	several    map[desired.BindingID]expected
	injections map[desired.BindingID]kube.Injection
}

// expected is what is known of a binding that names its groups by tags.
type expected struct {
	groups  []target.ARN
	trouble report.Condition
}

// NewBoard makes an empty Board.
func NewBoard() *Board {
	return &Board{
		notices: map[desired.BindingID]map[target.ARN]Notice{}, several: map[desired.BindingID]expected{},
		injections: map[desired.BindingID]kube.Injection{},
	}
}

// Post replaces a binding's notice about a group and returns the one before. Unless
// Expect told that the binding means several groups, it replaces whatever notice
// there is of the binding.
func (b *Board) Post(notice Notice) Notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, group := notice.Report.ID, notice.Group.ARN
	previous := b.notices[id][group]
	if _, several := b.several[id]; !several {
		for _, only := range b.notices[id] {
			previous = only
		}
		delete(b.notices, id)
	}
	if b.notices[id] == nil {
		b.notices[id] = map[target.ARN]Notice{}
	}
	b.notices[id][group] = notice
	b.Changed.Add(id)
	return previous
}

// Expect tells which groups a binding means that names them by tags; nil while that is
// not known. Notices on others are taken down. Trouble is what is amiss with the
// binding as a whole; zero if nothing is. It returns the trouble told before.
func (b *Board) Expect(id desired.BindingID, groups []target.ARN, trouble report.Condition) report.Condition {
	b.mu.Lock()
	defer b.mu.Unlock()
	before, known := b.several[id]
	now := expected{groups, trouble}
	if known && reflect.DeepEqual(before, now) {
		return before.trouble
	}
	b.several[id] = now
	for group := range b.notices[id] {
		if !slices.Contains(groups, group) {
			delete(b.notices[id], group)
		}
	}
	b.Changed.Add(id)
	return before.trouble
}

// Read gives a binding's notice, and false if there is none.
func (b *Board) Read(id desired.BindingID) (Notice, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if expected, several := b.several[id]; several {
		return b.merged(id, expected), true
	}
	for _, only := range b.notices[id] {
		return only, true
	}
	return Notice{}, false
}

// ReadIn gives a binding's notice about one of its groups, and false if there is none.
func (b *Board) ReadIn(id desired.BindingID, group target.ARN) (Notice, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, several := b.several[id]; !several {
		for _, only := range b.notices[id] {
			return only, true
		}
	}
	notice, posted := b.notices[id][group]
	return notice, posted
}

// merged is the notice about all groups of a binding. One of which there is none yet
// is being listed.
func (b *Board) merged(id desired.BindingID, expected expected) Notice {
	merged := Notice{Several: true, Finished: expected.groups != nil}
	if expected.groups != nil {
		merged.Groups = []kube.GroupReport{}
	}
	var parts []report.Part
	for _, group := range expected.groups {
		notice, posted := b.notices[id][group]
		if !posted {
			notice.Report.Ready = report.Condition{Reason: target.Syncing, Message: "the target group is being listed"}
		}
		merged.Finished = merged.Finished && notice.Finished
		merged.Groups = append(merged.Groups, kube.GroupReport{Group: group, Report: notice.Report})
		parts = append(parts, report.Part{Group: group, Binding: notice.Report})
	}
	merged.Report = report.Merge(parts, expected.trouble)
	merged.Report.ID = id
	return merged
}

// PostInjection replaces what is known of the pods that a binding changes. What was
// posted before wakes nobody.
func (b *Board) PostInjection(id desired.BindingID, injection kube.Injection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	previous, posted := b.injections[id]
	if posted && reflect.DeepEqual(previous, injection) {
		return
	}
	b.injections[id] = injection
	b.Changed.Add(id)
}

// Injection gives what is known of the pods that a binding changes; nil if nothing
// was posted.
func (b *Board) Injection(id desired.BindingID) *kube.Injection {
	b.mu.Lock()
	defer b.mu.Unlock()
	if injection, posted := b.injections[id]; posted {
		return &injection
	}
	return nil
}

// Remove takes down all that is posted of a binding.
func (b *Board) Remove(id desired.BindingID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.notices, id)
	delete(b.several, id)
	delete(b.injections, id)
}
