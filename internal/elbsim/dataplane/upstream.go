package dataplane

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// upstream is one target of one group as one node sees it, with its connections.
type upstream struct {
	group       string // ARN
	key         target.Key
	outstanding int // requests and flows under way; guarded by the node's mu

	mu    sync.Mutex
	idle  []*conn // the latest used last
	conns map[*conn]struct{}
	cuts  int // how often all connections were cut

	// closeLag is how long after the target closed an idle connection the node
	// still takes it for open.
	closeLag time.Duration
}

// ending is how the load balancer ended a connection.
type ending int

const (
	running   ending = iota // it did not
	cutOff                  // it closed both ends
	forgotten               // it tells the client only when that sends something
)

// conn is a connection to a target.
type conn struct {
	net.Conn
	reader *bufio.Reader
	writer *bufio.Writer
	limit  time.Duration // after which silence in both directions ends it
	allow  int           // bytes that may still be read; negative: any number
	reused bool
	idling bool          // nothing runs on it: reading must not move the deadline
	ending ending        // guarded by the upstream's mu
	seen   chan struct{} // closed when watch is done
}

// errTooMuch says that a target sent more than it may.
var errTooMuch = errors.New("the head of the answer is too large")

// longAgo is a deadline that makes a blocked read return at once.
var longAgo = time.Unix(1, 0)

// Read counts as a sign of life.
func (c *conn) Read(p []byte) (int, error) {
	if !c.idling {
		if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
			return 0, err
		}
	}
	if c.allow == 0 {
		return 0, errTooMuch
	}
	if c.allow > 0 {
		p = p[:min(len(p), c.allow)]
	}
	n, err := c.Conn.Read(p)
	if c.allow > 0 {
		c.allow -= n
	}
	return n, err
}

// Write counts as a sign of life in both directions.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// take gives a connection that waits to be used again, or nil. One of which the
// node knows that the target closed it is not among them; one that was closed just
// now is.
func (u *upstream) take() *conn {
	for {
		u.mu.Lock()
		if len(u.idle) == 0 {
			u.mu.Unlock()
			return nil
		}
		last := len(u.idle) - 1
		c := u.idle[last]
		u.idle = u.idle[:last]
		u.mu.Unlock()
		_ = c.SetReadDeadline(longAgo) // fails only where watch ends anyway
		<-c.seen
		c.idling = false
		if c.reader.Buffered() == 0 {
			c.reused = true
			return c
		}
		u.drop(c) // it says something that nobody asked for
	}
}

// put keeps a connection for the next request.
func (u *upstream) put(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, held := u.conns[c]; !held {
		return
	}
	// The deadline is set here and not by watch, where it might come after take's.
	if c.SetReadDeadline(time.Now().Add(c.limit)) != nil {
		delete(u.conns, c)
		c.Close()
		return
	}
	c.seen, c.idling = make(chan struct{}), true
	u.idle = append(u.idle, c)
	go u.watch(c)
}

// watch waits for an idle connection to be closed by the target, to be idle for
// too long, or to be taken.
func (u *upstream) watch(c *conn) {
	defer close(c.seen)
	_, err := c.reader.Peek(1)
	if timedOut(err) {
		u.discard(c)
		return
	}
	time.AfterFunc(u.closeLag, func() { u.discard(c) })
}

// discard closes a connection if it is still idle.
func (u *upstream) discard(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i := slices.Index(u.idle, c); i >= 0 {
		u.idle = slices.Delete(u.idle, i, i+1)
		delete(u.conns, c)
		c.Close()
	}
}

// hold makes a new connection one of u's, unless all were cut since.
func (u *upstream) hold(c *conn, cuts int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cuts != cuts {
		return false
	}
	u.conns[c] = struct{}{}
	return true
}

func (u *upstream) cutsSoFar() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cuts
}

// drop closes a connection for good.
func (u *upstream) drop(c *conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, c)
	c.Close()
}

// ended tells how the load balancer ended a connection.
func (u *upstream) ended(c *conn) ending {
	u.mu.Lock()
	defer u.mu.Unlock()
	return c.ending
}

// closeIdle closes the connections that nothing runs on.
func (u *upstream) closeIdle() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.idle {
		delete(u.conns, c)
		c.Close()
	}
	u.idle = nil
}

// cutAll closes all connections, whatever runs on them.
func (u *upstream) cutAll(how ending) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cuts++
	for c := range u.conns {
		c.ending = how
		c.Close()
	}
	clear(u.conns)
	u.idle = nil
}

// dialer opens connections to targets.
type dialer struct {
	dial    func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	connect time.Duration // how long it may take, real time
	idle    time.Duration // real time
}

// open makes a new connection to u's target. It does not outlive ctx, unless it
// was made. One that was cut off meanwhile comes with an error.
func (d dialer) open(ctx context.Context, u *upstream, overTLS bool) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.connect)
	defer cancel()
	cuts := u.cutsSoFar()
	plain, err := d.dial(ctx, netip.AddrPortFrom(u.key.Addr, u.key.Port))
	if err != nil {
		return nil, err
	}
	if overTLS {
		secure := tls.Client(plain, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // as ELBv2 does
		if err := secure.HandshakeContext(ctx); err != nil {
			plain.Close()
			return nil, err
		}
		plain = secure
	}
	c := &conn{Conn: plain, limit: d.idle, allow: -1}
	c.reader, c.writer = bufio.NewReader(c), bufio.NewWriter(c)
	if !u.hold(c, cuts) {
		c.Close()
		return c, net.ErrClosed
	}
	return c, nil
}
