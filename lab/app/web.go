package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// ReadyAnnotation on a pod, with the value "false", makes its web apps answer 503
// at /readyz, as [Web] does after POST /lab/ready?to=false.
const ReadyAnnotation = "lab.targetgroupcontroller.io/ready"

// Answer is what [Web] says to a request, as JSON.
type Answer struct {
	Pod       string `json:"pod"`
	Namespace string `json:"namespace"`
	Node      string `json:"node"`
	Address   string `json:"address"`
	// Request is the id that the client sent in the header X-Request-Id.
	Request string `json:"request"`
	Path    string `json:"path"`
}

type webOptions struct {
	ports                                    []uint16
	startupDelay, latency, linger, crashTime time.Duration
	onTerm                                   string
	unready                                  bool
}

// Web is an HTTP server on the container's ports (8080 without any).
//
//	--port=8080           one port instead of those of the spec
//	--startup-delay=2s    how long until it listens
//	--latency=50ms        how long each answer takes; a request may ask for its
//	                      own with ?latency=
//	--unready             start with /readyz answering 503
//	--crash-after=3s      exit with code 1 after that time
//	--on-term=graceful    at SIGTERM close the listener, finish what is in
//	                      flight, close idle connections, exit 0 (default);
//	          =abrupt     exit at once
//	          =ignore     go on serving until killed
//	--linger=5s           at SIGTERM go on serving for that time first
//
// Each may be given as an environment variable instead: LAB_ON_TERM.
//
// It answers every path with an [Answer], the name of the pod in the header
// X-Pod and the request's X-Request-Id. Other than that:
//
//	GET  /healthz              200, or 503 after POST /lab/live?to=false
//	GET  /readyz               200, or 503 after POST /lab/ready?to=false or with
//	                           the annotation [ReadyAnnotation]
//	POST /lab/crash?code=1     exit
func Web(kill context.Context, c *Container) int {
	return runWeb(kill, c, func(string, string) {})
}

// WebReporting is [Web], but calls reached with the X-Request-Id and the name of
// the pod when a request has arrived, before it is answered.
func WebReporting(reached func(id, pod string)) App {
	return func(kill context.Context, c *Container) int { return runWeb(kill, c, reached) }
}

func runWeb(kill context.Context, c *Container, reached func(id, pod string)) int {
	options, err := webFlags(c)
	if err != nil {
		fmt.Fprintln(c.Output, err)
		return ExitUsage
	}
	w := &web{container: c, options: options, reached: reached, live: newLiveness(), crash: make(chan int, 1)}
	w.ready.Store(!options.unready)
	if options.startupDelay > 0 {
		c.Started()
		if code, ended := startLate(kill, c, options.startupDelay); ended {
			return code
		}
	}
	server := &http.Server{Handler: w.routes()}
	if err := w.serve(server); err != nil {
		fmt.Fprintln(c.Output, err)
		return 1
	}
	if options.startupDelay == 0 {
		c.Started()
	}
	return w.wait(kill, server)
}

func webFlags(c *Container) (webOptions, error) {
	var o webOptions
	flags := newFlags(c)
	port := flags.Uint("port", 0, "port")
	flags.DurationVar(&o.startupDelay, "startup-delay", 0, "time until it listens")
	flags.DurationVar(&o.latency, "latency", 0, "time of each answer")
	flags.DurationVar(&o.linger, "linger", 0, "time of serving after SIGTERM")
	flags.DurationVar(&o.crashTime, "crash-after", 0, "time until it crashes")
	flags.StringVar(&o.onTerm, "on-term", "graceful", "graceful, abrupt or ignore")
	flags.BoolVar(&o.unready, "unready", false, "start not ready")
	if err := parse(flags, c); err != nil {
		return o, err
	}
	switch o.onTerm {
	case "graceful", "abrupt", "ignore":
	default:
		return o, fmt.Errorf("--on-term=%s is none of graceful, abrupt, ignore", o.onTerm)
	}
	for _, p := range c.Ports {
		o.ports = append(o.ports, uint16(p))
	}
	if *port != 0 {
		o.ports = []uint16{uint16(*port)}
	}
	if len(o.ports) == 0 {
		o.ports = []uint16{8080}
	}
	return o, nil
}

type web struct {
	container *Container
	options   webOptions
	reached   func(id, pod string)
	ready     atomic.Bool
	live      *liveness
	crash     chan int
}

// serve listens on all ports, or on none.
func (w *web) serve(server *http.Server) error {
	var listeners []net.Listener
	for _, port := range w.options.ports {
		l, err := w.container.Listen(port)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return err
		}
		listeners = append(listeners, l)
	}
	for _, l := range listeners {
		go server.Serve(l)
	}
	return nil
}

// wait blocks until the server has ended for whatever reason.
func (w *web) wait(kill context.Context, server *http.Server) int {
	defer server.Close()
	var crashTime <-chan time.Time
	if w.options.crashTime > 0 {
		crashTime = time.After(w.options.crashTime)
	}
	terminate := w.container.Terminate
	if w.options.onTerm == "ignore" {
		terminate = nil
	}
	select {
	case <-kill.Done():
		return ExitKilled
	case code := <-w.crash:
		return code
	case <-crashTime:
		return 1
	case <-terminate:
	}
	if w.options.onTerm == "abrupt" {
		return ExitTerminated
	}
	select {
	case <-kill.Done():
		return ExitKilled
	case <-time.After(w.options.linger):
	}
	if server.Shutdown(kill) != nil {
		return ExitKilled
	}
	return 0
}

func (w *web) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", w.answer)
	w.live.serve(mux)
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) {
		verdict(rw, w.ready.Load() && w.container.Annotation(ReadyAnnotation) != "false")
	})
	mux.HandleFunc("POST /lab/ready", func(rw http.ResponseWriter, r *http.Request) { flip(rw, r, &w.ready) })
	var once sync.Once
	mux.HandleFunc("POST /lab/crash", func(rw http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.URL.Query().Get("code"))
		if err != nil {
			code = 1
		}
		rw.Header().Set("Content-Length", "0")
		http.NewResponseController(rw).Flush()
		once.Do(func() { w.crash <- code })
	})
	return mux
}

func verdict(rw http.ResponseWriter, good bool) {
	if !good {
		rw.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(rw, good)
}

func flip(rw http.ResponseWriter, r *http.Request, value *atomic.Bool) {
	to, err := strconv.ParseBool(r.URL.Query().Get("to"))
	if err != nil {
		http.Error(rw, "to must be true or false", http.StatusBadRequest)
		return
	}
	value.Store(to)
	fmt.Fprintln(rw, to)
}

func (w *web) answer(rw http.ResponseWriter, r *http.Request) {
	// An app that leaves the body unread makes the server close the
	// connection, and clients would take that for a lost request.
	io.Copy(io.Discard, r.Body)
	id := r.Header.Get("X-Request-Id")
	w.reached(id, w.container.Pod)
	latency := w.options.latency
	if own, err := time.ParseDuration(r.URL.Query().Get("latency")); err == nil {
		latency = own
	}
	if latency > 0 {
		time.Sleep(latency)
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("X-Pod", w.container.Pod)
	rw.Header().Set("X-Request-Id", id)
	json.NewEncoder(rw).Encode(Answer{
		Pod:       w.container.Pod,
		Namespace: w.container.Namespace,
		Node:      w.container.Node,
		Address:   w.container.Address.String(),
		Request:   id,
		Path:      r.URL.Path,
	})
}
