// Package demo is the first thing that a newcomer runs: a whole cluster, the
// ELBv2 simulator and the real tgc, in which pods come, go and fall ill, and
// every step of what becomes of their targets is told as it happens.
//
// The play is data: an [Act] says what it is about, what is done, and what must
// have come about before the next one. Watchers see pods, events, targets and
// the calls to AWS; the story turns what they see into lines; the terminal prints
// them.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Options of the demo.
type Options struct {
	// Once plays each act once and fails with the first that does not end as it
	// should. Otherwise the play goes on until ctx ends.
	Once bool
	// Out is where all of it is told.
	Out io.Writer
	// Color uses the escape codes of terminals; see [Colored].
	Color bool
	// Listen is where the page is served, host:port; port 0 picks a free one, and
	// so does an empty Listen, on loopback.
	Listen string
}

const (
	// patience is how long an act may take. It is no expectation of speed.
	patience = 3 * time.Minute
	// pause between two acts, for reading.
	pause = 4 * time.Second
)

const welcome = `%s

A real Kubernetes control plane, three nodes whose pods are HTTP servers on
loopback addresses, an ELBv2 simulator that speaks AWS's protocol, and the real
tgc. No root, no containers, no AWS account. The first time, Kubernetes is
compiled from source, which takes minutes; the result is kept for the next time.
Ctrl-C ends it at any moment and leaves nothing behind.

`

// Run plays the demo until ctx ends, or once. It returns when everything it has
// started is gone. That ctx ends is an error only if the play was to be finished.
func Run(ctx context.Context, options Options) error {
	t := terminal{out: options.Out, color: options.Color}
	t.say(welcome, t.paint(strong, "TargetGroupController, demonstrated on this machine"))
	defer context.AfterFunc(ctx, func() { t.say("\nending ...") })()
	err := run(ctx, options, t)
	if ctx.Err() == nil {
		return err
	}
	t.say("all processes are ended, all temporary files removed")
	if options.Once {
		return errors.New("interrupted before the last act had ended")
	}
	return nil
}

func run(ctx context.Context, options Options, t terminal) (err error) {
	s, err := setUp(ctx, t)
	if err != nil {
		return err
	}
	defer func() {
		if left := s.tearDown(); left != nil {
			err = errors.Join(err, left)
			t.say("could not end everything: %v", left)
		}
	}()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.controller.Run(ctx, orFail(stop))
	n := newNarrator(t, newStory(time.Now()))
	defer watch(ctx, s, n)()
	p := &play{stage: s, narrator: n, tour: newTour(), once: options.Once}
	url, closePage, err := p.serve(cmp.Or(options.Listen, "127.0.0.1:0"))
	if err != nil {
		return err
	}
	defer closePage()
	s.announce(t, url)
	err = p.run(ctx)
	if ended := context.Cause(ctx); ended != nil {
		return ended
	}
	return err
}

// play is the acts and who watches or disturbs them.
type play struct {
	stage    *Stage
	narrator *narrator
	tour     *tour
	once     bool
}

// run goes through the acts, over and over unless it is to be done once.
func (p *play) run(ctx context.Context) error {
	if err := p.perform(ctx, opening()); err != nil {
		return err
	}
	if err := p.stage.startLoad(ctx); err != nil {
		return err
	}
	if p.once {
		return p.runOnce(ctx)
	}
	for {
		for _, act := range acts() {
			if !rest(ctx, pause) || !p.tour.await(ctx) {
				return nil
			}
			// Who plays along may keep an act from its end.
			if err := p.perform(ctx, act); err != nil && ctx.Err() == nil && !p.tour.isPaused() {
				p.narrator.say("%v", err)
			}
		}
		p.narrator.say("\nThat was all of it. It begins again; play along, or end it with Ctrl-C.")
	}
}

// runOnce fails with the first act that does not end as it should.
func (p *play) runOnce(ctx context.Context) error {
	for _, act := range acts() {
		if err := p.perform(ctx, act); err != nil {
			return err
		}
	}
	p.narrator.say("\nEach act ended as it should: every ready pod is a healthy target, and nothing else is.")
	return nil
}

// perform plays one act and returns when it has come about.
func (p *play) perform(ctx context.Context, act Act) error {
	n, s := p.narrator, p.stage
	before := s.requests().Lost
	n.heading(act.Name, act.Narration)
	began := time.Now()
	command, err := act.Do(ctx, s)
	if err != nil {
		return fmt.Errorf("act %q: %w", act.Name, err)
	}
	n.add(said{at: began, what: "$ " + command})
	err = await(ctx, func(ctx context.Context) error { return act.Until(ctx, s) })
	rest(ctx, settle) // the watchers see the end too
	n.table()
	if err != nil {
		return fmt.Errorf("act %q did not end as it should within %s: %w", act.Name, patience, err)
	}
	if err := act.Lost.check(s.requests().Lost - before); err != nil {
		return fmt.Errorf("act %q: %w", act.Name, err)
	}
	return nil
}

// await polls until a condition holds, and gives its last error otherwise.
func await(ctx context.Context, holds func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := holds(ctx)
		if err == nil {
			return nil
		}
		if !rest(ctx, 50*time.Millisecond) {
			return err
		}
	}
}

// rest waits; false if ctx ends meanwhile.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
