package rig

import (
	"context"
	"sync"
	"time"
)

// Keeper keeps a process running, as a Deployment would: one that ends is started
// again. Its methods are safe for concurrent use.
type Keeper struct {
	// Launch starts the process; its context is that of Start or Run.
	Launch func(context.Context) (*Process, error)
	// Pause is how long after the end of a process the next is started.
	Pause time.Duration

	keeping sync.WaitGroup
	mu      sync.Mutex
	process *Process // nil between two
	killed  bool
	starts  int
}

// Start starts the first process, for who wants to know that it runs before Run.
func (k *Keeper) Start(ctx context.Context) error {
	process, err := k.Launch(ctx)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.process, k.killed = process, false
	k.starts++
	return nil
}

// Run keeps the process running in the background until ctx ends. Ended is told of
// a process that ended and was not killed by the Keeper, or, without a process, why
// none could be started. It says whether to go on.
func (k *Keeper) Run(ctx context.Context, ended func(*Process, error) bool) {
	k.keeping.Go(func() {
		for k.once(ctx, ended) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(k.Pause):
			}
		}
	})
}

// once waits for the end of one process, and tells whether there is to be another.
func (k *Keeper) once(ctx context.Context, ended func(*Process, error) bool) bool {
	if k.Process() == nil {
		if err := k.Start(ctx); err != nil {
			return ctx.Err() == nil && ended(nil, err)
		}
	}
	process := k.Process()
	process.Wait()
	if ctx.Err() != nil {
		return false
	}
	return k.dropped() || ended(process, nil)
}

// dropped forgets a process that ended, and tells whether it was killed.
func (k *Keeper) dropped() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.process = nil
	return k.killed
}

// Process is the one that runs; nil between two.
func (k *Keeper) Process() *Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.process
}

// Kill ends the process at once, as a crash would; false if none runs.
func (k *Keeper) Kill() bool {
	k.mu.Lock()
	process := k.process
	k.killed = process != nil
	k.mu.Unlock()
	if process == nil {
		return false
	}
	process.Kill()
	return true
}

// Stop gives the process a moment to end well. The context of Run has ended.
func (k *Keeper) Stop() {
	if process := k.Process(); process != nil {
		force := time.AfterFunc(2*time.Second, process.Kill)
		defer force.Stop()
		process.Stop()
	}
	k.keeping.Wait()
}

// State tells whether a process runs, and how many there were before it.
func (k *Keeper) State() (running bool, restarts int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.process != nil && !k.killed, max(0, k.starts-1)
}
