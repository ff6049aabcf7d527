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

// Until a node has learned of a deregistration it goes on sending.
func TestNodesSendUntilTheyHaveLearned(t *testing.T) {
	slow := routing.Spread{Min: 300 * time.Millisecond, Max: 300 * time.Millisecond}
	r := newRig(t, model.Application, nil, func(o *Options) { o.ALB = &routing.Profile{Deregister: slow} })
	address := served(t, func(http.ResponseWriter, *http.Request) {})
	r.becomes(address, target.Healthy)
	begin := time.Now()
	r.becomes(address, target.Draining)
	served := 0
	await(t, func() bool {
		asked := time.Now()
		status, _ := r.ask(http.MethodGet, "/", "")
		if status == 200 {
			served++
		}
		if status == 503 && time.Since(begin) < slow.Min || status == 200 && asked.Sub(begin) > slow.Max+time.Second {
			t.Errorf("got %d after %v", status, asked.Sub(begin))
		}
		return status == 503
	})
	if served == 0 {
		t.Error("it stopped at once")
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

func TestZonesWithoutCrossZone(t *testing.T) {
	r := newRig(t, model.Application, map[string]string{"load_balancing.cross_zone.enabled": "false"}, func(o *Options) { o.Nodes = 2 })
	r.becomes(served(t, func(http.ResponseWriter, *http.Request) {}), target.Healthy) // in zone za
	for i, want := range []int{200, 503} {
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.node(i), nil)
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("node %d: got %d, want %d", i, response.StatusCode, want)
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
	await(t, func() bool { return atWork() == "" })
}
