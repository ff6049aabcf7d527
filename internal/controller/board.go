package controller

import (
	"reflect"
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
	// Finished: the binding is being deleted, and nothing of it is left in the group.
	Finished bool
}

// Board holds the latest word on each binding until the status controller has
// written it. It is safe for concurrent use.
type Board struct {
	// Changed wakes the status controller.
	Changed Queue[desired.BindingID]

	mu         sync.Mutex
	notices    map[desired.BindingID]Notice
	injections map[desired.BindingID]kube.Injection
}

// NewBoard makes an empty Board.
func NewBoard() *Board {
	return &Board{notices: map[desired.BindingID]Notice{}, injections: map[desired.BindingID]kube.Injection{}}
}

// Post replaces a binding's notice and returns the one before.
func (b *Board) Post(notice Notice) Notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := notice.Report.ID
	previous := b.notices[id]
	b.notices[id] = notice
	b.Changed.Add(id)
	return previous
}

// Read gives a binding's notice, and false if there is none.
func (b *Board) Read(id desired.BindingID) (Notice, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	notice, posted := b.notices[id]
	return notice, posted
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
	delete(b.injections, id)
}
