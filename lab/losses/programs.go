package losses

import (
	"context"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
)

const (
	podPort = 8080
	// livePort is where a server that does not speak HTTP tells whether it is alive.
	livePort = 8081
	// Real nodes need the tag, others ignore it.
	webImage  = "lab.local/web" + realnode.Tag
	echoImage = "lab.local/echo" + realnode.Tag
)

// programs are what runs in pods of loopback nodes: they tell the collector of their
// case what reaches them, and its ledger when they are told to end.
func (v *venue) programs() map[string]app.App {
	attended := func(program func(*stage) app.App) app.App {
		return func(kill context.Context, c *app.Container) int {
			s := v.stage(c.Namespace)
			if s == nil {
				return app.ExitNotStarted // the case is over
			}
			return s.ledger.attend(program(s))(kill, c)
		}
	}
	return map[string]app.App{
		app.Name(webImage):  attended(func(s *stage) app.App { return app.WebReporting(s.collector.Reached) }),
		app.Name(echoImage): attended(func(s *stage) app.App { return app.EchoReporting(s.collector) }),
	}
}
