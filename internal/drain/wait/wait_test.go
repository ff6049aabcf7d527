package wait_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain/wait"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// settings are of a pod whose deadline is 168 s after the deletion.
var settings = drain.Pod{
	Namespace: "shop", Name: "web-0", UID: "uid-0", Endpoint: "tgc-drain.test:8082, tgc-drain.test:8082",
	HoldSeconds: 45, LateSeconds: 120, ShutdownSeconds: 30,
}

const deadline = 168 * time.Second

// controller is several replicas that answer as the real ones do, out of what each
// knows. It is reached within the process, so that time can be the bubble's.
type controller struct {
	t  *testing.T
	mu sync.Mutex
	// replicas by address.
	replicas map[string]*replica
	asked    []time.Time
}

// replica is what one replica knows of the pod.
type replica struct {
	state   drain.State
	reason  target.Reason
	grace   int64
	since   time.Time // when it learned of the deregistration
	down    bool      // refuses connections
	dark    bool      // takes connections and says nothing
	changed chan struct{}
}

func newController(t *testing.T, addresses ...string) *controller {
	c := &controller{t: t, replicas: map[string]*replica{}}
	for _, address := range addresses {
		c.replicas[address] = &replica{state: drain.StillRegistered, grace: 200, changed: make(chan struct{})}
	}
	return c
}

// learn changes what a replica knows.
func (c *controller) learn(address string, change func(*replica)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.replicas[address]
	change(r)
	close(r.changed)
	r.changed = make(chan struct{})
}

// deregister makes replicas learn of a deregistration now.
func (c *controller) deregister(addresses ...string) {
	for _, address := range addresses {
		c.learn(address, func(r *replica) { r.state, r.reason, r.since = drain.Deregistered, "", time.Now() })
	}
}

func (c *controller) asker() *wait.Asker {
	return &wait.Asker{
		Lookup: func(context.Context, string) ([]string, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			var all []string
			for address := range c.replicas {
				all = append(all, address)
			}
			return all, nil
		},
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.replicas[host].down {
				return nil, errors.New("connection refused")
			}
			client, server := net.Pipe()
			once := &onceListener{conn: make(chan net.Conn, 1)}
			once.conn <- server
			go func() { _ = (&http.Server{Handler: c.handler(host)}).Serve(once) }() // it ends with its connection
			return &both{Conn: client, listener: once}, nil
		},
	}
}

func (c *controller) handler(address string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if r.URL.Path != drain.Path || query.Get(drain.ParamUID) != settings.UID ||
			query.Get(drain.ParamNamespace) != settings.Namespace || query.Get(drain.ParamName) != settings.Name {
			c.t.Errorf("asked %s", r.URL)
		}
		late := time.After(drain.LongPoll)
		c.mu.Lock()
		c.asked = append(c.asked, time.Now())
		c.mu.Unlock()
		for {
			c.mu.Lock()
			now := *c.replicas[address]
			c.mu.Unlock()
			answer := drain.Answer{State: now.state, Reason: now.reason, GraceSeconds: now.grace}
			if now.state == drain.Deregistered {
				answer.SinceMillis = time.Since(now.since).Milliseconds()
			}
			if !now.dark && answer.Known() != query.Get(drain.ParamKnown) {
				_ = json.NewEncoder(w).Encode(answer)
				return
			}
			select {
			case <-now.changed:
			case <-late:
				if !now.dark {
					_ = json.NewEncoder(w).Encode(answer)
					return
				}
			case <-r.Context().Done():
				return
			}
		}
	})
}

// onceListener gives one connection, and ends with it.
type onceListener struct {
	conn chan net.Conn
	once sync.Once
}

func (l *onceListener) Accept() (net.Conn, error) {
	if conn, ok := <-l.conn; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l *onceListener) Close() error   { l.once.Do(func() { close(l.conn) }); return nil }
func (l *onceListener) Addr() net.Addr { return &net.UnixAddr{} }

type both struct {
	net.Conn
	listener *onceListener
}

func (b *both) Close() error { return errors.Join(b.Conn.Close(), b.listener.Close()) }

// waited runs Wait to its end and tells how long it took, and what it said.
func waited(ctx context.Context, c *controller) (time.Duration, string) {
	var output strings.Builder
	options := wait.Options{Output: &output}
	if c != nil {
		options.Asker = c.asker()
	}
	start := time.Now()
	wait.Wait(ctx, settings, options)
	took := time.Since(start)
	synctest.Wait()
	return took, output.String()
}

func in(d time.Duration, f func()) { time.AfterFunc(d, f) }

