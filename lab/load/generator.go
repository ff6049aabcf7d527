package load

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Generator is a run in progress. Make one with [Start]; any number of goroutines
// may use it.
type Generator struct {
	options  Options
	schedule *schedule
	record   *record
	web      *web
	flows    *flows
	began    time.Time

	quit func()        // send no more
	done chan struct{} // closed when all requests have ended
}

// Run sends requests until [Options.Duration] is over or the context ends, waits
// for outstanding answers, and tells what became of all. An error means that
// nothing was sent, since the options make no sense. Losses are no error.
func Run(ctx context.Context, o Options) (Result, error) {
	g, err := Start(ctx, o)
	if err != nil {
		return Result{}, err
	}
	return g.Wait(), nil
}

// Start is [Run] for those who want to look at it, or to end it by
// [Generator.Stop], while they do other things. It comes to an end by itself only
// if there is a Duration or the context ends.
func Start(ctx context.Context, o Options) (*Generator, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	targets, err := o.targets()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	sending, quit := context.WithCancel(ctx)
	g := &Generator{
		options:  o,
		schedule: newSchedule(o, targets),
		record:   newRecord(o),
		web:      newWeb(o),
		flows:    newFlows(o),
		began:    time.Now(),
		quit:     quit,
		done:     make(chan struct{}),
	}
	g.record.within(func(r *Result) { r.Began = g.began })
	go g.run(sending)
	return g, nil
}

// Snapshot of a run in progress. It costs a copy of all there is to tell: take it
// once a second, not once a request.
func (g *Generator) Snapshot() Result { return g.dated(g.record.snapshot()) }

// Recent is a snapshot without the single losses, duplicates and pods, and with no
// more than the last seconds. What it costs does not grow with the length of the run.
func (g *Generator) Recent(seconds int) Result { return g.dated(g.record.recent(seconds)) }

// dated fills in how long the run has been going on, if it is.
func (g *Generator) dated(s Result) Result {
	if s.Elapsed == 0 {
		s.Elapsed = time.Since(g.began)
	}
	return s
}

// Done is closed when all requests have ended.
func (g *Generator) Done() <-chan struct{} { return g.done }

// Wait for the end of the run.
func (g *Generator) Wait() Result {
	<-g.done
	return g.Snapshot()
}

// Stop sending, and wait for what is outstanding.
func (g *Generator) Stop() Result {
	g.quit()
	return g.Wait()
}

func (g *Generator) run(sending context.Context) {
	defer close(g.done)
	defer g.web.close()
	defer g.flows.close()
	defer g.quit()
	// What is out when sending ends still gets its time to be answered.
	requests, abandon := context.WithCancelCause(context.WithoutCancel(sending))
	defer abandon(nil)
	var open sync.WaitGroup
	g.send(sending, requests, &open)
	g.record.within(func(r *Result) { r.Elapsed = time.Since(g.began) })
	answered := make(chan struct{})
	go func() {
		open.Wait()
		close(answered)
	}()
	timer := time.NewTimer(g.options.Drain)
	defer timer.Stop()
	select {
	case <-answered:
		return
	case <-timer.C:
	}
	abandon(errUnanswered)
	<-answered
}

// send all that is due until sending ends. Requests live as long as theirs.
func (g *Generator) send(sending, requests context.Context, open *sync.WaitGroup) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		a := g.schedule.next()
		over := g.options.Duration > 0 && a.due >= g.options.Duration
		if over {
			a.due = g.options.Duration
		}
		if !sleep(sending, timer, time.Until(g.began.Add(a.due))) || over {
			return
		}
		if g.record.begin(a) {
			open.Go(func() { g.exchange(requests, a) })
		}
	}
}

// sleep says whether ctx is still alive after it. A generator that is behind does
// not sleep at all: it sends what it has missed at once, and counts it as late.
func sleep(ctx context.Context, timer *time.Timer, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer.Reset(d)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (g *Generator) exchange(requests context.Context, a arrival) {
	ctx, cancel := context.WithTimeoutCause(requests, g.options.Timeout, errTimeout)
	defer cancel()
	o := outcome{arrival: a, sent: time.Since(g.began)}
	switch a.kind {
	case Raw:
		o.answer = g.options.raw(ctx, a)
	case Flow:
		o.answer = g.flows.exchange(ctx, a)
	default:
		o.answer = g.web.exchange(ctx, a)
	}
	o.ended = time.Since(g.began)
	g.record.end(o)
}
