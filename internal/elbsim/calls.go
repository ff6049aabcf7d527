package elbsim

import (
	"context"
	"sync"
	"time"
)

// Call is one call in the log.
type Call struct {
	// Seq numbers calls in the order they came in, from 1.
	Seq uint64 `json:"seq"`
	// Change numbers what happens to the log. It grows when a call comes in and
	// again when it is answered.
	Change uint64 `json:"change"`

	Received time.Time `json:"received"`
	// Answered is zero while the call is in flight.
	Answered time.Time `json:"answered,omitzero"`

	Action  string   `json:"action"`
	Account string   `json:"account"`
	Region  string   `json:"region"`
	Group   string   `json:"group,omitempty"`   // ARN, or as the call named it
	Targets []string `json:"targets,omitempty"` // address:port, or address alone

	UserAgent string `json:"userAgent,omitempty"`
	Attempt   string `json:"attempt,omitempty"` // the Amz-Sdk-Request header
	RequestID string `json:"requestId"`

	// Code is OK, AWS's error code, or NoReply where the client got none; empty
	// while the call is in flight.
	Code string `json:"code"`
	// Applied tells whether the call had its effect, with or without a reply.
	Applied bool `json:"applied"`
	// Ignored are parameters that were sent and make no difference to the
	// simulator.
	Ignored []string `json:"ignored,omitempty"`
	// Fault is the kind of scripted fault that struck the call.
	Fault FaultKind `json:"fault,omitempty"`
}

// The codes of calls that did not end with an error of AWS.
const (
	CodeOK      = "OK"
	CodeNoReply = "NoReply"
)

// callLog keeps the latest calls, up to a limit.
type callLog struct {
	mu      sync.Mutex
	ring    []Call // of seq s at s modulo the limit
	limit   int
	first   uint64 // the oldest seq still kept
	seq     uint64
	change  uint64
	changed chan struct{} // closed at the next change
}

func newCallLog(limit int) *callLog {
	return &callLog{limit: limit, first: 1, changed: make(chan struct{})}
}

func (l *callLog) begin(call Call) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	call.Seq = l.seq
	call.Change = l.bump()
	slot := int(l.seq % uint64(l.limit))
	for len(l.ring) <= slot {
		l.ring = append(l.ring, Call{})
	}
	l.ring[slot] = call
	if l.seq-l.first >= uint64(l.limit) {
		l.first = l.seq - uint64(l.limit) + 1
	}
	return l.seq
}

// end completes a call, unless it has left the log meanwhile.
func (l *callLog) end(seq uint64, complete func(*Call)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < l.first {
		return
	}
	call := &l.ring[int(seq%uint64(l.limit))]
	complete(call)
	call.Change = l.bump()
}

func (l *callLog) bump() uint64 {
	l.change++
	close(l.changed)
	l.changed = make(chan struct{})
	return l.change
}

// after lists the calls that changed since change number mark, oldest first, the
// number of the latest change, and a channel closed at the next.
func (l *callLog) after(mark uint64) (calls []Call, latest uint64, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq := l.first; seq <= l.seq; seq++ {
		if call := l.ring[int(seq%uint64(l.limit))]; call.Change > mark {
			calls = append(calls, call)
		}
	}
	return calls, l.change, l.changed
}

// latest lists the newest calls that are wanted, newest first, n at most.
func (l *callLog) latest(n int, wanted func(*Call) bool) (calls []Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq := l.seq; seq >= l.first && len(calls) < n; seq-- {
		if call := &l.ring[int(seq%uint64(l.limit))]; wanted(call) {
			calls = append(calls, *call)
		}
	}
	return calls
}

// size is how many calls are kept.
func (l *callLog) size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq + 1 - l.first
}

// await is after, but waits for a change if there was none, until ctx ends.
func (l *callLog) await(ctx context.Context, mark uint64) (calls []Call, latest uint64) {
	for {
		calls, latest, changed := l.after(mark)
		if len(calls) > 0 {
			return calls, latest
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, latest
		}
	}
}

// clear forgets all calls. Numbers go on.
func (l *callLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = l.seq + 1
	clear(l.ring)
}
