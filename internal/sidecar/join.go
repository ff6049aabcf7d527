package sidecar

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// join registers the pod, with all that belongs to it. It returns early, without an
// error, when the end of the stay is decided.
func (s *Sidecar) join(ctx, work context.Context, running *sync.WaitGroup) error {
	steps := []func() error{
		func() error { return s.command(ctx, s.cfg.PreRegister) },
		func() error { return s.awaitApplication(ctx) },
		func() error {
			s.start(work, running)
			return s.awaitService(ctx)
		},
		func() error { return s.command(ctx, s.cfg.PostRegister) },
	}
	for _, step := range steps {
		if err := step(); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stay.served, s.stay.state = true, "in service"
	return nil
}

// command runs a command. A failure that is not fatal is logged only.
func (s *Sidecar) command(ctx context.Context, c Command) error {
	err := c.run(ctx, s.log)
	if err == nil || c.Fatal || ctx.Err() != nil {
		return err
	}
	s.log.Error("Command failed", "error", err.Error())
	return nil
}

// awaitApplication waits until the application serves, and then for its turn.
func (s *Sidecar) awaitApplication(ctx context.Context) error {
	s.say("waiting for the application")
	if err := await(ctx, s.cfg.WaitFor, s.log); err != nil {
		return err
	}
	if pause := time.Duration(rand.Float64() * float64(s.cfg.StartSpread)); pause > 0 {
		s.say("waiting for its turn to register")
		s.log.Info("Waiting for a random time, since other pods may start too", "pause", pause.Round(time.Millisecond).String())
		sleep(ctx, pause)
	}
	return nil
}

// start lets the members run, if they do not yet.
func (s *Sidecar) start(work context.Context, running *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return
	}
	s.started = true
	for _, m := range s.members {
		running.Go(func() { m.run(work) })
		running.Go(func() { <-work.Done(); m.directory.Wait(); m.delays.Wait() })
	}
}

// awaitService waits until the pod is in service in all groups.
func (s *Sidecar) awaitService(ctx context.Context) error {
	s.say("registering")
	s.rouse()
	began := time.Now()
	limit := time.NewTimer(s.cfg.InServiceTimeout)
	defer limit.Stop()
	for !s.inServiceEverywhere() {
		select {
		case <-s.news:
		case <-ctx.Done():
			return nil
		case <-limit.C:
			err := fmt.Errorf("not in service after %s: %s", s.cfg.InServiceTimeout, s.missing())
			if s.cfg.InServiceFatal {
				return err
			}
			s.log.Error("Waiting on", "error", err.Error())
		}
	}
	s.log.Info("In service", "after", time.Since(began).Round(time.Millisecond).String())
	return nil
}
