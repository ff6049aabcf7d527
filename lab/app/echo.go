package app

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// Echo is a server of [load.Echo]'s protocol on the container's first port (8080
// without any). At SIGTERM it stops to listen and finishes what it has.
//
//	--latency=50ms       how long each answer takes
//	--startup-delay=2s   how long until it listens
//	--live-port=8081     a port on which it speaks HTTP, as far as [Web] does about
//	                     whether it is alive; 0 is none
//
// Each may be given as an environment variable instead: LAB_LATENCY.
func Echo(kill context.Context, c *Container) int { return runEcho(kill, c, nil) }

// EchoReporting is [Echo], but tells a collector of each request.
func EchoReporting(collector *load.Collector) App {
	return func(kill context.Context, c *Container) int { return runEcho(kill, c, collector) }
}

type echoOptions struct {
	latency, startupDelay time.Duration
	livePort              uint
}

func runEcho(kill context.Context, c *Container, collector *load.Collector) int {
	var o echoOptions
	flags := newFlags(c)
	flags.DurationVar(&o.latency, "latency", 0, "time of each answer")
	flags.DurationVar(&o.startupDelay, "startup-delay", 0, "time until it listens")
	flags.UintVar(&o.livePort, "live-port", 0, "port of HTTP")
	if err := parse(flags, c); err != nil {
		fmt.Fprintln(c.Output, err)
		return ExitUsage
	}
	if o.startupDelay > 0 {
		c.Started()
		if code, ended := startLate(kill, c, o.startupDelay); ended {
			return code
		}
	}
	listener, stop, err := o.listen(c)
	if err != nil {
		fmt.Fprintln(c.Output, err)
		return 1
	}
	defer stop()
	if o.startupDelay == 0 {
		c.Started()
	}
	server := load.Echo{Pod: c.Pod, Latency: o.latency, Collector: collector}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case <-c.Terminate:
	case <-kill.Done():
	}
	listener.Close()
	select {
	case <-served:
		return 0
	case <-kill.Done():
		return ExitKilled
	}
}

// listen gives the listener of the protocol. Stop ends that of HTTP, if there is one.
func (o echoOptions) listen(c *Container) (listener net.Listener, stop func(), err error) {
	port := int32(8080)
	if len(c.Ports) > 0 {
		port = cmp.Or(c.Ports[0], port)
	}
	if listener, err = c.Listen(uint16(port)); err != nil || o.livePort == 0 {
		return listener, func() {}, err
	}
	web, err := c.Listen(uint16(o.livePort))
	if err != nil {
		listener.Close()
		return nil, nil, err
	}
	mux := http.NewServeMux()
	newLiveness().serve(mux)
	server := &http.Server{Handler: mux}
	go server.Serve(web)
	return listener, func() { server.Close() }, nil
}
