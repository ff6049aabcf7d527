package losses

import (
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
)

const (
	podPort = 8080
	// Real nodes need the tag, others ignore it.
	webImage  = "lab.local/web" + realnode.Tag
	echoImage = "lab.local/echo" + realnode.Tag
)

// programs are what runs in pods of loopback nodes: they tell the collector what reaches them, and
// the ledger when they are told to end.
func programs(c *load.Collector, l *ledger) map[string]app.App {
	return map[string]app.App{
		app.Name(webImage):  l.attend(app.WebReporting(c.Reached)),
		app.Name(echoImage): l.attend(app.EchoReporting(c)),
	}
}
