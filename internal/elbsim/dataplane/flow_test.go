package dataplane

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
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
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
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

func TestFlowsAreCutWhereAttributesSaySo(t *testing.T) {
	for attribute, last := range map[string]target.State{
		"deregistration_delay.connection_termination.enabled":          "",
		"target_health_state.unhealthy.connection_termination.enabled": target.Unhealthy,
	} {
		for _, on := range []string{"true", "false"} {
			r := newRig(t, model.Network, map[string]string{attribute: on}, nil)
			address := echoing(t, "one")
			r.becomes(address, target.Healthy)
			c := r.dial()
			say(c, "hi")
			r.becomes(address, last)
			answer := say(c, "still")
			if (answer == "") != (on == "true") {
				t.Errorf("%s=%s: got %q", attribute, on, answer)
			}
			if on == "true" && r.entry().Outcome != Cut {
				t.Errorf("%s: not recorded as cut", attribute)
			}
		}
	}
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

func TestIdleFlowsEnd(t *testing.T) {
	r := newRig(t, model.Network, nil, func(o *Options) { o.NLBIdle = 30 * time.Millisecond })
	r.becomes(echoing(t, "one"), target.Healthy)
	_, err := r.dial().Read(make([]byte, 1))
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
	if e := r.entry(); e.Outcome != ResponseTimeout {
		t.Errorf("got %+v", e)
	}
}
