package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// pod answers like lab.local/web, and fails the test if header and body of a
// request do not have the same id.
func pod(t *testing.T, name string, c *Collector) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(headerID)
		var body witness
		if err := json.NewDecoder(r.Body).Decode(&body); err == nil && body.Request != id {
			t.Errorf("the header says %q, the body %q", id, body.Request)
		}
		io.Copy(io.Discard, r.Body)
		c.Reached(id, name)
		if latency, err := time.ParseDuration(r.URL.Query().Get("latency")); err == nil {
			time.Sleep(latency)
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set(headerPod, name)
		rw.Header().Set(headerID, id)
		json.NewEncoder(rw).Encode(witness{name, id})
	}
}

func serve(t *testing.T, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func run(t *testing.T, o Options) Result {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != r.Answered+r.Lost || r.Outstanding != 0 {
		t.Errorf("%d sent, %d answered, %d lost, %d outstanding", r.Sent, r.Answered, r.Lost, r.Outstanding)
	}
	return r
}

func TestAllKindsAreAnswered(t *testing.T) {
	c := NewCollector()
	echo := &Echo{Pod: "pod-echo", Collector: c}
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- echo.Serve(l) }()
	r := run(t, Options{
		Targets: []string{serve(t, pod(t, "pod-a", c)), serve(t, pod(t, "pod-b", c)), "tcp://" + l.Addr().String()},
		Rate:    2000, Duration: 300 * time.Millisecond, Arrivals: Uniform,
		Mix:  Mix{KeepAlive: 1, New: 1, Long: 1, Slow: 1, Raw: 1, Flow: 1},
		Long: 50 * time.Millisecond, Pause: 20 * time.Millisecond, Collector: c,
	})
	if r.Sent != 600 || r.Answered != 600 || r.Duplicates.Count != 0 || r.Duplicates.Reached != 600 {
		t.Errorf("%+v of %+v", r.Losses, r)
	}
	if r.UpperBound != 3.0/600 {
		t.Errorf("the upper bound is %v", r.UpperBound)
	}
	for name, least := range map[Kind]time.Duration{Long: 50 * time.Millisecond, Slow: 40 * time.Millisecond} {
		for _, p := range r.Kinds {
			if p.Name == string(name) && p.Latency.P50 < least {
				t.Errorf("%s takes %v, want at least %v", name, p.Latency.P50, least)
			}
		}
	}
	if len(r.Pods) != 3 || len(r.Kinds) != 6 || len(r.Targets) != 3 || r.Service.P50 > r.Latency.P50 {
		t.Errorf("%+v", r)
	}
	l.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the echo ended with %v", err)
	}
}

func TestConnections(t *testing.T) {
	for kind, want := range map[Kind]int{KeepAlive: 1, New: 20} {
		var mu sync.Mutex
		connections := 0
		s := httptest.NewUnstartedServer(pod(t, "p", NewCollector()))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				mu.Lock()
				defer mu.Unlock()
				connections++
			}
		}
		s.Start()
		// One at a time, so that the kept connection is free for the next.
		o := Options{Targets: []string{s.URL}, Rate: 1, Mix: Mix{kind: 1}}.withDefaults()
		targets, err := o.targets()
		if err != nil {
			t.Fatal(err)
		}
		w, plan := newWeb(o), newSchedule(o, targets)
		for range 20 {
			if a := w.exchange(t.Context(), plan.next()); a.class != "" {
				t.Errorf("%s: %v", kind, a.err)
			}
		}
		w.close()
		s.Close()
		if connections != want {
			t.Errorf("%s: %d connections for 20 requests, want %d", kind, connections, want)
		}
	}
}

