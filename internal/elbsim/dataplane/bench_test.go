package dataplane

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// lanes is how many clients ask at once, each on a connection of its own, spread
// over the nodes.
const lanes = 6

// BenchmarkOverhead measures requests through a load balancer against the same
// requests straight to the target. Both take turns within one run, a hundred
// requests each, so that what else the machine does hits both: times-direct is
// the median over the turns of the one's time by the other's. The allocations are
// those of the load balancer alone.
func BenchmarkOverhead(b *testing.B) {
	for _, kind := range []model.BalancerType{model.Application, model.Network} {
		for _, nodes := range []int{1, 3} {
			b.Run(fmt.Sprintf("%s/nodes=%d", kind, nodes), func(b *testing.B) { overhead(b, kind, nodes) })
		}
	}
}

func overhead(b *testing.B, kind model.BalancerType, nodes int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
	p := New(Options{Nodes: nodes, ALB: &routing.Profile{}, NLB: &routing.Profile{}, LogLimit: 1}, clock.New(1))
	defer p.Close()
	through := opened(b, p, kind, listener.Addr().String())
	straight := []string{listener.Addr().String()}
	const batch = 100
	var ratios []float64
	var took [2]time.Duration
	var allocated [2]uint64
	clients := [2][]*asker{dialAll(b, straight), dialAll(b, through)}
	for _, c := range clients {
		ask(b, c, batch) // warms up pools
	}
	for b.Loop() {
		var turn [2]time.Duration
		for i, c := range clients {
			before, began := allocations(), time.Now()
			ask(b, c, batch)
			turn[i] = time.Since(began)
			took[i] += turn[i]
			allocated[i] += allocations() - before
		}
		ratios = append(ratios, float64(turn[1])/float64(turn[0]))
	}
	slices.Sort(ratios)
	requests := float64(len(ratios) * batch)
	b.ReportMetric(ratios[len(ratios)/2], "times-direct")
	b.ReportMetric(requests/took[0].Seconds(), "direct-req/s")
	b.ReportMetric(requests/took[1].Seconds(), "req/s")
	b.ReportMetric((float64(allocated[1])-float64(allocated[0]))/requests, "allocs/req")
	b.ReportMetric(0, "ns/op") // says nothing here
}

// opened gives a load balancer one target and tells where its nodes are.
func opened(b *testing.B, p *Plane, kind model.BalancerType, at string) []string {
	protocol := map[model.BalancerType]string{model.Application: "HTTP", model.Network: "TCP"}[kind]
	addr := netip.MustParseAddrPort(at)
	err := p.Update(State{
		Balancers: []Balancer{{
			ARN: "front", Name: "front", DNSName: "front.example", Type: kind, Zones: []string{"za", "zb", "zc"},
			Listeners: []Listener{{Port: 80, Protocol: protocol, Groups: []Group{{ARN: "g", Protocol: protocol}}}},
		}},
		Changes: []model.Change{{
			At: time.Now(), Group: "g", Serial: 1, State: target.Healthy,
			Target: target.Target{Key: target.Key{Addr: addr.Addr(), Port: addr.Port()}},
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	p.Advance()
	return p.Balancers()[0].Listeners[0].Nodes
}

func allocations() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}

// asker is a client that allocates next to nothing.
type asker struct {
	conn   net.Conn
	reader *bufio.Reader
}

func dialAll(b *testing.B, addresses []string) (clients []*asker) {
	for i := range lanes {
		var d net.Dialer
		conn, err := d.DialContext(b.Context(), "tcp", addresses[i%len(addresses)])
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		clients = append(clients, &asker{conn: conn, reader: bufio.NewReader(conn)})
	}
	return clients
}

// ask makes n requests, as many at once as there are clients.
func ask(b *testing.B, clients []*asker, n int) {
	failures := make(chan error, len(clients))
	for i, c := range clients {
		share := (n + i) / len(clients)
		go func() { failures <- c.ask(share) }()
	}
	for range clients {
		if err := <-failures; err != nil {
			b.Fatal(err)
		}
	}
}

func (a *asker) ask(n int) error {
	for range n {
		if _, err := io.WriteString(a.conn, "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n"); err != nil {
			return err
		}
		for line := []byte{'x'}; len(line) > 0; { // the head, up to its empty line
			next, err := a.reader.ReadSlice('\n')
			if err != nil {
				return err
			}
			line = next[:len(next)-len("\r\n")]
		}
		if body, err := a.reader.Peek(len("hello")); err != nil || string(body) != "hello" {
			return fmt.Errorf("got %q, %w", body, err)
		}
		if _, err := a.reader.Discard(len("hello")); err != nil {
			return err
		}
	}
	return nil
}
