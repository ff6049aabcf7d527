package dataplane

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// echoing is a target that answers each line with its name before it.
func echoing(t *testing.T, name string) string {
	t.Helper()
	l, address := listening(t)
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					fmt.Fprintf(c, "%s %s\n", name, lines.Text())
				}
				fmt.Fprintln(c, "bye")
			}()
		}
	}()
	return address
}

// dial connects to node 0 as a client.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := dialed(r.t, r.node(0))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(tooLong))
	return c
}

// say sends a line and gives the answer; empty if the connection is over.
func say(c net.Conn, word string) string {
	fmt.Fprintln(c, word)
	answer, _ := bufio.NewReader(c).ReadString('\n')
	return answer
}

func TestFlowsStayWithTheirTarget(t *testing.T) {
	r := newRig(t, model.Network, nil, nil)
	one, two := echoing(t, "one"), echoing(t, "two")
	r.becomes(one, target.Healthy)
	c := r.dial()
	if got := say(c, "hi"); got != "one hi\n" {
		t.Fatalf("got %q", got)
	}
	r.becomes(two, target.Healthy)
	r.becomes(one, target.Draining)
	r.becomes(one, "") // flows go on after the delay, too
	if got := say(c, "still"); got != "one still\n" {
		t.Errorf("got %q", got)
	}
	if got := say(r.dial(), "new"); got != "two new\n" {
		t.Errorf("got %q", got)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(c); string(rest) != "bye\n" || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
	if e := r.entry(); e.Outcome != Forwarded || e.Target != one || e.Client != c.LocalAddr().String() {
		t.Errorf("got %+v", e)
	}
}

// With connection termination a flow ends with the deregistration delay; without,
// it outlives that.
func TestFlowsAreCutAtTheDelayWhereTheGroupSaysSo(t *testing.T) {
	for _, on := range []string{"true", "false"} {
		r := newRig(t, model.Network, map[string]string{"deregistration_delay.connection_termination.enabled": on}, nil)
		address := echoing(t, "one")
		r.becomes(address, target.Healthy)
		c := r.dial()
		say(c, "hi")
		r.becomes(address, target.Draining)
		if got := say(c, "still"); got != "one still\n" {
			t.Errorf("%s: while it drains: got %q", on, got)
		}
		r.becomes(address, "")
		if on == "true" {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v", err)
			}
			if e := r.entry(); e.Outcome != Cut {
				t.Errorf("got %+v", e)
			}
		} else if got := say(c, "after"); got != "one after\n" {
			t.Errorf("got %q", got)
		}
	}
}

// A flow to a target that turned unhealthy ends, without a word: what the client
// sends next is answered with a RST.
func TestFlowsToUnhealthyTargetsAreForgotten(t *testing.T) {
	for _, test := range []struct {
		on    string
		other bool
		cut   bool
	}{{"true", true, true}, {"false", true, false}, {"true", false, false}} {
		r := newRig(t, model.Network, map[string]string{"target_health_state.unhealthy.connection_termination.enabled": test.on}, nil)
		address := echoing(t, "one")
		r.becomes(address, target.Healthy)
		c := r.dial()
		say(c, "hi")
		if test.other { // else the load balancer fails open
			r.becomes(echoing(t, "two"), target.Healthy)
		}
		r.becomes(address, target.Unhealthy)
		if test.cut {
			if e := r.entry(); e.Outcome != Cut {
				t.Errorf("got %+v", e)
			}
			expectSilence(t, c)
		}
		if answer := say(c, "still"); (answer == "") != test.cut {
			t.Errorf("%+v: got %q", test, answer)
		}
	}
}

// A client that is not told of the end of its flow learns of it by what it sends,
// or when it would have made sure that the other end is there.
func TestForgottenClientsAreToldWhenTheyProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for says, want := range map[string]time.Duration{"": probeInterval, "x": time.Second} {
			client, node := net.Pipe()
			began := time.Now()
			if says != "" {
				go func() {
					time.Sleep(time.Second)
					_, _ = client.Write([]byte(says))
				}()
			}
			awaitPacket(node, probeInterval)
			if took := time.Since(began); took != want {
				t.Errorf("%q: told after %v, want %v", says, took, want)
			}
			client.Close()
			node.Close()
		}
	})
}

// expectSilence fails if the connection says anything, its end included.
func expectSilence(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !timedOut(err) {
		t.Errorf("the client was told: %v", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(tooLong))
}

func TestFlowsWithoutATargetAreReset(t *testing.T) {
	closed, refused := listening(t)
	closed.Close()
	for _, address := range []string{"", refused} {
		r := newRig(t, model.Network, nil, nil)
		want := NoTarget
		if address != "" {
			want = Refused
			r.becomes(address, target.Healthy)
		}
		c, err := dialed(r.t, r.node(0))
		if err == nil { // else the reset came first
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q: got %v", address, err)
		}
		if e := r.entry(); e.Outcome != want {
			t.Errorf("got %+v", e)
		}
	}
}

// A flow in which nothing moves for long ends without a word to the client: what
// it sends next is answered with a RST.
func TestIdleFlowsAreForgotten(t *testing.T) {
	r := newRig(t, model.Network, nil, func(o *Options) { o.NLBIdle = 30 * time.Millisecond })
	r.becomes(echoing(t, "one"), target.Healthy)
	c := r.dial()
	if e := r.entry(); e.Outcome != IdleTimeout {
		t.Errorf("got %+v", e)
	}
	expectSilence(t, c)
	_, _ = c.Write([]byte("hello?\n"))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
}