// hostile reads requests and does with each, the nth on its connection, what it
// is told to.
func hostile(t *testing.T, c *Collector, do func(conn net.Conn, r *http.Request, n int)) string {
	l := listen(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				from := bufio.NewReader(conn)
				for n := 0; ; n++ {
					r, err := http.ReadRequest(from)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					c.Reached(r.Header.Get(headerID), "hostile")
					do(conn, r, n)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func good(id string) string {
	return "HTTP/1.1 200 OK\r\nX-Pod: hostile\r\nX-Request-Id: " + id + "\r\nContent-Length: 2\r\n\r\nok"
}

func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// A kept connection that the server closes when the second request is on it: net/http
// sends requests that it may repeat once more, and nobody hears of the loss.
func TestNothingIsSentTwice(t *testing.T) {
	for name, end := range map[string]func(net.Conn){"close": func(c net.Conn) { c.Close() }, "reset": reset} {
		for _, kind := range []Kind{KeepAlive, Slow} {
			c := NewCollector()
			url := hostile(t, c, func(conn net.Conn, r *http.Request, n int) {
				if n > 0 {
					end(conn)
					return
				}
				io.WriteString(conn, good(r.Header.Get(headerID)))
			})
			o := Options{Targets: []string{url}, Rate: 1, Run: "r", Mix: Mix{kind: 1}, Pause: time.Microsecond}.withDefaults()
			targets, err := o.targets()
			if err != nil {
				t.Fatal(err)
			}
			w, plan := newWeb(o), newSchedule(o, targets)
			failed := 0
			for range 40 {
				if a := w.exchange(t.Context(), plan.next()); a.class != "" {
					failed++
					if !a.reused || a.class != EOF && a.class != Reset {
						t.Errorf("%s, %s: %s: %v, reused %v", name, kind, a.class, a.err, a.reused)
					}
				}
			}
			w.close()
			if d := c.Duplicates("r"); d.Reached != 40 || d.Count != 0 || failed != 20 {
				t.Errorf("%s, %s: %d of 40 failed, %+v", name, kind, failed, d)
			}
		}
	}
}

// That the test above would see it: the same with requests that can be repeated.
func TestRepeatableRequestsWouldHideLosses(t *testing.T) {
	c := NewCollector()
	url := hostile(t, c, func(conn net.Conn, r *http.Request, n int) {
		if n > 0 {
			conn.Close()
			return
		}
		io.WriteString(conn, good(r.Header.Get(headerID)))
	})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, id := range []string{"r-0", "r-1"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(headerID, id)
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if d := c.Duplicates("r"); d.Count != 1 {
		t.Errorf("%+v: net/http repeats no GET any more?", d)
	}
}

func TestClasses(t *testing.T) {
	say := func(answer string) func(net.Conn, *http.Request, int) {
		return func(conn net.Conn, r *http.Request, _ int) {
			io.WriteString(conn, strings.ReplaceAll(answer, "ID", r.Header.Get(headerID)))
			conn.Close()
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct {
		do   func(net.Conn, *http.Request, int)
		want Class
	}{
		"closed":            {func(conn net.Conn, _ *http.Request, _ int) { conn.Close() }, EOF},
		"reset":             {func(conn net.Conn, _ *http.Request, _ int) { reset(conn) }, Reset},
		"amid the header":   {say(ok + "X-Pod: a"), EOF},
		"amid the body":     {say(ok + "X-Pod: a\r\nX-Request-Id: ID\r\nContent-Length: 10\r\n\r\nshort"), EOF},
		"bad gateway":       {say("HTTP/1.1 502 Bad Gateway\r\n\r\n"), "status-502"},
		"no target":         {say("HTTP/1.1 503 Service Unavailable\r\n\r\n"), "status-503"},
		"gateway timeout":   {say("HTTP/1.1 504 Gateway Timeout\r\n\r\n"), "status-504"},
		"redirect":          {say("HTTP/1.1 307 Elsewhere\r\nLocation: /\r\n\r\n"), "status-307"},
		"502 with proof":    {say("HTTP/1.1 502 Bad Gateway\r\nX-Pod: a\r\nX-Request-Id: ID\r\n\r\n"), "status-502"},
		"another's answer":  {say(ok + "X-Pod: a\r\nX-Request-Id: other\r\n\r\n"), WrongID},
		"no pod":            {say(ok + "X-Request-Id: ID\r\n\r\n"), NoProof},
		"no id":             {say(ok + "X-Pod: a\r\n\r\n"), NoProof},
		"not HTTP":          {say("SSH-2.0-hello\r\n\r\n"), Garbled},
		"not JSON":          {say(ok + "X-Pod: a\r\nX-Request-Id: ID\r\nContent-Type: application/json\r\n\r\n{"), Garbled},
		"two pods":          {say(ok + "X-Pod: a\r\nX-Request-Id: ID\r\nContent-Type: application/json\r\n\r\n{\"pod\":\"b\"}"), Garbled},
		"two ids":           {say(ok + "X-Pod: a\r\nX-Request-Id: ID\r\nContent-Type: application/json\r\n\r\n{\"request\":\"b\"}"), Garbled},
		"no end":            {say(ok + "X-Pod: a\r\nX-Request-Id: ID\r\n\r\n" + strings.Repeat("x", maxAnswer+1)), Garbled},
		"proof in the body": {say(ok + "Content-Type: application/json\r\n\r\n{\"pod\":\"a\",\"request\":\"ID\"}"), ""},
		"hangs":             {func(net.Conn, *http.Request, int) {}, Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute
			if c.want == Timeout {
				timeout = 50 * time.Millisecond
			}
			collector := NewCollector()
			r := run(t, Options{
				Targets: []string{hostile(t, collector, c.do)}, Rate: 1000, Arrivals: Uniform,
				Duration: 5 * time.Millisecond, Timeout: timeout, KeepLosses: 3, Collector: collector,
			})
			want := map[Class]int{c.want: 5}
			if c.want == "" {
				want = map[Class]int{}
			}
			if !reflect.DeepEqual(r.Classes, want) || r.Sent != 5 {
				t.Fatalf("%d sent, %v, want 5 of %q: %+v", r.Sent, r.Classes, c.want, r.Losses)
			}
			if c.want != "" && (len(r.Losses) != 3 || r.Losses[0].Error == "") {
				t.Errorf("losses %+v", r.Losses)
			}
			// What is given up so soon may not have left yet.
			if c.want != "" && c.want != Timeout && (r.Losses[0].Pod == "" || r.Losses[0].From == "") {
				t.Errorf("losses %+v", r.Losses)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	l := listen(t)
	address := l.Addr().String()
	l.Close()
	r := run(t, Options{
		Targets: []string{"http://" + address, "tcp://" + address}, Mix: Mix{New: 1, Raw: 1},
		Rate: 1000, Arrivals: Uniform, Duration: 20 * time.Millisecond,
	})
	if r.Classes[Refused] != 20 || r.Lost != 20 || r.Latency.Count != 0 {
		t.Errorf("%v: %+v", r.Classes, r.Losses)
	}
}

func TestRawClasses(t *testing.T) {
	for answer, want := range map[string]Class{
		"": EOF, "half": EOF, "one-word\n": Garbled, "other-1 pod\n": WrongID, "r-0 \n": NoProof,
		strings.Repeat("x", maxLine+1): Garbled, "r-0 pod\n": "",
	} {
		l := listen(t)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadString('\n')
			io.WriteString(conn, answer)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
			conn.Close()
		}()
		o := Options{Targets: []string{"tcp://" + l.Addr().String()}, Rate: 1, Run: "r", Mix: Mix{Raw: 1}}.withDefaults()
		targets, err := o.targets()
		if err != nil {
			t.Fatal(err)
		}
		if got := o.raw(t.Context(), newSchedule(o, targets).next()); got.class != want || got.from == "" {
			t.Errorf("%.20q is %q (%v), want %q", answer, got.class, got.err, want)
		}
	}
}

// A flow carries one request after the other. A server that ends says so in an answer, so
// that nobody loses a request to the end of a kept connection; a client that finds it
// closed without a word does.
func TestFlowsEndInOrder(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		l := &countedListener{Listener: listen(t)}
		served := make(chan error, 1)
		go func() { served <- (&Echo{Pod: "p"}).Serve(l) }()
		o := Options{Targets: []string{"tcp://" + l.Addr().String()}, Rate: 1, Run: "r", Mix: Mix{Flow: 1}}.withDefaults()
		targets, err := o.targets()
		if err != nil {
			t.Fatal(err)
		}
		f, plan := newFlows(o), newSchedule(o, targets)
		for i := range 20 {
			if got := f.exchange(t.Context(), plan.next()); got.class != "" || got.reused != (i > 0) || got.from == "" {
				t.Errorf("request %d: %+v", i, got)
			}
		}
		l.Close()
		if !orderly {
			l.first.Close()
		}
		got := f.exchange(t.Context(), plan.next())
		if (got.class == "") != orderly || !got.reused {
			t.Errorf("orderly %t: at the end %+v", orderly, got)
		}
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the echo ended with %v", err)
		}
		if got := f.exchange(t.Context(), plan.next()); got.class != Refused || got.reused {
			t.Errorf("after the end %+v", got)
		}
		f.close()
	}
}

// countedListener keeps the first connection, and takes no other.
type countedListener struct {
	net.Listener
	first net.Conn
}

func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.first = conn
	}
	return conn, err
}

// A flow that was not used for long is left, since the other side may be about to close it.
func TestFlowsThatRestedAreLeft(t *testing.T) {
	l := listen(t)
	go (&Echo{Pod: "p"}).Serve(l)
	o := Options{Targets: []string{"tcp://" + l.Addr().String()}, Rate: 1, Run: "r", Mix: Mix{Flow: 1}, Idle: time.Nanosecond}.withDefaults()
	targets, err := o.targets()
	if err != nil {
		t.Fatal(err)
	}
	f, plan := newFlows(o), newSchedule(o, targets)
	defer f.close()
	for range 3 {
		if got := f.exchange(t.Context(), plan.next()); got.class != "" || got.reused {
			t.Errorf("got %+v", got)
		}
	}
	l.Close()
}

func TestDuplicatesAreSeen(t *testing.T) {
	c := NewCollector()
	behind := []http.HandlerFunc{pod(t, "a", c), pod(t, "b", c)}
	url := serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		behind[0](httptest.NewRecorder(), r.Clone(r.Context()))
		r.Body = http.NoBody
		behind[1](rw, r)
	}))
	r := run(t, Options{Targets: []string{url}, Rate: 1000, Arrivals: Uniform, Duration: 10 * time.Millisecond, Collector: c})
	if r.Duplicates.Count != 10 || r.Answered != 10 || !reflect.DeepEqual(r.Duplicates.First[0].Pods, []string{"a", "b"}) {
		t.Errorf("%+v", r.Duplicates)
	}
}

// A second answer on a kept connection must never pass for that of another request.
func TestAnswersTooMany(t *testing.T) {
	c := NewCollector()
	url := hostile(t, c, func(conn net.Conn, r *http.Request, n int) {
		answer := good(r.Header.Get(headerID))
		if n == 1 {
			answer = good("stale-1") + answer
		}
		io.WriteString(conn, answer)
	})
	o := Options{Targets: []string{url}, Rate: 1, Run: "r"}.withDefaults()
	targets, err := o.targets()
	if err != nil {
		t.Fatal(err)
	}
	w, plan := newWeb(o), newSchedule(o, targets)
	defer w.close()
	for i, want := range []Class{"", WrongID} {
		if a := w.exchange(t.Context(), plan.next()); a.class != want {
			t.Errorf("request %d: %q, %v, want %q", i, a.class, a.err, want)
		}
	}
}

// What is sent, and when it is due, is the same whether servers answer or hang.
func TestScheduleIsIndependentOfAnswers(t *testing.T) {
	type sent struct {
		id, kind string
		due      time.Duration
	}
	var seen []map[sent]bool
	for _, do := range []func(net.Conn, *http.Request, int){
		func(conn net.Conn, _ *http.Request, _ int) {
			io.WriteString(conn, "HTTP/1.1 503 No\r\n\r\n")
			conn.Close()
		},
		func(net.Conn, *http.Request, int) {},
	} {
		r := run(t, Options{
			Targets: []string{hostile(t, NewCollector(), do)}, Rate: 1000, Duration: 200 * time.Millisecond, Run: "r", Seed: 5,
			Mix: Mix{KeepAlive: 1, New: 1}, Drain: time.Millisecond,
		})
		all := map[sent]bool{}
		for _, l := range r.Losses {
			all[sent{l.ID, string(l.Kind), l.Due}] = true
		}
		seen = append(seen, all)
	}
	if len(seen[0]) < 100 || !reflect.DeepEqual(seen[0], seen[1]) {
		t.Errorf("%d requests to a server that answers, %d to one that hangs, or not the same", len(seen[0]), len(seen[1]))
	}
}

func TestStopLeavesTimeForAnswers(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c := NewCollector()
	h := pod(t, "p", c)
	url := serve(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(arrived) })
		<-release
		h(rw, r)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	g, err := Start(ctx, Options{Targets: []string{url}, Rate: 500})
	if err != nil {
		t.Fatal(err)
	}
	<-arrived
	if s := g.Snapshot(); s.Outstanding == 0 || s.Elapsed <= 0 {
		t.Errorf("a request has arrived, and %d are outstanding", s.Outstanding)
	}
	cancel()
	close(release)
	if r := g.Stop(); r.Sent == 0 || r.Lost != 0 || r.Outstanding != 0 {
		t.Errorf("%d sent, %v", r.Sent, r.Losses)
	}
}

