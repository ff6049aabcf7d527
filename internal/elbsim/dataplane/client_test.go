package dataplane

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// echoed is a target that answers with what it was sent.
func echoed(t *testing.T) string {
	t.Helper()
	return served(t, func(w http.ResponseWriter, request *http.Request) { _, _ = io.Copy(w, request.Body) })
}

func TestRequestsThatAreNotForwarded(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	r.becomes(served(t, func(http.ResponseWriter, *http.Request) {}), target.Healthy)
	long := func(n int) string { return strings.Repeat("x", n) }
	many := strings.Repeat("X-Part: "+long(9<<10)+"\r\n", 8)
	for _, test := range []struct {
		name, request string
		status        int
	}{
		{"TRACE", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405},
		{"long line", "GET /" + long(16<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 414},
		{"line that is not too long", "GET /" + long(15<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		{"long header", "GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + long(16<<10) + "\r\n\r\n", 400},
		{"header that is not too long", "GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + long(15<<10) + "\r\n\r\n", 200},
		{"long head", "GET / HTTP/1.1\r\nHost: x\r\n" + many + "\r\n", 400},
		{"30 forwarded", "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1" + strings.Repeat(", 2.2.2.2", 29) + "\r\n\r\n", 200},
		{"31 forwarded", "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1" + strings.Repeat(", 2.2.2.2", 30) + "\r\n\r\n", 463},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := r.dial()
			_, _ = io.WriteString(c, test.request)
			response, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			e := r.entry()
			if response.StatusCode != test.status || e.Status != test.status || (e.Outcome == Rejected) != (test.status != 200) {
				t.Errorf("got %d, %+v", response.StatusCode, e)
			}
		})
	}
	for _, request := range []string{ // what Go's server refuses itself
		"nonsense\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX: " + long(1<<20) + "\r\n\r\n",
	} {
		if answer := r.raw(request); answer != "" && !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 501") {
			t.Errorf("%.40q: got %.60q", request, answer)
		}
	}
}

// Old clients get what they can read, and targets a Host in any case.
func TestOldClients(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	r.becomes(served(t, func(w http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(w, "%s %s\n", request.Proto, request.Host)
		_ = http.NewResponseController(w).Flush() // so that it comes in chunks
		fmt.Fprint(w, "end")
	}), target.Healthy)
	for request, want := range map[string]string{
		"GET / HTTP/1.0\r\n\r\n":                                             "HTTP/1.1 front.example\nend",
		"GET / HTTP/1.0\r\nHost: WWW.Example:80\r\n\r\n":                     "HTTP/1.1 www.example:80\nend",
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":             "HTTP/1.1 x",
		"GET http://Other/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n": "HTTP/1.1 other\n",
	} {
		if got := r.raw(request); !strings.Contains(got, want) {
			t.Errorf("%q: got %q", request, got)
		}
	}
}

func TestPipelinedRequests(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	r.becomes(served(t, func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		fmt.Fprintf(w, "<%s %s>", request.URL.Path, body)
	}), target.Healthy)
	got := r.raw("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n" +
		"POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" +
		"POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n" +
		"GET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	at := 0
	for _, want := range []string{"</1 >", "</2 abc>", "</3 de>", "</4 >"} {
		i := strings.Index(got[at:], want)
		if i < 0 {
			t.Fatalf("%q is not next in %q", want, got)
		}
		at += i
	}
}

// The load balancer tells the client to go on, not the target.
func TestExpectContinueIsAnsweredByTheLoadBalancer(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	expected := make(chan string, 1)
	r.becomes(served(t, func(w http.ResponseWriter, request *http.Request) {
		expected <- request.Header.Get("Expect")
		_, _ = io.Copy(w, request.Body)
	}), target.Healthy)
	c := r.dial()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
	reader := bufio.NewReader(c)
	if line, err := reader.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	_, _ = io.WriteString(c, "ok")
	rest, _ := io.ReadAll(reader)
	if e := <-expected; e != "" || !strings.Contains(string(rest), "200 OK") || !strings.HasSuffix(string(rest), "ok") {
		t.Errorf("the target was told %q, the client got %q", e, rest)
	}
}

// Pieces of a body are passed on as they come, in both directions at once.
func TestChunksArePassedOnAsTheyCome(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	r.becomes(served(t, func(w http.ResponseWriter, request *http.Request) {
		controller := http.NewResponseController(w)
		_ = controller.EnableFullDuplex()
		for lines := bufio.NewScanner(request.Body); lines.Scan(); {
			fmt.Fprintf(w, "got %s\n", lines.Text())
			_ = controller.Flush()
		}
	}), target.Healthy)
	read, write := io.Pipe()
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.node(0), read)
	go func() { fmt.Fprintln(write, "0") }()
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for i, lines := 0, bufio.NewScanner(response.Body); lines.Scan(); i++ {
		if lines.Text() != fmt.Sprint("got ", i) {
			t.Fatalf("got %q, want %d", lines.Text(), i)
		}
		if i == 5 {
			_ = write.Close() // never fails
			continue
		}
		go func() { fmt.Fprintln(write, i+1) }()
	}
	if e := r.entry(); e.Outcome != Forwarded {
		t.Errorf("got %+v", e)
	}
	await(t, "one connection at rest", func() bool { return atRest(r) == 1 })
}

// atRest counts the connections to targets that wait to be used again.
func atRest(r *rig) int { return r.count(func(u *upstream) int { return len(u.idle) }) }

// A client that leaves ends its request at the target as well, and the connection
// is not used again.
func TestClientsThatLeave(t *testing.T) {
	for name, text := range map[string]string{
		"while it waits":    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"in a body":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
		"in a chunked body": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, model.Application, nil, nil)
			began, left := make(chan struct{}), make(chan struct{})
			r.becomes(spoken(t, func(_ *net.TCPConn, reader *bufio.Reader) {
				_, _ = http.ReadRequest(reader)
				close(began)
				_, _ = io.Copy(io.Discard, reader)
				close(left)
			}), target.Healthy)
			c := r.dial()
			_, _ = io.WriteString(c, text)
			<-began
			c.Close()
			if e := r.entry(); e.Outcome != ClientGone || e.Status != 460 {
				t.Errorf("got %+v", e)
			}
			<-left
		})
	}
}

