package dataplane

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// door is one listener on one node.
type door struct {
	plane    *Plane
	balancer *balancer
	node     *node
	dnsName  string
	port     int // in AWS
	listener net.Listener
	groups   atomic.Pointer[[]string] // ARNs
	turn     atomic.Uint64

	ctx     context.Context // of all that runs here
	cancel  context.CancelFunc
	server  *http.Server // of an Application Load Balancer
	serving sync.WaitGroup
	under   sync.WaitGroup // flows and requests of this door

	mu     sync.Mutex
	closed bool
	flows  map[net.Conn]struct{}
}

// open accepts connections until close.
func (d *door) open() {
	d.flows = map[net.Conn]struct{}{}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	if d.node.kind == model.Network {
		d.serving.Go(d.acceptFlows)
		return
	}
	d.server = &http.Server{
		Handler:           http.HandlerFunc(d.serveRequest),
		BaseContext:       func(net.Listener) context.Context { return d.ctx },
		ConnContext:       d.rememberConnected,
		MaxHeaderBytes:    2 * maxRequestHead, // what is larger than AWS takes is answered as AWS does
		ReadHeaderTimeout: d.dialer().idle,
		IdleTimeout:       d.dialer().idle,
		ErrorLog:          log.New(io.Discard, "", 0), // the access log tells more
	}
	d.serving.Go(func() { _ = d.server.Serve(d.listener) }) // ends with ErrServerClosed
}

// close stops accepting, cuts off what runs, and waits for its end.
func (d *door) close() {
	d.mu.Lock()
	d.closed = true
	for client := range d.flows {
		client.Close()
	}
	d.mu.Unlock()
	d.cancel()
	if d.server != nil {
		_ = d.server.Close() // the listener's error, which is of no use now
	}
	d.listener.Close()
	d.serving.Wait()
	d.under.Wait()
}

// begin counts a request or flow in, unless the door is closed.
func (d *door) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.under.Add(1)
	return true
}

// group is where the next request or flow goes: to the groups by turns, since the
// simulator knows no weights.
func (d *door) group() string {
	groups := *d.groups.Load()
	if len(groups) == 0 {
		return ""
	}
	return groups[d.turn.Add(1)%uint64(len(groups))]
}

func (d *door) dialer() dialer {
	idle := d.plane.options.ALBIdle
	if d.node.kind == model.Network {
		idle = d.plane.options.NLBIdle
	}
	return dialer{
		dial:    d.plane.options.Dial,
		connect: d.plane.clock.Timeout(d.plane.options.ConnectTimeout),
		idle:    d.plane.clock.Timeout(idle),
	}
}

// entry begins the entry of something that came in now.
func (d *door) entry() Entry {
	return Entry{At: time.Now(), LoadBalancer: d.node.balancer, Port: d.port, Node: d.node.index, Outcome: Forwarded}
}

// record puts an entry into the log.
func (d *door) record(e *Entry) {
	e.Nanoseconds = time.Since(e.At)
	d.plane.log.add(*e)
}

// connect gives a connection to u: one that waits to be used again, else a new one.
func (d *door) connect(ctx context.Context, u *upstream, group Group) (*conn, error) {
	if d.node.kind == model.Application {
		if c := u.take(); c != nil {
			return c, nil
		}
	}
	return d.dialer().open(ctx, u, group.overTLS())
}
