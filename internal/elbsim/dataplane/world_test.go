package dataplane

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// tooLong is only for tests that would hang otherwise.
const tooLong = 3 * time.Minute

// rig is a plane with one load balancer, its nodes learning at once unless told
// otherwise.
type rig struct {
	*Plane
	t       *testing.T
	state   State
	ended   chan Entry
	serials map[string]uint64
	zone    string // of targets
	hasty   bool   // its idle timeout is so short that clients may be too slow for it
}

func newRig(t *testing.T, kind model.BalancerType, attributes map[string]string, change func(*Options)) *rig {
	t.Helper()
	ended := make(chan Entry, 1000)
	options := Options{Nodes: 1, ALB: &routing.Profile{}, NLB: &routing.Profile{}, OnEntry: func(e Entry) { ended <- e }}
	if change != nil {
		change(&options)
	}
	protocol := "HTTP"
	if kind == model.Network {
		protocol = "TCP"
	}
	r := &rig{Plane: New(options, clock.New(1)), t: t, ended: ended, serials: map[string]uint64{}, zone: "za"}
	r.hasty = options.ALBIdle > 0 && options.ALBIdle < time.Minute
	first := atWork() == ""
	t.Cleanup(func() {
		r.Close()
		if first { // of this test: all others were closed before
			await(t, "nothing at work", func() bool { return atWork() == "" })
		}
	})
	r.state = State{Balancers: []Balancer{{
		ARN: "front", Name: "front", DNSName: "front.example", Type: kind, Zones: []string{"za", "zb"},
		Listeners: []Listener{{Port: 80, Protocol: protocol, Groups: []Group{{ARN: "g", Protocol: protocol, Attributes: attributes}}}},
	}}}
	r.update()
	return r
}

func (r *rig) update() {
	r.t.Helper()
	if err := r.Update(r.state); err != nil {
		r.t.Fatal(err)
	}
	r.state.Changes = nil
	r.Advance()
}

// becomes makes a target, host:port, take a state.
func (r *rig) becomes(at string, state target.State) {
	r.t.Helper()
	addr := netip.MustParseAddrPort(at)
	if state == target.Initial || r.serials[at] == 0 {
		r.serials[at]++
	}
	r.state.Changes = append(r.state.Changes, model.Change{
		At: time.Now(), Group: "g", Serial: r.serials[at], State: state,
		Target: target.Target{Key: target.Key{Addr: addr.Addr(), Port: addr.Port()}, Zone: r.zone},
	})
	r.update()
}

// node is the address of a node, such as 127.127.0.1:10080.
func (r *rig) node(i int) string { return r.Balancers()[0].Listeners[0].Nodes[i] }

// ask makes one request on a connection of its own.
func (r *rig) ask(method, path, body string) (status int, answer string) {
	r.t.Helper()
	response, err := r.roundTrip(method, path, body)
	for r.hasty && err != nil && len(r.ended) == 0 { // closed before the request was there
		response, err = r.roundTrip(method, path, body)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, "cut: " + err.Error()
	}
	return response.StatusCode, string(data)
}

func (r *rig) roundTrip(method, path, body string) (*http.Response, error) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.node(0)+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("X-Request-Id", path)
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
}

// entry is the next that ended.
func (r *rig) entry() Entry {
	r.t.Helper()
	select {
	case e := <-r.ended:
		return e
	case <-time.After(tooLong):
		r.t.Fatalf("nothing ended\n%s", atWork())
		return Entry{}
	}
}

// listening gives what accepts connections as a target, with its address.
func listening(t *testing.T) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().String()
}

// served is a target that is an HTTP server.
func served(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	l, address := listening(t)
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return address
}

// dialed connects to an address, or says why not.
func dialed(t *testing.T, address string) (net.Conn, error) {
	t.Helper()
	var d net.Dialer
	return d.DialContext(t.Context(), "tcp", address)
}

// atWork gives the stacks of the goroutines of all planes, tests apart.
func atWork() (stacks string) {
	buffer := make([]byte, 16<<20)
	for stack := range strings.SplitSeq(string(buffer[:runtime.Stack(buffer, true)]), "\n\n") {
		for _, of := range []string{".(*door).", ".(*upstream).", ".(*life).", ".(*exchange).", ".(*Plane).", "dataplane.send("} {
			if strings.Contains(stack, of) && !strings.Contains(stack, "testing.tRunner") {
				stacks += stack + "\n\n"
				break
			}
		}
	}
	return stacks
}

// spoken is a target that treats each connection as told, and closes it then.
func spoken(t *testing.T, talk func(c *net.TCPConn, reader *bufio.Reader)) string {
	t.Helper()
	l, address := listening(t)
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			go func() {
				defer c.Close()
				talk(c.(*net.TCPConn), bufio.NewReader(c))
			}()
		}
	}()
	return address
}

// answering is a target that reads a request with its body and answers it with a
// text, again and again until the text says that it closes.
func answering(t *testing.T, text string) string {
	t.Helper()
	return spoken(t, func(c *net.TCPConn, reader *bufio.Reader) {
		for {
			request, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			_, _ = io.WriteString(c, text)
			if !strings.Contains(text, "Content-Length") && !strings.Contains(text, "chunked") {
				return
			}
		}
	})
}

// raw sends a text to a node as it is, and gives all that comes back until the
// end of the connection.
func (r *rig) raw(text string) string {
	r.t.Helper()
	for {
		c := r.dial()
		_, _ = io.WriteString(c, text)
		answer, _ := io.ReadAll(c)
		c.Close()
		if len(answer) > 0 || !r.hasty || len(r.ended) > 0 {
			return string(answer)
		}
	}
}

// never is a Dial that waits until it is given up.
func never(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
