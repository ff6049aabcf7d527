package controller

import (
	"sync"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
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

// Board holds the latest notice of each binding until the status controller has
// written it. It is safe for concurrent use.
type Board struct {
	// Changed wakes the status controller.
	Changed Queue[desired.BindingID]

	mu      sync.Mutex
	notices map[desired.BindingID]Notice
}

// NewBoard makes an empty Board.
func NewBoard() *Board { return &Board{notices: map[desired.BindingID]Notice{}} }

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

// Remove takes a binding's notice down.
func (b *Board) Remove(id desired.BindingID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.notices, id)
}
