package dataplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Options is what a Plane is made from. Zero fields take the defaults that
// DefaultOptions tells.
type Options struct {
	// Seed draws every node's delays: equal seeds and histories, equal delays.
	Seed uint64
	// Nodes is how many nodes a load balancer has; zero: one per zone.
	Nodes int
	// Range is where listeners get their addresses. Node n of the load balancer
	// that is the b-th to be seen, both from 0, has the address with host bits
	// 256b+n+1, as far as the range has any.
	Range netip.Prefix
	// ALB and NLB are how late the nodes of each type learn.
	ALB, NLB *routing.Profile
	// ConnectTimeout is how long a target may take to accept a connection.
	ConnectTimeout time.Duration
	// ALBIdle ends connections of Application, NLBIdle those of Network Load
	// Balancers on which nothing moves.
	ALBIdle, NLBIdle time.Duration
	// ClientKeepAlive is how long an Application Load Balancer keeps a client's
	// connection: the first answer after that closes it.
	ClientKeepAlive time.Duration
	// CloseLag is how long, in real time, a node takes an idle connection for open
	// after the target closed it, and sends a request into it: a round trip.
	CloseLag time.Duration
	// Dial opens connections to targets; nil dials their own address.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// LogLimit is how many requests and flows the access log keeps.
	LogLimit int
	// OnEntry, if set, is called with each request or flow that ended, from many
	// goroutines at once. It must not block.
	OnEntry func(Entry)
	// OnNews, if set, is called with all that nodes learn, before they act on it.
	// It must neither block nor call the Plane.
	OnNews func(News)
}

// DefaultOptions is AWS as documented or reported; docs/simulator.md says which.
func DefaultOptions() Options {
	alb, nlb := routing.ALB(), routing.NLB()
	return Options{
		Range: netip.MustParsePrefix("127.127.0.0/16"),
		ALB:   &alb, NLB: &nlb,
		ConnectTimeout: 10 * time.Second, ALBIdle: 60 * time.Second, NLBIdle: 350 * time.Second,
		ClientKeepAlive: time.Hour, CloseLag: time.Millisecond,
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", to.String())
		},
		LogLimit: 100_000,
	}
}

func (o Options) withDefaults() Options {
	d := DefaultOptions()
	o.ALB, o.NLB = cmp.Or(o.ALB, d.ALB), cmp.Or(o.NLB, d.NLB)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, d.ConnectTimeout)
	o.ALBIdle, o.NLBIdle = cmp.Or(o.ALBIdle, d.ALBIdle), cmp.Or(o.NLBIdle, d.NLBIdle)
	o.ClientKeepAlive, o.CloseLag = cmp.Or(o.ClientKeepAlive, d.ClientKeepAlive), cmp.Or(o.CloseLag, d.CloseLag)
	o.LogLimit = cmp.Or(o.LogLimit, d.LogLimit)
	if !o.Range.IsValid() {
		o.Range = d.Range
	}
	if o.Dial == nil {
		o.Dial = d.Dial
	}
	return o
}

// Plane carries the traffic of all load balancers. Its methods are safe for
// concurrent use.
type Plane struct {
	options Options
	clock   clock.Clock
	log     accessLog

	mu        sync.Mutex // never held while a node's connections end
	closed    bool
	latest    map[string]map[target.Key]model.Change // by ARN of the group
	balancers map[string]*balancer                   // by ARN
	seen      int                                    // how many load balancers there were
	doors     []*door
}

// balancer is a load balancer with its nodes.
type balancer struct {
	Balancer
	number int
	nodes  []*node
}

// New makes a Plane without load balancers. Close ends it.
func New(options Options, c clock.Clock) *Plane {
	options = options.withDefaults()
	return &Plane{
		options: options, clock: c,
		log:       accessLog{limit: uint64(options.LogLimit), tell: options.OnEntry, counts: map[CountKey]uint64{}},
		latest:    map[string]map[target.Key]model.Change{},
		balancers: map[string]*balancer{},
	}
}

// Entries lists what the access log keeps of what ended after seq, oldest first.
func (p *Plane) Entries(after uint64) []Entry { return p.log.after(after) }

