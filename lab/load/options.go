package load

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

// Options of a run. Zero values take the default that is named with them.
type Options struct {
	// Targets are where requests go: http://host:port/path?query or
	// tcp://host:port, the latter for [Raw]. Those of one scheme take turns, as
	// the addresses of a load balancer's nodes do in DNS. There must be one for
	// each scheme that the mix uses, and none for one that it does not.
	Targets []string
	// Rate is how many requests are due in a second, on average. Required.
	Rate float64
	// Duration is how long requests are sent; 0 is until the context ends or
	// [Generator.Stop].
	Duration time.Duration
	// Mix is what kinds the requests are of. Default: all [KeepAlive].
	Mix Mix
	// Arrivals is how requests are spread over time. Default: [Poisson].
	Arrivals Arrivals
	// Seed decides when each request is due and of which kind it is.
	Seed uint64
	// Run begins all ids of the run: run-0, run-1 and so on. Runs with the same
	// name cannot be told apart by servers. Default: drawn at random.
	Run string

	// Timeout is how long a request may take from when it is sent. Default: 30 s.
	Timeout time.Duration
	// Drain is how long to wait for outstanding answers once no more requests are
	// sent; those that are still out then are lost as [Unanswered]. Default: 5 s more
	// than Timeout, so that each ends by itself.
	Drain time.Duration
	// Idle is how long an unused connection is kept. It must be below the idle
	// timeout of the other side: of a request that meets a connection just being
	// closed nobody can tell whether it was lost. Default: 20 s; that of an ALB
	// is 60 s.
	Idle time.Duration
	// Long is how long a request of the kind [Long] asks the server to take.
	// Default: 2 s.
	Long time.Duration
	// Pause is how long a request of the kind [Slow] stops, twice. Default: 500 ms.
	Pause time.Duration

	// Late is from which lag on a request counts as sent late. Default: 20 ms.
	Late time.Duration
	// MaxOutstanding requests are out at the same time. One that is due beyond
	// that is not sent but counted in [Punctuality.Skipped]. Default: 10,000.
	MaxOutstanding int
	// KeepLosses is how many losses are described one by one, the first. All are
	// counted. Default: 1000.
	KeepLosses int

	// Collector hears from the servers which id reached which pod. Nil means that
	// duplicates are not watched.
	Collector *Collector
	// Dial makes connections; nil is that of package net. It must end with its
	// context.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// target is a parsed one of [Options.Targets].
type target struct {
	name string
	url  *url.URL
	// index among all targets
	index int
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if o.Mix == nil {
		o.Mix = Mix{KeepAlive: 1}
	}
	if o.Arrivals == "" {
		o.Arrivals = Poisson
	}
	if o.Run == "" {
		o.Run = rand.Text()[:8]
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	for value, fallback := range map[*time.Duration]time.Duration{
		&o.Drain: o.Timeout + 5*time.Second,
		&o.Idle:  20 * time.Second,
		&o.Long:  2 * time.Second,
		&o.Pause: 500 * time.Millisecond,
		&o.Late:  20 * time.Millisecond,
	} {
		if *value == 0 {
			*value = fallback
		}
	}
	if o.MaxOutstanding == 0 {
		o.MaxOutstanding = 10_000
	}
	if o.KeepLosses == 0 {
		o.KeepLosses = 1000
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	return o
}

// maxRate is beyond what any machine sends; above it nanoseconds get too coarse.
const maxRate = 1e6

func (o Options) check() error {
	if !(o.Rate > 0 && o.Rate <= maxRate) {
		return fmt.Errorf("rate %v is not above 0 and at most %.0f requests a second", o.Rate, maxRate)
	}
	if o.Arrivals != Poisson && o.Arrivals != Uniform {
		return fmt.Errorf("arrivals %q are neither %s nor %s", o.Arrivals, Poisson, Uniform)
	}
	for name, value := range map[string]time.Duration{
		"duration": o.Duration, "timeout": o.Timeout, "drain": o.Drain, "idle": o.Idle,
		"long": o.Long, "pause": o.Pause, "late": o.Late,
	} {
		if value < 0 {
			return fmt.Errorf("%s %s is negative", name, value)
		}
	}
	if o.MaxOutstanding < 0 || o.KeepLosses < 0 {
		return fmt.Errorf("at most %d outstanding requests and %d losses kept: neither may be negative", o.MaxOutstanding, o.KeepLosses)
	}
	return o.Mix.check()
}

// targets parses and groups the targets by scheme.
func (o Options) targets() (map[string][]target, error) {
	if len(o.Targets) == 0 {
		return nil, errors.New("no target")
	}
	groups := map[string][]target{}
	for i, name := range o.Targets {
		u, err := parseTarget(name)
		if err != nil {
			return nil, fmt.Errorf("target %q: %w", name, err)
		}
		groups[u.Scheme] = append(groups[u.Scheme], target{name, u, i})
	}
	for _, scheme := range []string{schemeHTTP, schemeTCP} {
		switch used := o.Mix.uses(scheme); {
		case used && groups[scheme] == nil:
			return nil, fmt.Errorf("mix %s needs a target of the form %s://host:port", o.Mix, scheme)
		case !used && groups[scheme] != nil:
			return nil, fmt.Errorf("target %q: nothing in the mix %s is sent there", groups[scheme][0].name, o.Mix)
		}
	}
	return groups, nil
}

func parseTarget(name string) (*url.URL, error) {
	u, err := url.Parse(name)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != schemeHTTP && u.Scheme != schemeTCP || u.Hostname() == "":
		return nil, errors.New("neither http://host:port nor tcp://host:port")
	case u.Scheme == schemeTCP && u.Port() == "":
		return nil, errors.New("no port")
	}
	return u, nil
}
