package dataplane

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func TestListenersComeAndGo(t *testing.T) {
	r := newRig(t, model.Application, nil, func(o *Options) { o.Nodes = 3 })
	nodes := r.Balancers()[0].Listeners[0].Nodes
	if len(nodes) != 3 || nodes[0] == nodes[1] {
		t.Fatalf("got %v", nodes)
	}
	r.state.Anew = true
	r.update()
	r.state.Anew = false
	if again := r.Balancers()[0].Listeners[0].Nodes; strings.Join(again, " ") != strings.Join(nodes, " ") {
		t.Errorf("after a reset nodes are at %v, before at %v", again, nodes)
	}
	r.state.Balancers[0].Listeners = nil
	r.update()
	if c, err := dialed(t, nodes[0]); err == nil {
		c.Close()
		t.Error("a listener that is gone still listens")
	}
}

func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		within string
		host   int
		want   string
	}{{"127.127.0.0/16", 1, "127.127.0.1"}, {"127.127.0.0/16", 513, "127.127.2.1"}, {"127.0.0.1/32", 513, "127.0.0.1"}, {"127.9.9.0/28", 17, "127.9.9.1"}} {
		if got := addressOf(netip.MustParsePrefix(test.within), test.host).String(); got != test.want {
			t.Errorf("%s, host %d: got %s, want %s", test.within, test.host, got, test.want)
		}
	}
}

// Until a node has learned of a deregistration it goes on starting what is new on
// the target: requests, also on pooled connections, and flows.
func TestNodesSendUntilTheyHaveLearned(t *testing.T) {
	for _, kind := range []model.BalancerType{model.Application, model.Network} {
		for delay, want := range map[time.Duration]Outcome{time.Hour: Forwarded, 0: NoTarget} {
			late := &routing.Profile{Deregister: routing.Spread{Min: delay, Max: delay}}
			r := newRig(t, kind, nil, func(o *Options) { o.ALB, o.NLB = late, late })
			address := served(t, func(http.ResponseWriter, *http.Request) {})
			r.becomes(address, target.Healthy)
			r.ask(http.MethodGet, "/", "")
			r.entry()
			r.becomes(address, target.Draining)
			if kind == model.Application {
				r.ask(http.MethodGet, "/", "")
			} else if c, err := dialed(t, r.node(0)); err == nil { // else it was reset at once
				c.Close()
			}
			if e := r.entry(); e.Outcome != want || e.Reused != (kind == model.Application && want == Forwarded) {
				t.Errorf("%s, a delay of %v: got %+v", kind, delay, e)
			}
		}
	}
}

// Each node tells what it learns, in order.
func TestNodesTellWhatTheyLearn(t *testing.T) {
	var mu sync.Mutex
	told := map[int][]target.State{}
	const address = "10.0.0.1:80"
	r := newRig(t, model.Application, nil, func(o *Options) {
		o.Nodes = 2
		o.OnNews = func(n News) {
			mu.Lock()
			defer mu.Unlock()
			if n.LoadBalancer != "front" || n.Group != "g" || n.Target != address || n.At.IsZero() {
				t.Errorf("got %+v", n)
			}
			told[n.Node] = append(told[n.Node], n.State)
		}
	})
	states := []target.State{target.Initial, target.Healthy, target.Draining, ""}
	for _, state := range states {
		r.becomes(address, state)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 2 || !slices.Equal(told[0], states) || !slices.Equal(told[1], states) {
		t.Errorf("got %v", told)
	}
}

// Without cross-zone a node sends to targets of its own zone, healthy or not if
// none there is healthy; one in a zone without targets has none to send to.
func TestZonesWithoutCrossZone(t *testing.T) {
	for _, kind := range []model.BalancerType{model.Application, model.Network} {
		r := newRig(t, kind, map[string]string{"load_balancing.cross_zone.enabled": "false"}, func(o *Options) { o.Nodes = 2 })
		ill, well := served(t, func(http.ResponseWriter, *http.Request) {}), served(t, func(http.ResponseWriter, *http.Request) {})
		r.becomes(ill, target.Unhealthy) // in zone za
		for node, want := range []string{ill, ""} {
			r.expectTarget(node, want)
		}
		r.zone = "zb"
		r.becomes(well, target.Healthy)
		for node, want := range []string{ill, well} {
			r.expectTarget(node, want)
		}
		for _, on := range []string{"true", "use_load_balancer_configuration"} {
			r.state.Balancers[0].Listeners[0].Groups[0].Attributes = map[string]string{"load_balancing.cross_zone.enabled": on}
			r.update()
			for node, want := range []string{well, well} {
				r.expectTarget(node, want)
			}
		}
	}
}

// expectTarget fails unless a node sends what is new to a target, or to none.
func (r *rig) expectTarget(node int, want string) {
	r.t.Helper()
	request, _ := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.node(node), nil)
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err == nil {
		response.Body.Close()
	}
	if e := r.entry(); e.Target != want || (e.Outcome == NoTarget) != (want == "") || err != nil && want != "" {
		r.t.Errorf("node %d: got %+v, %v, want %s", node, e, err, want)
	}
}

