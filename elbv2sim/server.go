package elbv2sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
)

// HealthChecks says how targets are checked.
type HealthChecks string

// The ways to check targets. Pass is the default, since the targets of most tests
// are addresses where nobody listens.
const (
	// Pass finds every target healthy.
	Pass HealthChecks = "pass"
	// Real connects to the targets, at the interval of their group.
	Real HealthChecks = "real"
	// None makes no checks: targets stay initial until Admin.OverrideHealth.
	None HealthChecks = "none"
)

// Options is what a Server is made from. The zero value is a good one: AWS as
// documented, with nothing in it, in which every target gets healthy.
type Options struct {
	// Seed is what exists at first and after a reset.
	Seed Seed
	// Configure, if set, changes the settings that the simulator begins with and
	// comes back to after a reset. It gets AWS's as documented.
	Configure func(*Settings)
	// HealthChecks is how targets are checked; empty is Pass.
	HealthChecks HealthChecks
	// Dial, if set, connects over TCP to a target, for Real health checks and for
	// traffic. It lets targets have addresses that AWS accepts while what they
	// stand for listens elsewhere, such as on loopback.
	Dial func(ctx context.Context, target netip.AddrPort) (net.Conn, error)
	// DialMap does as Dial, where that is nil, by rules such as
	// 10.0.0.0/8=127.0.0.0/8: 10.1.2.3 is dialled at 127.1.2.3.
	DialMap []string
	// Speed is how many times faster than the machine's the simulator's time runs:
	// registration, checks, the deregistration delay (300 s on AWS) and throttling.
	// Zero is 1. Latencies of calls and faults are in real time.
	Speed float64
	// LogLimit is how many calls the log keeps; zero is 200,000.
	LogLimit int
	// DataPlane makes load balancers carry traffic: their listeners accept
	// connections and forward to the targets. Nil: they do not.
	DataPlane *DataPlane
}

// DataPlane is how load balancers carry traffic. The zero value is a good one.
type DataPlane struct {
	// Seed draws how late each node learns of changes: equal seeds and histories
	// give equal delays.
	Seed uint64
	// Nodes is how many nodes a load balancer has; zero is one per zone, which is
	// three.
	Nodes int
	// Range is where nodes get their addresses. In a range of one address each
	// node has a port of its own. Zero is 127.0.0.1/32, which every machine has.
	Range netip.Prefix
	// Delays are how late nodes learn, as TYPE.EVENT=MIN-MAX[+SHARE%-MAX] with type
	// alb or nlb and event register, deregister or health, such as
	// alb.deregister=500ms-5s+5%-40s.
	Delays []string
}

// Server is a simulator that runs in this process and serves on loopback. Admin
// is what can be done with it.
type Server struct {
	*Admin
	// URL is the address of the AWS API: the base endpoint to give to an AWS SDK.
	URL string

	running *elbsim.Running
}

// Start starts a simulator that is closed when the test ends. The test fails if it
// cannot be started.
func Start(tb testing.TB, options Options) *Server {
	tb.Helper()
	s, err := New(options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// New starts a simulator. The caller closes it. The error names the option that
// makes no sense.
func New(options Options) (*Server, error) {
	inner, err := options.inner()
	if err != nil {
		return nil, err
	}
	running, err := elbsim.Start(inner)
	if err != nil {
		return nil, err
	}
	return &Server{Admin: Connect(running.Server.Admin), URL: running.Endpoint, running: running}, nil
}

// Close stops the simulator and waits for the end of all that it does. Calls under
// way end without a reply. It may be called more than once.
func (s *Server) Close() {
	_ = s.running.Stop() // if serving ended before, whoever called has seen that
	s.http.CloseIdleConnections()
}

// Environ lists environment variables, as NAME=value, for a process that is to use
// the simulator: AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2, access keys (any will
// do unless Settings list some), the default region, and TGC_SIM_ADMIN for Connect.
func (s *Server) Environ() []string {
	return s.running.Environ(func(string) string { return "" })
}

// inner is what the simulator itself is made from.
func (o Options) inner() (elbsim.Options, error) {
	inner := elbsim.Options{LogLimit: o.LogLimit, Speed: o.Speed}
	if o.LogLimit < 0 || o.Speed < 0 {
		return inner, fmt.Errorf("LogLimit %d, Speed %v: want neither below 0", o.LogLimit, o.Speed)
	}
	if err := convert(o.Seed, &inner.Seed); err != nil {
		return inner, fmt.Errorf("Seed: %w", err)
	}
	settings, err := o.settings()
	if err != nil {
		return inner, err
	}
	inner.Settings = &settings
	dial, err := o.dial()
	if err != nil {
		return inner, err
	}
	if inner.Check, err = o.HealthChecks.check(dial); err != nil {
		return inner, err
	}
	if o.DataPlane != nil {
		inner.DataPlane, err = o.DataPlane.inner(dial)
	}
	return inner, err
}

// settings are the simulator's own, as Configure has changed them.
func (o Options) settings() (elbsim.Settings, error) {
	inner := elbsim.DefaultSettings()
	if o.Configure == nil {
		return inner, nil
	}
	var settings Settings
	if err := convert(inner, &settings); err != nil {
		return inner, err
	}
	o.Configure(&settings)
	inner = elbsim.Settings{}
	return inner, convert(settings, &inner)
}

func (o Options) dial() (elbsim.DialFunc, error) {
	if o.Dial != nil {
		return o.Dial, nil
	}
	rules, err := elbsim.ParseDialMap(o.DialMap)
	return rules.Dial, err
}

func (c HealthChecks) check(dial elbsim.DialFunc) (elbsim.CheckFunc, error) {
	switch c {
	case Pass, "":
		return elbsim.AlwaysPass, nil
	case Real:
		return elbsim.Prober{Dial: dial}.Check, nil
	case None:
		return nil, nil
	}
	return nil, fmt.Errorf("HealthChecks %q: want %s", c, []HealthChecks{Pass, Real, None})
}

func (p DataPlane) inner(dial elbsim.DialFunc) (*dataplane.Options, error) {
	if p.Nodes < 0 || p.Nodes > 255 {
		return nil, fmt.Errorf("DataPlane.Nodes %d: want 0 to 255", p.Nodes)
	}
	options := dataplane.DefaultOptions()
	options.Seed, options.Nodes, options.Dial, options.Range = p.Seed, p.Nodes, dial, p.Range
	if !p.Range.IsValid() {
		options.Range = netip.MustParsePrefix("127.0.0.1/32")
	}
	for _, text := range p.Delays {
		if err := elbsim.SetDelay(&options, text); err != nil {
			return nil, fmt.Errorf("DataPlane.Delays: %w", err)
		}
	}
	return &options, nil
}

// convert puts a value into another of the same form in JSON: the types of this
// package are those of the admin API.
func convert(from, into any) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
