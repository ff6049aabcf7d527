package dataplane

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
)

// acceptFlows takes connections of a Network Load Balancer until the listener is
// closed.
func (d *door) acceptFlows() {
	for {
		client, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // out of files: others will close theirs
			continue
		}
		if !d.admit(client) {
			client.Close()
			return
		}
		go d.serveFlow(client)
	}
}

// admit counts a flow in, so that close finds its connection.
func (d *door) admit(client net.Conn) bool {
	if !d.begin() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flows[client] = struct{}{}
	if d.closed {
		client.Close()
	}
	return true
}

func (d *door) dismiss(client net.Conn) {
	d.mu.Lock()
	delete(d.flows, client)
	d.mu.Unlock()
	client.Close()
	d.under.Done()
}

// serveFlow splices one connection with one target for its whole life.
func (d *door) serveFlow(client net.Conn) {
	defer d.dismiss(client)
	e := d.entry()
	e.Client = client.RemoteAddr().String()
	defer d.record(&e)
	arn := d.group()
	e.Group = arn
	hash := routing.Hash(e.Client + ">" + client.LocalAddr().String())
	u, group, found := d.node.pick(arn, d.plane.clock.Now(), flow{hash: hash, is: true})
	if !found {
		e.Outcome = NoTarget
		reset(client)
		return
	}
	defer d.node.release(u)
	e.Target = u.key.String()
	c, err := d.connect(d.ctx, u, group)
	if err != nil {
		e.Outcome = failure(err, false)
		if c != nil {
			e.Outcome = Cut
		}
		reset(client)
		return
	}
	defer u.drop(c)
	err = splice(client, c, c.limit)
	if u.wasCut(c) {
		e.Outcome = Cut
	} else if err != nil {
		e.Outcome = failure(err, true)
	}
	if e.Outcome != Forwarded {
		reset(client)
	}
}

// reset makes the end of a connection look to its client as if the target had
// sent a RST.
func reset(client net.Conn) {
	if tcp, is := client.(*net.TCPConn); is {
		_ = tcp.SetLinger(0) // fails only if it is closed already
	}
	client.Close()
}

// splice copies both ways until both are done, one failed, or nothing moved for
// the limit. The error is that of the target's side or of silence; a client that leaves is
// none.
func splice(client net.Conn, target *conn, limit time.Duration) error {
	until := time.Now().Add(limit)
	if err := errors.Join(client.SetDeadline(until), target.SetDeadline(until)); err != nil {
		return err
	}
	var both sync.WaitGroup
	var failed error
	both.Go(func() {
		_, err := io.Copy(writerOnly{client}, lively{target.Conn, client, limit})
		if err != nil {
			failed = err
			reset(client)
			target.Close()
		}
		halfClose(client)
	})
	_, err := io.Copy(writerOnly{target.Conn}, lively{client, target.Conn, limit})
	if err != nil {
		reset(client)
		target.Close()
	}
	halfClose(target.Conn)
	both.Wait()
	if timedOut(err) {
		return err // nothing moved, whichever side noticed first
	}
	if errors.Is(failed, net.ErrClosed) {
		return nil
	}
	return failed
}

// writerOnly hides what io.Copy would use to pass lively by.
type writerOnly struct{ io.Writer }

// lively reads from a side; each read counts as a sign of life of both.
type lively struct {
	from, other net.Conn
	limit       time.Duration
}

func (l lively) Read(p []byte) (int, error) {
	n, err := l.from.Read(p)
	if n > 0 {
		until := time.Now().Add(l.limit)
		if l.from.SetDeadline(until) != nil || l.other.SetDeadline(until) != nil {
			return n, net.ErrClosed
		}
	}
	return n, err
}

// halfClose tells the other end that no more comes.
func halfClose(c net.Conn) {
	if half, can := c.(interface{ CloseWrite() error }); can {
		_ = half.CloseWrite() // fails if it is closed already
		return
	}
	c.Close()
}
