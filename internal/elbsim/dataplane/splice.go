package dataplane

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// end is one end of a flow: its connection, and what to read it by, which may
// have read ahead.
type end struct {
	net.Conn
	from io.Reader
}

// splice copies both ways until both are done, one end failed, or nothing moved
// for the limit, and tells which: Forwarded, ClientGone, Reset (the target failed
// or was cut off) or IdleTimeout. It closes neither end.
func splice(client, target end, limit time.Duration) Outcome {
	l := &life{ends: [2]net.Conn{client, target}, limit: limit, outcome: Forwarded}
	l.renew()
	var other sync.WaitGroup
	other.Go(func() { l.pump(target, client, Reset, ClientGone) })
	l.pump(client, target, ClientGone, Reset)
	other.Wait()
	return l.outcome
}

// life keeps a flow alive as long as something moves and nothing failed.
type life struct {
	ends  [2]net.Conn
	limit time.Duration

	over    atomic.Bool
	first   sync.Once
	outcome Outcome // of the first failure
}

// renew counts as a sign of life of both ends.
func (l *life) renew() {
	l.setDeadline(time.Now().Add(l.limit))
	if l.over.Load() { // fail may have come in between
		l.setDeadline(longAgo)
	}
}

// fail ends the flow. The first failure is its outcome, those that it causes are
// not.
func (l *life) fail(outcome Outcome) {
	l.first.Do(func() {
		l.outcome = outcome
		l.over.Store(true)
		l.setDeadline(longAgo)
	})
}

func (l *life) setDeadline(at time.Time) {
	for _, c := range l.ends {
		_ = c.SetDeadline(at) // fails only where reading and writing fail, too
	}
}

// pump copies from one end to the other. Silence of an end that is written to
// counts as a failure of that end.
func (l *life) pump(from, to end, unread, unwritten Outcome) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.from.Read(buffer)
		if n > 0 {
			l.renew()
			if _, err := to.Write(buffer[:n]); err != nil {
				l.fail(unwritten)
				return
			}
			l.renew()
		}
		switch {
		case errors.Is(err, io.EOF):
			halfClose(to.Conn)
			return
		case timedOut(err):
			l.fail(IdleTimeout)
			return
		case err != nil:
			l.fail(unread)
			return
		}
	}
}

// halfClose tells the other end that no more comes.
func halfClose(c net.Conn) {
	if half, can := c.(interface{ CloseWrite() error }); can {
		_ = half.CloseWrite() // fails if it is closed already
		return
	}
	c.Close()
}
