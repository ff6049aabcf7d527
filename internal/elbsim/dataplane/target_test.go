package dataplane

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func TestTargetsThatMisbehave(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	large := func(n int) string {
		return strings.Repeat("X-Part: "+strings.Repeat("x", 990)+"\r\n", n)
	}
	for _, test := range []struct {
		name, answer string
		want         string // what the client gets begins so
		outcome      Outcome
	}{
		{"garbage", "what do you want\r\n\r\n", "502", Reset},
		{"no HTTP at all", "\x00\x01\x02\x03", "502", Reset},
		{"no answer", "", "502", Reset},
		{"half a head", head + "Content-Le", "502", Reset},
		{"a header that is none", head + "no colon\r\n\r\n", "502", Reset},
		{"two lengths", head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "502", Reset},
		{"a large head", head + large(31) + "Content-Length: 2\r\n\r\nok", "200 ok", Forwarded},
		{"too large a head", head + large(34) + "Content-Length: 2\r\n\r\nok", "502", Reset},
		{"an endless line", strings.Repeat("x", 1<<20), "502", Reset},
		{"other protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", "502", Reset},
		{"endless interim answers", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 2000), "502", Reset},
		{"interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + head + "Content-Length: 2\r\n\r\nok", "200 ok", Forwarded},
		{"ends with the connection", head + "\r\nok", "200 ok", Forwarded},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nok", "200 ok", Forwarded},
		{"too short a body", head + "Content-Length: 9\r\nConnection: close\r\n\r\nok", "200 cut", Reset},
		{"too long a body", head + "Content-Length: 2\r\n\r\nok and more", "200 ok", Forwarded},
		{"bad chunks", head + "Transfer-Encoding: chunked\r\n\r\nwhat\r\n", "502", Reset},
		{"a bad chunk later", head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\nwhat\r\n", "200 cut", Reset},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, model.Application, nil, nil)
			r.becomes(spoken(t, func(c *net.TCPConn, reader *bufio.Reader) {
				request, err := http.ReadRequest(reader)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, request.Body)
				_, _ = io.WriteString(c, test.answer)
				_ = c.CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			}), target.Healthy)
			status, answer := r.ask(http.MethodPost, "/", "x")
			if got := fmt.Sprint(status, " ", answer); !strings.HasPrefix(got, test.want) {
				t.Errorf("got %.80q", got)
			}
			if e := r.entry(); e.Outcome != test.outcome || e.Status != status {
				t.Errorf("got %+v", e)
			}
		})
	}
}

// A target that resets a connection, before its answer or in the midst of it.
func TestTargetsThatReset(t *testing.T) {
	for _, answer := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"} {
		r := newRig(t, model.Application, nil, nil)
		passed := make(chan struct{})
		r.becomes(spoken(t, func(c *net.TCPConn, reader *bufio.Reader) {
			_, _ = http.ReadRequest(reader)
			_, _ = io.WriteString(c, answer)
			if answer != "" {
				<-passed
			}
			reset(c)
		}), target.Healthy)
		c := r.dial()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		close(passed)
		_, err = io.ReadAll(response.Body)
		if response.StatusCode != 502 && answer == "" || answer != "" && err == nil {
			t.Errorf("got %d, %v", response.StatusCode, err)
		}
		if e := r.entry(); e.Outcome != Reset || e.Status != response.StatusCode {
			t.Errorf("got %+v", e)
		}
	}
}

// A target that promises more than it sends and keeps the connection open.
func TestTargetsThatFallSilentInABody(t *testing.T) {
	r := newRig(t, model.Application, nil, func(o *Options) { o.ALBIdle = 50 * time.Millisecond })
	r.becomes(answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), target.Healthy)
	if status, answer := r.ask(http.MethodGet, "/", ""); status != 200 || !strings.HasPrefix(answer, "cut") {
		t.Errorf("got %d %q", status, answer)
	}
	if e := r.entry(); e.Outcome != ResponseTimeout {
		t.Errorf("got %+v", e)
	}
}

// What a target says unasked is nobody's answer.
func TestTargetsThatSpeakUnasked(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	next := make(chan struct{})
	r.becomes(spoken(t, func(c *net.TCPConn, reader *bufio.Reader) {
		_, _ = http.ReadRequest(reader)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nasked")
		<-next
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked")
		_, _ = io.Copy(io.Discard, reader)
	}), target.Healthy)
	for range 3 {
		if status, answer := r.ask(http.MethodGet, "/", ""); status != 200 || answer != "asked" {
			t.Errorf("got %d %q", status, answer)
		}
		next <- struct{}{}
		await(t, "no connection open", func() bool { return openConns(r) == 0 })
	}
}

