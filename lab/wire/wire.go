// Package wire is the network of one container: listeners that can end as a
// process ends (closed), as a killed one does (reset), or as those of a machine
// that lost its power (silent).
package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Wire holds all listeners and accepted connections of one container. The zero
// value is ready for use.
type Wire struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
	conns     map[*conn]struct{}
	plugs     []net.Conn
	silent    bool
	over      chan struct{}
	closed    bool
}

// Listen binds a TCP port.
func (w *Wire) Listen(at netip.AddrPort) (net.Listener, error) {
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.silent {
		tcp.Close()
		return nil, fmt.Errorf("wire: listen on %s: %w", at, net.ErrClosed)
	}
	if w.listeners == nil {
		w.listeners, w.conns = map[*listener]struct{}{}, map[*conn]struct{}{}
		w.over = make(chan struct{})
	}
	l := &listener{TCPListener: tcp, wire: w}
	w.listeners[l] = struct{}{}
	return l, nil
}

// Close ends everything as the kernel does for a process that exits. A silent
// wire stays silent.
func (w *Wire) Close() { w.end(false) }

// Reset ends everything as when a process is killed with data in flight: peers
// see their connections reset. A silent wire stays silent.
func (w *Wire) Reset() { w.end(true) }

func (w *Wire) end(reset bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent || w.closed {
		return
	}
	w.endLocked(reset)
}

func (w *Wire) endLocked(reset bool) {
	w.closed = true
	for l := range w.listeners {
		l.TCPListener.Close()
	}
	for c := range w.conns {
		if reset {
			c.TCPConn.SetLinger(0)
		}
		c.TCPConn.Close()
	}
	for _, p := range w.plugs {
		p.Close()
	}
	if w.over != nil {
		close(w.over)
	}
}

// Silence makes everything dumb, as behind a cable that was cut: open
// connections hang, new ones are not even established. It lasts until Restore.
func (w *Wire) Silence() {
	w.mu.Lock()
	if w.silent || w.closed {
		w.mu.Unlock()
		return
	}
	w.silent = true
	var listeners []*listener
	for l := range w.listeners {
		listeners = append(listeners, l)
	}
	w.mu.Unlock()
	var all sync.WaitGroup
	for _, l := range listeners {
		all.Go(func() { w.plug(l) })
	}
	all.Wait()
}

// plug fills the queue of connections that nobody accepts, after making it as
// short as can be: from then on the kernel drops all attempts to connect.
func (w *Wire) plug(l *listener) {
	const attempts, patience = 8, 30 * time.Millisecond
	raw, err := l.TCPListener.SyscallConn()
	if err != nil {
		return
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), 0) })
	if err != nil || failed != nil {
		return
	}
	// One refusal is not enough: it may be that the last Accept under way was
	// about to take a connection out of the queue.
	refusals := 0
	for range attempts {
		c, err := net.DialTimeout("tcp", l.Addr().String(), patience)
		if err != nil {
			if refusals++; refusals == 2 {
				return
			}
			continue
		}
		refusals = 0
		w.mu.Lock()
		w.plugs = append(w.plugs, c)
		w.mu.Unlock()
	}
}

// Restore ends the silence: whatever still hangs is reset and the ports are
// free again, as when the machine comes back.
func (w *Wire) Restore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent && !w.closed {
		w.endLocked(true)
	}
}

// hush blocks while the wire is silent. It returns an error when the wire has
// ended.
func (w *Wire) hush() error {
	w.mu.Lock()
	silent, closed, over := w.silent, w.closed, w.over
	w.mu.Unlock()
	if silent && !closed {
		<-over
		closed = true
	}
	if closed {
		return net.ErrClosed
	}
	return nil
}

type listener struct {
	*net.TCPListener
	wire *Wire
}

func (l *listener) Accept() (net.Conn, error) {
	tcp, err := l.TCPListener.AcceptTCP()
	if err != nil {
		return nil, errors.Join(err, l.wire.hush())
	}
	c := &conn{TCPConn: tcp, wire: l.wire}
	l.wire.mu.Lock()
	if l.wire.closed {
		tcp.Close()
	}
	l.wire.conns[c] = struct{}{}
	l.wire.mu.Unlock()
	if err := l.wire.hush(); err != nil {
		return nil, err
	}
	return c, nil
}

// Close frees the port, unless the wire is silent: then the program that closes
// it is gone already as far as its peers can tell.
func (l *listener) Close() error {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	if l.wire.silent {
		return nil
	}
	delete(l.wire.listeners, l)
	return l.TCPListener.Close()
}

// conn hides the methods of a TCPConn by which the kernel would copy data behind
// the wire's back.
type conn struct {
	*net.TCPConn
	ReadFrom, WriteTo struct{}

	wire *Wire
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if hushed := c.wire.hush(); hushed != nil {
		return 0, hushed
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.wire.hush(); err != nil {
		return 0, err
	}
	return c.TCPConn.Write(b)
}

func (c *conn) Close() error {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if c.wire.silent {
		return nil
	}
	delete(c.wire.conns, c)
	return c.TCPConn.Close()
}