// A client that leaves in the midst of its answer, or takes no more of it, is not
// held against the target.
func TestClientsThatDoNotTakeTheirAnswer(t *testing.T) {
	for _, leaves := range []bool{true, false} {
		idle := time.Hour
		if !leaves {
			idle = 200 * time.Millisecond
		}
		r := newRig(t, model.Application, nil, func(o *Options) { o.ALBIdle = idle })
		r.becomes(served(t, func(w http.ResponseWriter, request *http.Request) {
			for piece := make([]byte, 1<<20); request.Context().Err() == nil; {
				_, _ = w.Write(piece)
			}
		}), target.Healthy)
		c := r.dial()
		for begun := false; !begun; {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := io.ReadFull(c, make([]byte, 100)); err == nil {
				begun = true
			} else if !r.hasty {
				t.Fatal(err)
			} else {
				c = r.dial()
			}
		}
		if leaves {
			c.Close()
		}
		if e := r.entry(); e.Outcome != ClientGone || e.Status != 200 {
			t.Errorf("leaves: %t: got %+v", leaves, e)
		}
	}
}

// A client that falls silent in a body is waited for, one that talks nonsense is
// not.
func TestClientsThatFallSilentOrTalkNonsenseInABody(t *testing.T) {
	for _, test := range []struct {
		text   string
		idle   time.Duration
		status int
	}{
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf", 200 * time.Millisecond, 408},
		{"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nwhat\r\n", time.Hour, 400},
	} {
		r := newRig(t, model.Application, nil, func(o *Options) { o.ALBIdle = test.idle })
		r.becomes(echoed(t), target.Healthy)
		if got := r.raw(test.text); !strings.HasPrefix(got, fmt.Sprint("HTTP/1.1 ", test.status)) {
			t.Errorf("%q: got %q", test.text, got)
		}
		if e := r.entry(); e.Status != test.status {
			t.Errorf("got %+v", e)
		}
	}
}

// A client's connection is kept for more requests, until it is old: then one more
// is answered.
func TestClientConnectionsAreKeptUntilTheyAreOld(t *testing.T) {
	for keep, closes := range map[time.Duration]bool{time.Hour: false, time.Nanosecond: true} {
		r := newRig(t, model.Application, nil, func(o *Options) { o.ClientKeepAlive = keep })
		r.becomes(echoed(t), target.Healthy)
		c := r.dial()
		reader := bufio.NewReader(c)
		for range 3 {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			response, err := http.ReadResponse(reader, nil)
			if err != nil || response.StatusCode != 200 || response.Close != closes {
				t.Fatalf("%v: got %+v, %v", keep, response, err)
			}
			response.Body.Close()
			if closes {
				if _, err := reader.ReadByte(); err != io.EOF {
					t.Errorf("still open: %v", err)
				}
				break
			}
		}
	}
}

