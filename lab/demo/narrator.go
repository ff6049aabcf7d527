package demo

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Things are seen by several watchers, each with a delay of its own. They are
// held back for lag, so that they can be told in the order in which they happened.
const (
	lag = 150 * time.Millisecond
	// head is how much later than the simulator the watchers of Kubernetes may
	// learn of something: causes are told before their effects.
	head = 5 * time.Millisecond
	// settle is how long after something has come about it has been told for certain.
	settle = 2 * lag
)

// narrator tells the story while it goes on. Its methods are safe for concurrent use.
type narrator struct {
	mu       sync.Mutex
	terminal terminal
	story    *story
	pending  []happening
	lines    []line // the latest
}

// keptLines is how many lines the page can show.
const keptLines = 300

func newNarrator(t terminal, s *story) *narrator { return &narrator{terminal: t, story: s} }

// run prints what happens until ctx ends.
func (n *narrator) run(ctx context.Context) {
	for rest(ctx, 25*time.Millisecond) {
		n.mu.Lock()
		n.tell(time.Now().Add(-lag))
		n.story.sample(time.Now())
		n.mu.Unlock()
	}
}

// add takes something that was seen.
func (n *narrator) add(h happening) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending = append(n.pending, h)
}

// tell prints what happened up to a moment. n.mu is held.
func (n *narrator) tell(until time.Time) {
	slices.SortStableFunc(n.pending, func(a, b happening) int { return order(a).Compare(order(b)) })
	for len(n.pending) > 0 && !order(n.pending[0]).After(until) {
		for _, l := range n.pending[0].tell(n.story) {
			n.terminal.line(l)
			n.lines = append(n.lines, l)
		}
		n.pending = n.pending[1:]
	}
	n.lines = n.lines[max(0, len(n.lines)-keptLines):]
}

// order is the moment by which things are put in order.
func order(h happening) time.Time {
	switch h.(type) {
	case podSeen, podGone:
		return h.when().Add(-head)
	}
	return h.when()
}

// table prints pods and targets side by side, and what the act took.
func (n *narrator) table() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	n.tell(now)
	n.terminal.say("")
	n.terminal.table(n.story.rows(now))
	n.terminal.say("    %s", n.story.summary())
}

func (n *narrator) heading(name, narration string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell(time.Now())
	n.story.beginAct(name, narration)
	n.terminal.heading(name, narration)
}

func (n *narrator) say(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.terminal.say(format, args...)
}
