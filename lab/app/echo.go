package app

import (
	"context"
	"fmt"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// Echo is a server of [load.Echo]'s protocol on the container's first port (8080
// without any). At SIGTERM it stops to listen and finishes what it has.
//
//	--latency=50ms   how long each answer takes
//
// It may be given as an environment variable instead: LAB_LATENCY.
func Echo(kill context.Context, c *Container) int { return runEcho(kill, c, nil) }

// EchoReporting is [Echo], but tells a collector of each request.
func EchoReporting(collector *load.Collector) App {
	return func(kill context.Context, c *Container) int { return runEcho(kill, c, collector) }
}

func runEcho(kill context.Context, c *Container, collector *load.Collector) int {
	flags := newFlags(c)
	latency := flags.Duration("latency", 0, "time of each answer")
	if err := parse(flags, c); err != nil {
		fmt.Fprintln(c.Output, err)
		return ExitUsage
	}
	port := uint16(8080)
	if len(c.Ports) > 0 {
		port = uint16(c.Ports[0])
	}
	listener, err := c.Listen(port)
	if err != nil {
		fmt.Fprintln(c.Output, err)
		return 1
	}
	c.Started()
	server := load.Echo{Pod: c.Pod, Latency: *latency, Collector: collector}
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