// WebSocket goes through an Application Load Balancer, and ends with the
// deregistration delay. Other protocols are not switched to.
func TestWebSocket(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	address := spoken(t, func(c *net.TCPConn, reader *bufio.Reader) {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if request.Header.Get("Upgrade") != "websocket" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nfirst\n")
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			fmt.Fprintln(c, "echo", lines.Text())
		}
	})
	r.becomes(address, target.Healthy)
	open := func(protocol string) (net.Conn, *http.Response, *bufio.Reader) {
		c := r.dial()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "+protocol+"\r\n\r\nearly\n")
		reader := bufio.NewReader(c)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, response, reader
	}
	_, response, _ := open("h2c")
	if response.Body.Close(); response.StatusCode != 200 || r.entry().Status != 200 {
		t.Errorf("h2c: got %d", response.StatusCode)
	}
	await(t, "no connection open", func() bool { return openConns(r) == 0 })
	c, response, reader := open("WebSocket")
	if response.StatusCode != 101 || response.Header.Get("Sec-WebSocket-Accept") != "x" {
		t.Fatalf("got %+v", response)
	}
	for _, want := range []string{"first\n", "echo early\n", "echo more\n"} {
		if got, _ := reader.ReadString('\n'); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if want == "echo early\n" {
			fmt.Fprintln(c, "more")
		}
	}
	r.becomes(address, target.Draining)
	fmt.Fprintln(c, "drains")
	if got, _ := reader.ReadString('\n'); got != "echo drains\n" {
		t.Errorf("got %q", got)
	}
	r.becomes(address, "")
	if rest, _ := io.ReadAll(reader); len(rest) > 0 {
		t.Errorf("got %q", rest)
	}
	for e := r.entry(); ; e = r.entry() {
		if e.Status == 101 {
			if e.Outcome != Cut {
				t.Errorf("got %+v", e)
			}
			break
		}
	}
}

// Thousands of connections at once, through three nodes: all are answered by the
// target they belong to.
func TestThousandsOfConnections(t *testing.T) {
	for _, kind := range []model.BalancerType{model.Application, model.Network} {
		r := newRig(t, kind, nil, func(o *Options) {
			o.Nodes = 3
			o.OnEntry = nil
		})
		for range 4 {
			r.becomes(echoed(t), target.Healthy)
		}
		const clients = 500
		failures := make(chan error, clients)
		for i := range clients {
			go func() { failures <- talk(t.Context(), r.nodes()[i%3], fmt.Sprint("client ", i)) }()
		}
		for range clients {
			if err := <-failures; err != nil {
				t.Fatal(err)
			}
		}
		want := map[model.BalancerType]uint64{model.Application: 3 * clients, model.Network: clients}[kind]
		await(t, fmt.Sprint(want, " counted"), func() bool {
			counted := uint64(0)
			for key, n := range r.Counts() {
				if counted += n; key.Outcome != Forwarded {
					t.Fatalf("%d of %+v", n, key)
				}
			}
			return counted == want
		})
	}
}

func (r *rig) nodes() []string { return r.Balancers()[0].Listeners[0].Nodes }

// talk makes three requests on one connection.
func talk(ctx context.Context, node, word string) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for range 3 {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+node, strings.NewReader(word))
		if err != nil {
			return err
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != word {
			return fmt.Errorf("%s: got %d %q, %w", word, response.StatusCode, body, err)
		}
	}
	return nil
}

// A listener that goes away ends all that runs on it; those who wait for it see
// the end of their connection.
func TestListenersCloseWhileRequestsRun(t *testing.T) {
	for _, kind := range []model.BalancerType{model.Application, model.Network} {
		r := newRig(t, kind, nil, nil)
		began := make(chan struct{}, 100)
		r.becomes(served(t, func(_ http.ResponseWriter, request *http.Request) {
			began <- struct{}{}
			<-request.Context().Done()
		}), target.Healthy)
		ends := make(chan error)
		for range 50 {
			c := r.dial()
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			go func() { _, err := io.ReadAll(c); ends <- err }()
			<-began
		}
		r.state.Balancers[0].Listeners = nil
		r.update()
		for range 50 {
			if err := <-ends; timedOut(err) {
				t.Error("a connection stayed open")
			}
			if e := r.entry(); e.Outcome == Forwarded && kind == model.Application {
				t.Errorf("got %+v", e)
			}
		}
	}
}
