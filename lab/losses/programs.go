package losses

import (
	"context"
	"fmt"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

const (
	podPort   = 8080
	webImage  = "lab.local/web"
	echoImage = "lab.local/echo"
)

// programs are what runs in pods: they tell the collector what reaches them, and
// the ledger when they are told to end.
func programs(c *load.Collector, l *ledger) map[string]app.App {
	return map[string]app.App{
		webImage:  l.attend(app.WebReporting(c.Reached)),
		echoImage: l.attend(echo(c)),
	}
}

// echo answers over TCP. At SIGTERM it stops to listen and finishes what it has.
func echo(collector *load.Collector) app.App {
	return func(kill context.Context, c *app.Container) int {
		listener, err := c.Listen(podPort)
		if err != nil {
			fmt.Fprintln(c.Output, err)
			return 1
		}
		c.Started()
		server := load.Echo{Pod: c.Pod, Latency: answerTime, Collector: collector}
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
			return app.ExitKilled
		}
	}
}
