package demo

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// restartDelay is the pause before a controller that was killed starts again.
const restartDelay = time.Second

// controller keeps tgc running, as a Deployment would.
type controller struct {
	rig *rig.Rig
	log io.Writer

	keeping sync.WaitGroup
	mu      sync.Mutex
	process *rig.Process // nil between two
	killed  bool         // by us
	starts  int
}

// controllerState is what there is to tell of a controller.
type controllerState struct {
	Running  bool
	Restarts int
}

// start returns once tgc serves its endpoints.
func (c *controller) start(ctx context.Context) error {
	process, err := c.rig.Controller(ctx, rig.ProcessOptions{
		Args: []string{"--namespace=" + namespace, "--log-format=text", "--leader-elect-duration=" + leaseDuration.String()}, Log: c.log,
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.process, c.killed = process, false
	c.starts++
	return nil
}

// keepRunning starts it again each time it is killed, until ctx ends, and tells if
// it ends by itself.
func (c *controller) keepRunning(ctx context.Context, failed func(error)) {
	c.keeping.Go(func() {
		if err := c.keep(ctx); err != nil {
			failed(err)
		}
	})
}

func (c *controller) keep(ctx context.Context) error {
	for {
		process := c.current()
		process.Wait()
		if ctx.Err() != nil {
			return nil
		}
		if !c.wasKilled() {
			return fmt.Errorf("tgc controller has ended by itself:\n%s", process.Log())
		}
		if !rest(ctx, restartDelay) {
			return nil
		}
		if err := c.start(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (c *controller) current() *rig.Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.process
}

func (c *controller) wasKilled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed {
		c.process = nil
	}
	return c.killed
}

// kill ends it at once, as a crash would; false if it is not running.
func (c *controller) kill() bool {
	c.mu.Lock()
	process := c.process
	c.killed = process != nil
	c.mu.Unlock()
	if process == nil {
		return false
	}
	process.Kill()
	return true
}

// stop gives it a moment to hand back its Lease. The context of keepRunning has
// ended.
func (c *controller) stop() {
	if process := c.current(); process != nil {
		force := time.AfterFunc(2*time.Second, process.Kill)
		defer force.Stop()
		process.Stop()
	}
	c.keeping.Wait()
}

func (c *controller) state() controllerState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return controllerState{Running: c.process != nil && !c.killed, Restarts: max(0, c.starts-1)}
}