func TestListenersWithSeveralGroups(t *testing.T) {
	r := newRig(t, model.Application, nil, nil)
	groups := &r.state.Balancers[0].Listeners[0].Groups
	*groups = append(*groups, Group{ARN: "h", Protocol: "HTTP"})
	r.becomes(served(t, func(http.ResponseWriter, *http.Request) {}), target.Healthy) // in group g
	outcomes := map[string]int{}
	for range 6 {
		r.ask(http.MethodGet, "/", "")
		e := r.entry()
		outcomes[e.Group+" "+string(e.Outcome)]++
	}
	if outcomes["g forwarded"] != 3 || outcomes["h no-target"] != 3 {
		t.Errorf("got %v", outcomes)
	}
}

// Too few healthy targets count as none.
func TestTooFewHealthyTargetsFailOpen(t *testing.T) {
	r := newRig(t, model.Application, map[string]string{
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count":      "1",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "50",
	}, nil)
	used := func() map[string]bool {
		targets := map[string]bool{}
		for range 6 {
			r.ask(http.MethodGet, "/", "")
			targets[r.entry().Target] = true
		}
		return targets
	}
	for i, want := range []int{1, 1, 3} { // one healthy of one, of two, of three
		state := target.Unhealthy
		if i == 0 {
			state = target.Healthy
		}
		r.becomes(served(t, func(http.ResponseWriter, *http.Request) {}), state)
		if got := used(); len(got) != want {
			t.Errorf("with %d targets %d got requests", i+1, len(got))
		}
	}
}

func TestTheLogKeepsTheLatest(t *testing.T) {
	r := newRig(t, model.Application, nil, func(o *Options) { o.LogLimit = 3 })
	for range 5 {
		r.ask(http.MethodGet, "/", "")
		r.entry()
	}
	var seqs []uint64
	for _, e := range r.Entries(0) {
		seqs = append(seqs, e.Seq)
	}
	if len(seqs) != 3 || seqs[0] != 3 || seqs[2] != 5 || len(r.Entries(4)) != 1 || len(r.Entries(9)) != 0 {
		t.Errorf("kept %v", seqs)
	}
}

// Close cuts off what runs, and leaves nothing behind.
func TestCloseLeavesNothing(t *testing.T) {
	for _, kind := range []model.BalancerType{model.Application, model.Network} {
		began := make(chan struct{}, 1)
		r := newRig(t, kind, nil, nil)
		l, address := listening(t)
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			began <- struct{}{}
			buffer := make([]byte, 1000)
			for err == nil {
				_, err = c.Read(buffer)
			}
		}()
		r.becomes(address, target.Healthy)
		c := r.dial()
		_, _ = c.Write([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nand no more"))
		<-began
		r.Close()
		r.entry()
		l.Close()
		c.Close()
	}
	await(t, "nothing at work", func() bool { return atWork() == "" })
}
