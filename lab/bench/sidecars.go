package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/awselb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/sidecar"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// SidecarOptions of a measurement of many sidecars.
type SidecarOptions struct {
	// Sidecars is how many there are, in one target group of one account.
	Sidecars int
	// Latency is how long each AWS call takes.
	Latency time.Duration
	// Spread is --start-spread of each.
	Spread time.Duration
}

// Sidecars starts many sidecars at once and ends them at once, and prints how long it
// took and what calls were made. Each has clients and a call budget of its own, as in
// a process of its own, and calls the simulator over the wire.
func Sidecars(ctx context.Context, o SidecarOptions, out io.Writer) error {
	settings := elbsim.DefaultSettings()
	settings.Latency = elbsim.Latency{Fixed: elbsim.Duration(o.Latency)}
	sim, err := elbsim.Start(elbsim.Options{Settings: &settings, Check: elbsim.AlwaysPass, Seed: elbsim.Seed{Groups: []elbsim.SeedGroup{{
		Name: "web", LoadBalancer: "front", Port: 8080, Attributes: map[string]string{target.DelayAttribute: "30"},
		HealthCheck: elbsim.SeedCheck{Interval: elbsim.Duration(10 * time.Second)},
	}}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Stop()) }()
	c := crowd{SidecarOptions: o, sim: sim, out: out, up: make(chan int, o.Sidecars), ended: make(chan error, o.Sidecars)}
	return c.run(ctx)
}

type crowd struct {
	SidecarOptions
	sim   *elbsim.Running
	out   io.Writer
	up    chan int
	ended chan error
}

func (c *crowd) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for i := range c.Sidecars {
		s, err := c.sidecar(i)
		if err != nil {
			return err
		}
		go func() { c.ended <- s.Run(ctx) }()
	}
	began := time.Now()
	for range c.Sidecars {
		select {
		case <-c.up:
		case err := <-c.ended:
			return fmt.Errorf("a sidecar ended before it was in service: %w", err)
		}
	}
	fmt.Fprintf(c.out, "all %d in service after %s\n", c.Sidecars, round(time.Since(began)))
	c.report()
	stop()
	began = time.Now()
	forced := 0
	for range c.Sidecars {
		if err := <-c.ended; errors.Is(err, sidecar.ErrForced) {
			forced++
		} else if err != nil {
			return err
		}
	}
	fmt.Fprintf(c.out, "all ended after %s, %d of them by the deadline\n", round(time.Since(began)), forced)
	c.report()
	return nil
}

// report prints the calls since the last report.
func (c *crowd) report() {
	count, throttled := map[string]int{}, 0
	for _, call := range c.sim.Calls() {
		if call.Code == settingsCode {
			throttled++
			continue
		}
		count[call.Action]++
	}
	c.sim.ClearCalls()
	fmt.Fprintf(c.out, "accepted calls: %v; throttled: %d\n", count, throttled)
}

// settingsCode is the code of throttled calls, by default.
const settingsCode = "Throttling"

// sidecar makes one of them.
func (c *crowd) sidecar(number int) (*sidecar.Sidecar, error) {
	meter := metrics.New(prometheus.NewRegistry())
	accounts := elb.NewAccounts(
		func(ctx context.Context, login elb.Login) (elb.Client, error) {
			client, err := awselb.New(ctx, awselb.Options{Region: login.Region, Endpoint: c.sim.Endpoint})
			return client, err
		},
		func(_, _ string) *pace.Budget { return pace.New(pace.OneOfMany()) },
	)
	return sidecar.New(sidecar.Settings{
		Groups: []target.Ref{{Name: "web"}}, Region: elbsim.DefaultRegion,
		Addrs:         []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(number / 250), byte(number%250 + 1)})},
		WaitInService: true, InServiceTimeout: 10 * time.Minute, StartSpread: c.Spread, Sweep: 5 * time.Minute,
		Grace: 3 * time.Minute, Shutdown: 5 * time.Second,
	}, sidecar.Surroundings{Accounts: accounts, Metrics: meter, Log: slog.New(slog.NewTextHandler(&listener{up: c.up, number: number}, nil))})
}

// listener is a log that listens for the line that says that a pod is in service.
type listener struct {
	up     chan int
	number int
}

// Write is io.Writer's.
func (l *listener) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(`msg="In service"`)) {
		l.up <- l.number
	}
	return len(line), nil
}