func TestWait(t *testing.T) {
	const one, two = "10.0.0.1", "10.0.0.2"
	for _, c := range []struct {
		name string
		// play says what happens, from the start of the hook on.
		play        func(*controller)
		least, most time.Duration
		says        string
	}{
		{
			"deregistered after 12 ms", func(c *controller) { in(12*time.Millisecond, func() { c.deregister(one, two) }) },
			45*time.Second + 12*time.Millisecond, 45*time.Second + 20*time.Millisecond, "deregistered, serving on for 45s",
		},
		{
			"deregistered before it asked", func(c *controller) { c.deregister(one, two); time.Sleep(10 * time.Second) },
			35 * time.Second, 35*time.Second + 10*time.Millisecond, "no load balancer sends",
		},
		{
			"deregistration throttled for 60 s", func(c *controller) {
				c.learn(one, func(r *replica) { r.reason = target.Throttled })
				c.learn(two, func(r *replica) { r.reason = target.Throttled })
				in(time.Minute, func() { c.deregister(one, two) })
			},
			105 * time.Second, 106 * time.Second, "still registered (Throttled)",
		},
		{
			"denied: to the deadline", func(c *controller) {
				c.learn(one, func(r *replica) { r.reason = target.AccessDenied })
				c.learn(two, func(r *replica) { r.reason = target.AccessDenied })
			},
			deadline, deadline, "requests may still come (Registered)",
		},
		{
			"no replica can be reached: own clock, to the deadline", func(c *controller) {
				c.learn(one, func(r *replica) { r.down = true })
				c.learn(two, func(r *replica) { r.down = true })
			},
			deadline, deadline, "requests may still come (Asking)",
		},
		{
			"replicas that say nothing: own clock, to the deadline", func(c *controller) {
				c.learn(one, func(r *replica) { r.dark = true })
				c.learn(two, func(r *replica) { r.dark = true })
			},
			deadline, deadline, "requests may still come (Asking)",
		},
		{
			"one replica is gone", func(c *controller) {
				c.learn(one, func(r *replica) { r.down = true })
				in(time.Second, func() { c.deregister(two) })
			},
			46 * time.Second, 47 * time.Second, "",
		},
		{
			"the controller comes back", func(c *controller) {
				c.learn(one, func(r *replica) { r.down = true })
				c.learn(two, func(r *replica) { r.down = true })
				in(50*time.Second, func() {
					c.learn(one, func(r *replica) { r.down = false })
					c.deregister(one)
				})
			},
			95 * time.Second, 101 * time.Second, "",
		},
		{
			// The replica that comes later counts from when it saw it. What was
			// learned from the first stands.
			"the leader changes in the middle", func(c *controller) {
				in(time.Second, func() { c.deregister(one, two) })
				in(20*time.Second, func() {
					c.learn(one, func(r *replica) { r.down = true })
					c.learn(two, func(r *replica) { r.since, r.grace = time.Now(), 201 })
				})
			},
			46 * time.Second, 46*time.Second + 10*time.Millisecond, "",
		},
		{
			"a replica with an older memory", func(c *controller) {
				in(time.Second, func() { c.deregister(one, two) })
				in(20*time.Second, func() {
					for _, address := range []string{one, two} {
						c.learn(address, func(r *replica) { r.state = drain.StillRegistered })
					}
				})
			},
			46 * time.Second, 46*time.Second + 10*time.Millisecond, "",
		},
		{
			"liveness restart", func(c *controller) {
				for _, address := range []string{one, two} {
					c.learn(address, func(r *replica) { r.state, r.grace = drain.Staying, 0 })
				}
			},
			0, 10 * time.Millisecond, "only this container ends",
		},
		{
			"in no target group", func(c *controller) {
				for _, address := range []string{one, two} {
					c.learn(address, func(r *replica) { r.state = drain.NotRegistered })
				}
			},
			0, 10 * time.Millisecond, "",
		},
		{
			"grace period shortened on the way", func(c *controller) {
				in(time.Second, func() { c.deregister(one, two) })
				in(10*time.Second, func() {
					for _, address := range []string{one, two} {
						c.learn(address, func(r *replica) { r.grace = 60 })
					}
				})
			},
			28 * time.Second, 28 * time.Second, "which is too early",
		},
		{
			"a longer grace period than the pod was given at least", func(c *controller) {
				for _, address := range []string{one, two} {
					c.learn(address, func(r *replica) { r.grace = 600 })
				}
				in(300*time.Second, func() { c.deregister(one, two) })
			},
			345 * time.Second, 346 * time.Second, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctl := newController(t, one, two)
				c.play(ctl)
				took, said := waited(t.Context(), ctl)
				if took < c.least || took > c.most {
					t.Errorf("took %v, want %v to %v; said\n%s", took, c.least, c.most, said)
				}
				if !strings.Contains(said, c.says) {
					t.Errorf("said\n%s\nwant %q", said, c.says)
				}
				ctl.askedWithMeasure(took)
			})
		})
	}
}

// askedWithMeasure fails if the controller was asked much more often than it had news.
func (c *controller) askedWithMeasure(took time.Duration) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if most := 20 + int(took/(2*time.Second)); len(c.asked) > most {
		c.t.Errorf("asked %d times in %v", len(c.asked), took)
	}
	slices.SortFunc(c.asked, time.Time.Compare)
}

func TestWaitWithoutAnybodyToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if took, said := waited(t.Context(), nil); took != deadline {
			t.Errorf("took %v; said\n%s", took, said)
		}
	})
}

func TestWaitEndsWhenToldTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in(3*time.Second, cancel)
		if took, said := waited(ctx, newController(t, "10.0.0.1")); took != 3*time.Second || !strings.Contains(said, "told to end") {
			t.Errorf("took %v; said\n%s", took, said)
		}
	})
}
