package dataplane

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func TestRequestsAreForwardedOnceWithTheirHeaders(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	seen := make(chan *http.Request, 10)
	address := served(t, func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		seen <- request
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "got %s", body)
	})
	r.becomes(address, target.Healthy)
	for i := range 3 {
		status, answer := r.ask(http.MethodPost, "/path%2Fx?q=1", "hello")
		if status != http.StatusCreated || answer != "got hello" {
			t.Fatalf("got %d %q", status, answer)
		}
		request, e := <-seen, r.entry()
		if request.RequestURI != "/path%2Fx?q=1" || request.Header.Get("X-Forwarded-For") != "127.0.0.1" ||
			!strings.HasPrefix(request.Header.Get("X-Amzn-Trace-Id"), "Root=1-") || request.Header.Get("X-Forwarded-Port") != "80" {
			t.Errorf("got %s %v", request.RequestURI, request.Header)
		}
		if e.Reused != (i > 0) || e.Target != address || e.Outcome != Forwarded || e.Status != 201 || !strings.HasPrefix(e.Client, "127.0.0.1:") {
			t.Errorf("request %d: got %+v", i, e)
		}
	}
}

func TestFailuresOfTargets(t *testing.T) {
	closed, refused := listening(t)
	closed.Close()
	silent, mute := listening(t)
	go func() {
		for c, err := silent.Accept(); err == nil; c, err = silent.Accept() {
			defer c.Close()
		}
	}()
	hangup, rude := listening(t)
	go func() {
		for c, err := hangup.Accept(); err == nil; c, err = hangup.Accept() {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			c.Close()
		}
	}()
	tests := []struct {
		name   string
		target string
		change func(*Options)
		want   Outcome
		status int
	}{
		{"no target", "", nil, NoTarget, 503},
		{"refused", refused, nil, Refused, 502},
		{"hangs up", rude, nil, Reset, 502},
		{"silent", mute, func(o *Options) { o.ALBIdle = 50 * time.Millisecond }, ResponseTimeout, 504},
		{"no connection", mute, func(o *Options) { o.Dial, o.ConnectTimeout = never, 50*time.Millisecond }, ConnectTimeout, 504},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, model.Application, nil, test.change)
			if test.target != "" {
				r.becomes(test.target, target.Healthy)
			}
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				if status, answer := r.ask(method, "/", "x"); status != test.status || !strings.Contains(answer, "<title>") {
					t.Errorf("%s: got %d %q", method, status, answer)
				}
				if e := r.entry(); e.Outcome != test.want {
					t.Errorf("got %+v", e)
				}
			}
			key := CountKey{LoadBalancer: "front", Group: "g", Target: test.target, Status: test.status, Outcome: test.want}
			if n := r.Counts()[key]; n != 2 {
				t.Errorf("counted %d of %v", n, r.Counts())
			}
		})
	}
}

// A target that closes a connection just as it is used again loses that request,
// whatever its method: nothing is sent twice, to nobody.
func TestNothingIsSentTwice(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		r := newRig(t, model.Application, nil, nil)
		var requests atomic.Int32
		for range 2 {
			l, address := listening(t)
			go func() {
				for c, err := l.Accept(); err == nil; c, err = l.Accept() {
					reader := bufio.NewReader(c)
					for first := true; ; first = false {
						request, err := http.ReadRequest(reader)
						if err != nil {
							break
						}
						_, _ = io.Copy(io.Discard, request.Body)
						requests.Add(1)
						if !first {
							break
						}
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					}
					c.Close()
				}
			}()
			r.becomes(address, target.Healthy)
		}
		var statuses []int
		for range 4 { // by turns: both targets once afresh, then both reused
			status, _ := r.ask(method, "/", "x")
			statuses = append(statuses, status)
			r.entry()
		}
		if fmt.Sprint(statuses) != "[200 200 502 502]" || requests.Load() != 4 {
			t.Errorf("%s: got %v, and %d requests", method, statuses, requests.Load())
		}
	}
}

// A connection that the target closed while nothing ran on it is not used again.
func TestIdleConnectionsThatWereClosedAreNotUsed(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	l, address := listening(t)
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			c.Close()
		}
	}()
	r.becomes(address, target.Healthy)
	for range 3 {
		if status, _ := r.ask(http.MethodGet, "/", ""); status != 200 {
			t.Fatalf("got %d", status)
		}
		r.entry()
		await(t, "no connection open", func() bool { return openConns(r) == 0 })
	}
}

// openConns counts the connections to targets.
func openConns(r *rig) int { return r.count(func(u *upstream) int { return len(u.conns) }) }

// count adds up something of all targets, as the nodes of the load balancer front see them.
func (r *rig) count(of func(*upstream) int) (sum int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.balancers["front"].nodes {
		n.mu.Lock()
		for _, u := range n.upstreams {
			u.mu.Lock()
			sum += of(u)
			u.mu.Unlock()
		}
		n.mu.Unlock()
	}
	return sum
}

// await waits until a condition holds. What keeps it from doing so is in the stacks.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(tooLong); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s\n%s", what, atWork())
		}
	}
}

