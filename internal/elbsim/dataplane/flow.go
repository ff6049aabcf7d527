package dataplane

import (
	"errors"
	"net"
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
		if !d.begin() {
			client.Close()
			return
		}
		d.admit(client)
		go d.serveFlow(client)
	}
}

// admit makes close find a client's connection. Who admits it dismisses it.
func (d *door) admit(client net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flows[client] = struct{}{}
	if d.closed {
		client.Close()
	}
}

func (d *door) dismiss(client net.Conn) {
	d.mu.Lock()
	delete(d.flows, client)
	d.mu.Unlock()
	client.Close()
}

// serveFlow splices one connection with one target for its whole life.
func (d *door) serveFlow(client net.Conn) {
	defer d.under.Done()
	defer d.dismiss(client)
	e := d.entry()
	e.Client = client.RemoteAddr().String()
	untold := d.carry(client, &e)
	d.record(&e)
	switch {
	case untold && e.Outcome == Cut:
		awaitPacket(client, d.plane.clock.Timeout(probeInterval))
	case untold:
		awaitPacket(client, 0)
	}
	if e.Outcome != Forwarded {
		reset(client)
	}
}

// carry carries a flow to its end. Untold means that the client does not know of
// it: a Network Load Balancer forgets a flow without a word, and answers what
// comes later with a RST.
func (d *door) carry(client net.Conn, e *Entry) (untold bool) {
	e.Group = d.group()
	hash := routing.Hash(e.Client + ">" + client.LocalAddr().String())
	u, group, found := d.node.pick(e.Group, d.plane.clock.Now(), flow{hash: hash, is: true})
	if !found {
		e.Outcome = NoTarget
		return false
	}
	defer d.node.release(u)
	e.Target = u.key.String()
	c, err := d.connect(d.ctx, u, group)
	if err != nil {
		e.Outcome = failure(err, false)
		if c != nil {
			e.Outcome = Cut
		}
		return false
	}
	defer u.drop(c)
	e.Outcome = splice(end{client, client}, end{c.Conn, c.Conn}, c.limit)
	how := u.ended(c)
	if how != running {
		e.Outcome = Cut
	}
	if e.Outcome == ClientGone || e.Outcome == IdleTimeout {
		reset(c.Conn)
	}
	return how == forgotten || e.Outcome == IdleTimeout
}

// probeInterval is how often a client makes sure that the other end is there, as
// programs in Go do: such a probe is a packet that is answered with a RST.
const probeInterval = 15 * time.Second

// awaitPacket returns when something comes from the client, or its end does, and
// after the limit if it is not zero.
func awaitPacket(client net.Conn, limit time.Duration) {
	until := time.Time{}
	if limit > 0 {
		until = time.Now().Add(limit)
	}
	if client.SetDeadline(until) != nil {
		return
	}
	_, _ = client.Read(make([]byte, 1)) // whatever it is
}

// reset makes the end of a connection look to its peer as if the other end of the
// flow had sent a RST.
func reset(c net.Conn) {
	if tcp, is := c.(*net.TCPConn); is {
		_ = tcp.SetLinger(0) // fails only if it is closed already
	}
	c.Close()
}