// Failures lists the newest entries of the log that did not end well, newest
// first, n at most.
func (p *Plane) Failures(n int) []Entry { return p.log.failed(n) }

// Seconds tells what ended in each of the last 60 full seconds of real time,
// oldest first.
func (p *Plane) Seconds() []Second {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return p.log.recent.latest(time.Now())
}

// Counts tells how many requests and flows ended in which way since the start.
func (p *Plane) Counts() map[CountKey]uint64 {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return maps.Clone(p.log.counts)
}

// Update takes over what the API's side says, in the order it says it: new
// listeners listen when it returns, those that are gone are closed with all that
// runs on them. The error names listeners that could not be opened; they are
// tried again at the next Update.
func (p *Plane) Update(state State) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	if state.Anew {
		p.forgetTargets()
	}
	left := p.retire(state.Balancers)
	for _, b := range state.Balancers {
		p.settle(b)
	}
	p.note(state.Changes)
	for _, b := range p.balancers {
		for _, n := range b.nodes {
			n.tell(state.Changes)
		}
	}
	err := p.openDoors()
	closing := p.closeDoors()
	p.mu.Unlock()
	for _, n := range left {
		n.close()
	}
	for _, d := range closing {
		d.close()
	}
	return err
}

// forgetTargets makes all nodes know nothing, and cuts off what runs.
func (p *Plane) forgetTargets() {
	clear(p.latest)
	for _, b := range p.balancers {
		for _, n := range b.nodes {
			n.follow(nil, nil)
		}
	}
}

// retire forgets the load balancers that are not among those that stay, and gives
// their nodes.
func (p *Plane) retire(stay []Balancer) (left []*node) {
	for arn, b := range p.balancers {
		if !slices.ContainsFunc(stay, func(s Balancer) bool { return s.ARN == arn }) {
			left = append(left, b.nodes...)
			delete(p.balancers, arn)
		}
	}
	return left
}

// settle makes a load balancer's nodes follow its groups.
func (p *Plane) settle(info Balancer) {
	b, exists := p.balancers[info.ARN]
	if !exists {
		b = &balancer{number: p.seen}
		p.seen++
		count := p.options.Nodes
		if count == 0 {
			count = len(info.Zones)
		}
		for i := range count {
			b.nodes = append(b.nodes, p.newNode(info, i))
		}
		p.balancers[info.ARN] = b
	}
	b.Balancer = info
	groups := map[string]Group{}
	for _, l := range info.Listeners {
		for _, g := range l.Groups {
			groups[g.ARN] = g
		}
	}
	for _, n := range b.nodes {
		n.follow(groups, p.latest)
	}
}

func (p *Plane) newNode(info Balancer, index int) *node {
	profile := p.options.ALB
	if info.Type == model.Network {
		profile = p.options.NLB
	}
	zone := ""
	if len(info.Zones) > 0 {
		zone = info.Zones[index%len(info.Zones)]
	}
	return &node{
		balancer: info.Name, kind: info.Type, index: index, zone: zone, seed: p.options.Seed, profile: *profile,
		closeLag: p.options.CloseLag, onNews: p.options.OnNews, routes: map[string]*route{}, upstreams: map[upstreamID]*upstream{},
	}
}

// note keeps the latest change of each target for nodes that come later.
func (p *Plane) note(changes []model.Change) {
	for _, change := range changes {
		of := p.latest[change.Group]
		if of == nil {
			of = map[target.Key]model.Change{}
			p.latest[change.Group] = of
		}
		if of[change.Target.Key] = change; change.State == "" {
			delete(of, change.Target.Key)
		}
	}
}

