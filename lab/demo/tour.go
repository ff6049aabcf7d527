package demo

import (
	"context"
	"sync"
)

// tour is whether the acts follow one another by themselves. A person who does
// something to the world stops it, and may let it go on.
type tour struct {
	mu      sync.Mutex
	paused  bool
	resumed chan struct{} // closed when it goes on
}

func newTour() *tour { return &tour{resumed: make(chan struct{})} }

func (t *tour) pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.paused {
		t.paused, t.resumed = true, make(chan struct{})
	}
}

func (t *tour) resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paused {
		t.paused = false
		close(t.resumed)
	}
}

func (t *tour) isPaused() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.paused
}

// await returns once the tour goes on; false if ctx ends before.
func (t *tour) await(ctx context.Context) bool {
	t.mu.Lock()
	paused, resumed := t.paused, t.resumed
	t.mu.Unlock()
	if !paused {
		return ctx.Err() == nil
	}
	select {
	case <-resumed:
		return true
	case <-ctx.Done():
		return false
	}
}
