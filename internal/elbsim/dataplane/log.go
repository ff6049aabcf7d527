package dataplane

import (
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Outcome is how a request or a flow ended.
type Outcome string

// The outcomes of requests and flows.
const (
	// Forwarded: the target's answer was passed on, or the flow ended by itself.
	Forwarded Outcome = "forwarded"
	// NoTarget: no target is registered, as far as the node knows. 503.
	NoTarget Outcome = "no-target"
	// Refused: the target refused the connection. 502.
	Refused Outcome = "refused"
	// ConnectTimeout: the target took no connection in time. 504.
	ConnectTimeout Outcome = "connect-timeout"
	// Reset: the target ended the connection, or did not speak HTTP. 502.
	Reset Outcome = "reset"
	// ResponseTimeout: the target fell silent. 504.
	ResponseTimeout Outcome = "response-timeout"
	// IdleTimeout: nothing moved in a flow, either way.
	IdleTimeout Outcome = "idle-timeout"
	// ClientTimeout: the client stopped in the midst of its request. 408.
	ClientTimeout Outcome = "client-timeout"
	// Rejected: the request is not one that a load balancer forwards. 400, 405,
	// 414 or 463.
	Rejected Outcome = "rejected"
	// Cut: the load balancer ended it, as when the deregistration delay was over. 502.
	Cut Outcome = "cut"
	// ClientGone: the client left, a flow's by a RST. 460.
	ClientGone Outcome = "client-gone"
)

// Entry is one request, or one flow of a Network Load Balancer.
type Entry struct {
	Seq          uint64    `json:"seq"` // in the order they ended, from 1
	At           time.Time `json:"at"`  // when it came in, real time
	LoadBalancer string    `json:"loadBalancer"`
	Port         int       `json:"port"`
	Node         int       `json:"node"`                // from 0
	Client       string    `json:"client"`              // where it came from, address:port
	RequestID    string    `json:"requestId,omitempty"` // the header X-Request-Id
	Method       string    `json:"method,omitempty"`    // empty: a flow
	Path         string    `json:"path,omitempty"`
	Group        string    `json:"group,omitempty"`  // ARN
	Target       string    `json:"target,omitempty"` // address:port; empty where none was picked
	// Reused tells that the connection to the target had been used before.
	Reused bool `json:"reused,omitempty"`
	// Status is what the client was answered; 0 for flows, 460 where it had left.
	Status  int     `json:"status,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Nanoseconds is how long it took, real time.
	Nanoseconds time.Duration `json:"nanoseconds"`
}

// Failed tells whether the client got no answer, or one of a server's errors.
func (e *Entry) Failed() bool { return e.Outcome != Forwarded || e.Status >= 500 }

// News is what a node has learned of a target.
type News struct {
	At           time.Time // real time
	LoadBalancer string
	Node         int          // from 0
	Group        string       // ARN
	Target       string       // address:port
	State        target.State // empty: it is gone
}

// CountKey is what requests and flows are counted by.
type CountKey struct {
	LoadBalancer string  `json:"loadBalancer"`
	Group        string  `json:"group,omitempty"`
	Target       string  `json:"target,omitempty"`
	Status       int     `json:"status,omitempty"`
	Outcome      Outcome `json:"outcome"`
}

// accessLog keeps the latest entries up to a limit, and counts all.
type accessLog struct {
	tell func(Entry) // may be nil

	mu     sync.Mutex
	ring   []Entry // of seq s at (s-1) modulo the limit
	limit  uint64
	seq    uint64
	counts map[CountKey]uint64
	recent seconds
}

func (l *accessLog) add(e Entry) {
	l.mu.Lock()
	l.seq++
	e.Seq = l.seq
	if uint64(len(l.ring)) < l.limit {
		l.ring = append(l.ring, e)
	} else {
		l.ring[(e.Seq-1)%l.limit] = e
	}
	l.counts[CountKey{LoadBalancer: e.LoadBalancer, Group: e.Group, Target: e.Target, Status: e.Status, Outcome: e.Outcome}]++
	l.recent.add(e, time.Now())
	l.mu.Unlock()
	if l.tell != nil {
		l.tell(e)
	}
}

// failed lists the newest entries kept that did not end well, newest first, n at
// most.
func (l *accessLog) failed(n int) (entries []Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.seq - uint64(len(l.ring))
	for s := l.seq; s > oldest && len(entries) < n; s-- {
		if e := &l.ring[(s-1)%l.limit]; e.Failed() {
			entries = append(entries, *e)
		}
	}
	return entries
}

// after lists the entries kept that came after seq, oldest first.
func (l *accessLog) after(seq uint64) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries := []Entry{}
	oldest := l.seq - uint64(len(l.ring))
	for s := max(seq, oldest); s < l.seq; s++ {
		entries = append(entries, l.ring[s%l.limit])
	}
	return entries
}