// Advance lets all nodes learn what has come through by now, and tells when more
// does; the zero time if nothing is on its way.
func (p *Plane) Advance() (next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	for _, b := range p.balancers {
		for _, n := range b.nodes {
			if at := n.advance(now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}

// Close ends all listeners and all that runs on them, and waits for their end.
func (p *Plane) Close() {
	_ = p.Update(State{Anew: true}) // without listeners there is nothing to open
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// BalancerView is where a load balancer can be reached.
type BalancerView struct {
	ARN       string             `json:"arn"`
	Name      string             `json:"name"`
	DNSName   string             `json:"dnsName"`
	Type      model.BalancerType `json:"type"`
	Listeners []ListenerView     `json:"listeners"`
}

// ListenerView is where one listener can be reached.
type ListenerView struct {
	Port     int    `json:"port"` // in AWS
	Protocol string `json:"protocol"`
	// Nodes are the addresses, host:port, of the nodes: what the DNS name stands for.
	Nodes []string `json:"nodes"`
}

// Balancers tells where each load balancer listens, in the order of their names.
func (p *Plane) Balancers() []BalancerView {
	p.mu.Lock()
	defer p.mu.Unlock()
	views := []BalancerView{}
	for _, b := range p.balancers {
		view := BalancerView{ARN: b.ARN, Name: b.Name, DNSName: b.DNSName, Type: b.Type, Listeners: []ListenerView{}}
		for _, l := range b.Listeners {
			listener := ListenerView{Port: l.Port, Protocol: l.Protocol, Nodes: []string{}}
			for _, d := range p.doors {
				if d.balancer == b && d.port == l.Port {
					listener.Nodes = append(listener.Nodes, d.listener.Addr().String())
				}
			}
			view.Listeners = append(view.Listeners, listener)
		}
		views = append(views, view)
	}
	slices.SortFunc(views, func(a, b BalancerView) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ARN, b.ARN))
	})
	return views
}

// openDoors opens what listeners there should be and are not.
func (p *Plane) openDoors() error {
	var failures []error
	inOrder := slices.SortedFunc(maps.Values(p.balancers), func(a, b *balancer) int { return cmp.Compare(a.number, b.number) })
	for _, b := range inOrder {
		for _, l := range b.Listeners {
			if l.Protocol == "UDP" || l.Protocol == "QUIC" || l.Protocol == "TCP_QUIC" {
				continue
			}
			for _, n := range b.nodes {
				if err := p.openDoor(b, n, l); err != nil {
					failures = append(failures, fmt.Errorf("load balancer %s, port %d: %w", b.Name, l.Port, err))
				}
			}
		}
	}
	return errors.Join(failures...)
}

func (p *Plane) openDoor(b *balancer, n *node, l Listener) error {
	groups := make([]string, 0, len(l.Groups))
	for _, g := range l.Groups {
		groups = append(groups, g.ARN)
	}
	for _, d := range p.doors {
		if d.node == n && d.port == l.Port {
			d.groups.Store(&groups)
			return nil
		}
	}
	listener, err := p.listen(addressOf(p.options.Range, b.number*256+n.index+1), l.Port)
	if err != nil {
		return err
	}
	d := &door{plane: p, balancer: b, node: n, dnsName: b.DNSName, port: l.Port, listener: listener}
	d.groups.Store(&groups)
	p.doors = append(p.doors, d)
	d.open()
	return nil
}

// closeDoors takes out the doors that should not be there any more.
func (p *Plane) closeDoors() (closing []*door) {
	p.doors = slices.DeleteFunc(p.doors, func(d *door) bool {
		stays := p.balancers[d.balancer.ARN] == d.balancer &&
			slices.ContainsFunc(d.balancer.Listeners, func(l Listener) bool { return l.Port == d.port })
		if !stays {
			closing = append(closing, d)
		}
		return !stays
	})
	return closing
}

// highPorts is where ports go that only root may listen on.
const highPorts = 10_000

// listen listens on the port, moved up if only root might have it, or on a free
// one if it is taken.
func (p *Plane) listen(address netip.Addr, port int) (net.Listener, error) {
	if port < 1024 {
		port += highPorts
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(address, uint16(port)).String())
	if err == nil {
		return listener, nil
	}
	return net.Listen("tcp", netip.AddrPortFrom(address, 0).String())
}

// addressOf is the address of a range with these host bits, as far as it has any.
func addressOf(within netip.Prefix, host int) netip.Addr {
	bytes := within.Masked().Addr().AsSlice()
	free := len(bytes)*8 - within.Bits()
	for i := len(bytes) - 1; i >= 0 && free > 0; i-- {
		bytes[i] |= byte(host) & byte(1<<min(free, 8)-1)
		host >>= 8
		free -= 8
	}
	address, _ := netip.AddrFromSlice(bytes)
	return address
}