func TestHealthDecidesWhoGetsRequests(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	hits := map[string]*atomic.Int32{}
	var addresses []string
	for range 3 {
		count := &atomic.Int32{}
		address := served(t, func(http.ResponseWriter, *http.Request) { count.Add(1) })
		hits[address] = count
		addresses = append(addresses, address)
	}
	got := func() (hit []int32) {
		for range 6 {
			r.ask(http.MethodGet, "/", "")
		}
		for _, a := range addresses {
			hit = append(hit, hits[a].Swap(0))
		}
		return hit
	}
	r.becomes(addresses[0], target.Initial)
	r.becomes(addresses[1], target.Initial)
	if g := fmt.Sprint(got()); g != "[3 3 0]" {
		t.Errorf("none healthy, all registered get requests: %s", g)
	}
	r.becomes(addresses[0], target.Healthy)
	if g := fmt.Sprint(got()); g != "[6 0 0]" {
		t.Errorf("one healthy: %s", g)
	}
	r.becomes(addresses[2], target.Healthy)
	r.becomes(addresses[0], target.Unhealthy)
	if g := fmt.Sprint(got()); g != "[0 0 6]" {
		t.Errorf("another healthy: %s", g)
	}
	r.becomes(addresses[2], target.Draining)
	if g := fmt.Sprint(got()); g != "[3 3 0]" {
		t.Errorf("the last healthy one left: %s", g)
	}
}

func TestLeastOutstanding(t *testing.T) {
	r := newRig(t, model.Application, map[string]string{"load_balancing.algorithm.type": "least_outstanding_requests"}, nil)
	release, began := make(chan struct{}), make(chan struct{})
	slow := served(t, func(_ http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/slow" {
			close(began)
			<-release
		}
	})
	r.becomes(slow, target.Healthy)
	done := make(chan struct{})
	go func() { defer close(done); r.ask(http.MethodGet, "/slow", "") }()
	<-began
	fast := served(t, func(http.ResponseWriter, *http.Request) {})
	r.becomes(fast, target.Healthy)
	for range 5 {
		r.ask(http.MethodGet, "/", "")
		if e := r.entry(); e.Target != fast {
			t.Errorf("got %+v", e)
		}
	}
	close(release)
	<-done
}

// What runs goes on while its target drains, and is cut off when that is over.
func TestInFlightRequestsEndWithTheDeregistrationDelay(t *testing.T) {
	for _, afterHead := range []bool{false, true} {
		r := newRig(t, model.Application, nil, nil)
		began := make(chan struct{}, 1)
		address := served(t, func(w http.ResponseWriter, request *http.Request) {
			if afterHead {
				fmt.Fprint(w, "part")
				_ = http.NewResponseController(w).Flush()
			}
			began <- struct{}{}
			<-request.Context().Done()
		})
		r.becomes(address, target.Healthy)
		answers, headed := make(chan string, 1), make(chan struct{})
		go func() {
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.node(0), nil)
			response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
			if err != nil {
				answers <- err.Error()
				return
			}
			defer response.Body.Close()
			close(headed)
			body, err := io.ReadAll(response.Body)
			answers <- fmt.Sprintf("%d %s cut: %t", response.StatusCode, body, err != nil)
		}()
		<-began
		if afterHead {
			<-headed
		}
		r.becomes(address, target.Draining)
		if status, _ := r.ask(http.MethodGet, "/", ""); status != 503 || r.entry().Outcome != NoTarget {
			t.Errorf("a new request got %d", status)
		}
		r.becomes(address, "")
		answer, e := <-answers, r.entry()
		want := "502 <html>"
		if afterHead {
			want = "200 part cut: true"
		}
		if !strings.HasPrefix(answer, want) || e.Outcome != Cut {
			t.Errorf("got %q, %+v", answer, e)
		}
	}
}

// What runs goes on whatever becomes of its target's health.
func TestRequestsOutliveTheHealthOfTheirTarget(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	began, release := make(chan struct{}), make(chan struct{})
	address := served(t, func(http.ResponseWriter, *http.Request) {
		close(began)
		<-release
	})
	r.becomes(address, target.Healthy)
	status := make(chan int)
	go func() { got, _ := r.ask(http.MethodGet, "/", ""); status <- got }()
	<-began
	r.becomes(served(t, func(http.ResponseWriter, *http.Request) {}), target.Healthy)
	r.becomes(address, target.Unhealthy)
	close(release)
	if got := <-status; got != 200 {
		t.Errorf("got %d", got)
	}
}

// Targets of an HTTPS group are spoken to over TLS, whoever signed their
// certificate.
func TestTargetsOverTLS(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secure") }))
	defer secure.Close()
	_, mute := listening(t)
	for _, test := range []struct {
		address string
		timeout time.Duration
		status  int
		want    Outcome
	}{
		{secure.Listener.Addr().String(), time.Hour, 200, Forwarded},
		{served(t, func(http.ResponseWriter, *http.Request) {}), time.Hour, 502, Refused},
		{mute, 50 * time.Millisecond, 504, ConnectTimeout},
	} {
		r := newRig(t, model.Application, nil, func(o *Options) { o.ConnectTimeout = test.timeout })
		r.state.Balancers[0].Listeners[0].Groups[0].Protocol = "HTTPS"
		r.becomes(test.address, target.Healthy)
		status, _ := r.ask(http.MethodGet, "/", "")
		if e := r.entry(); status != test.status || e.Outcome != test.want {
			t.Errorf("got %d, %+v, want %v", status, e, test)
		}
	}
}

func TestTraceID(t *testing.T) {
	now := time.Unix(0x5f000000, 0)
	for before, want := range map[string]string{"": "Root=1-5f000000-", "Root=1-2-3": "Self=1-5f000000-", "a=b": "a=b;Root=1-5f000000-", "Self=0;Root=1-2-3;a=b": "Self=1-5f000000-"} {
		if got := traceID(before, now); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, strings.TrimPrefix(before, "Self=0;")) && !strings.HasPrefix(got, before) {
			t.Errorf("%q: got %q", before, got)
		}
	}
}