func TestUnanswered(t *testing.T) {
	l := listen(t) // accepts by its backlog and says nothing
	r := run(t, Options{
		Targets: []string{"http://" + l.Addr().String(), "tcp://" + l.Addr().String()}, Mix: Mix{KeepAlive: 1, New: 1, Slow: 1, Raw: 1},
		Rate: 1000, Arrivals: Uniform, Duration: 40 * time.Millisecond, Drain: time.Millisecond, KeepLosses: 7,
	})
	if r.Classes[Unanswered] != 40 || len(r.Losses) != 7 {
		t.Errorf("%v, %d kept", r.Classes, len(r.Losses))
	}
}

func TestOwnLatenessIsReported(t *testing.T) {
	r := run(t, Options{
		Targets: []string{serve(t, pod(t, "p", NewCollector()))}, Rate: 1000, Arrivals: Uniform, Duration: 50 * time.Millisecond,
		Late: time.Nanosecond, // nobody is that punctual
	})
	if p := r.Punctuality; p.Late != 50 || p.Kept || p.Lag.Max <= 0 {
		t.Errorf("%+v", p)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "WARNING") {
		t.Errorf("%v\n%s", err, &text)
	}
}

func TestSkippedIsNotSent(t *testing.T) {
	l := listen(t)
	r := run(t, Options{
		Targets: []string{"http://" + l.Addr().String()}, Rate: 1000, Arrivals: Uniform,
		Duration: 30 * time.Millisecond, Drain: time.Millisecond, MaxOutstanding: 10, Late: time.Hour,
	})
	if p := r.Punctuality; r.Sent != 10 || p.Skipped != 20 || p.Kept {
		t.Errorf("%d sent, %+v", r.Sent, p)
	}
}
