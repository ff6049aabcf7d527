package node

import (
	"context"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/wire"
)

// process is one run of a container's app.
type process struct {
	wire      *wire.Wire
	terminate chan struct{}
	started   chan struct{}
	done      chan struct{}
	kill      context.CancelFunc
	code      int // valid once done is closed

	sayStarted, sayTerminate, sayDone, hook sync.Once
}

// startLimit is how long an app may take to say that it has started.
const startLimit = 100 * time.Millisecond

// launch starts the app. What it is given lacks the fields that tie it to its
// process; they are filled in here.
func launch(a app.App, c *app.Container) *process {
	kill, cancel := context.WithCancel(context.Background())
	p := &process{
		wire:      &wire.Wire{},
		terminate: make(chan struct{}),
		started:   make(chan struct{}),
		done:      make(chan struct{}),
		kill:      cancel,
	}
	c.Wire, c.Terminate = p.wire, p.terminate
	c.Started = func() { p.sayStarted.Do(func() { close(p.started) }) }
	go func() { p.exit(a(kill, c), p.wire.Close) }()
	return p
}

// exit ends the process, in the way of the first caller.
func (p *process) exit(code int, network func()) {
	p.sayDone.Do(func() {
		network()
		p.code = code
		p.kill()
		close(p.done)
	})
}

// sigterm asks it to end.
func (p *process) sigterm() { p.sayTerminate.Do(func() { close(p.terminate) }) }

// sigkill ends it here and now: its peers see connections reset.
func (p *process) sigkill() { p.exit(app.ExitKilled, p.wire.Reset) }

// awaitStart returns when the app runs.
func (p *process) awaitStart() {
	select {
	case <-p.started:
	case <-p.done:
	case <-time.After(startLimit):
	}
}