// A target may answer before it has read the body, and need not read it at all.
func TestTargetsThatAnswerEarly(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	r.becomes(spoken(t, func(c *net.TCPConn, reader *bufio.Reader) {
		_, _ = http.ReadRequest(reader)
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, reader)
	}), target.Healthy)
	c := r.dial()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly the beginning")
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != 413 || string(body) != "much" || err != nil {
		t.Errorf("got %d %q, %v", response.StatusCode, body, err)
	}
	if e := r.entry(); e.Outcome != Forwarded || e.Status != 413 {
		t.Errorf("got %+v", e)
	}
}

// After an answer that has no body the connection is good for another request.
func TestAnswersWithoutABody(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	r.becomes(served(t, func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("ETag", `"x"`)
		switch request.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Length", "5")
			fmt.Fprint(w, "hello")
		}
	}), target.Healthy)
	for i, ask := range []struct {
		method, path string
		status       int
	}{{"HEAD", "/", 200}, {"GET", "/204", 204}, {"GET", "/304", 304}, {"HEAD", "/304", 304}, {"GET", "/", 200}} {
		status, answer := r.ask(ask.method, ask.path, "")
		if e := r.entry(); status != ask.status || e.Reused != (i > 0) || e.Outcome != Forwarded {
			t.Errorf("%v: got %d %q, %+v", ask, status, answer, e)
		}
		await(t, "one connection at rest", func() bool { return atRest(r) == 1 })
	}
}

// A pooled connection that the target closed just now is taken for open: the
// request that is sent into it is lost, whatever its method, and not sent again.
func TestAConnectionThatWasClosedJustNowIsUsed(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		r := newRig(t, model.Application, nil, func(o *Options) { o.CloseLag = time.Hour })
		closed, requests := make(chan struct{}), atomic.Int32{}
		address := spoken(t, func(c *net.TCPConn, reader *bufio.Reader) {
			_, _ = http.ReadRequest(reader)
			requests.Add(1)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			<-closed
		})
		r.becomes(address, target.Healthy)
		if status, _ := r.ask(method, "/", ""); status != 200 {
			t.Fatalf("got %d", status)
		}
		r.entry()
		close(closed)
		await(t, "the end of a connection noticed", func() bool { return noticed(r) })
		status, _ := r.ask(method, "/", "")
		if e := r.entry(); status != 502 || e.Outcome != Reset || !e.Reused || requests.Load() != 1 {
			t.Errorf("%s: got %d, %+v after %d requests", method, status, e, requests.Load())
		}
	}
}

// noticed tells whether the end of an idle connection has come to the node.
func noticed(r *rig) bool {
	n := r.balancers["front"].nodes[0]
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, u := range n.upstreams {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, c := range u.idle {
			select {
			case <-c.seen:
				return true
			default:
			}
		}
	}
	return false
}

// Idle connections are closed by the node after the idle timeout, and at once
// when it learns that their target leaves; what runs is not disturbed, and its
// connection not used again.
func TestPooledConnectionsAreClosed(t *testing.T) {
	t.Run("after the idle timeout", func(t *testing.T) {
		r := newRig(t, model.Application, nil, func(o *Options) { o.ALBIdle = 30 * time.Millisecond })
		ended := make(chan error, 1)
		r.becomes(spoken(t, func(c *net.TCPConn, reader *bufio.Reader) {
			_, _ = http.ReadRequest(reader)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_, err := reader.ReadByte()
			ended <- err
		}), target.Healthy)
		r.ask(http.MethodGet, "/", "")
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("when the target leaves", func(t *testing.T) {
		r := newRig(t, model.Application, nil, nil)
		began, release, ends := make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
		address := spoken(t, func(c *net.TCPConn, reader *bufio.Reader) {
			for request, err := http.ReadRequest(reader); err == nil; request, err = http.ReadRequest(reader) {
				if request.URL.Path == "/slow" {
					close(began)
					<-release
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
			ends <- struct{}{}
		})
		r.becomes(address, target.Healthy)
		slow := make(chan int)
		go func() { status, _ := r.ask(http.MethodGet, "/slow", ""); slow <- status }()
		<-began
		r.ask(http.MethodGet, "/", "")
		await(t, "one connection at rest", func() bool { return atRest(r) == 1 })
		r.becomes(address, target.Draining)
		<-ends // the idle one
		close(release)
		if status := <-slow; status != 200 {
			t.Errorf("got %d", status)
		}
		<-ends
		await(t, "no connection open", func() bool { return openConns(r) == 0 })
	})
}
