package demo

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// progress shows what is being set up, step by step, and from the moment on that
// a person begins to wonder also for how long. It is an io.Writer: each line
// begins a step, and "step ... 12s" is a step that goes on.
type progress struct {
	terminal terminal
	stop     chan struct{}
	gone     chan struct{}

	mu    sync.Mutex
	step  string
	since time.Time
	told  time.Duration // how far into the step we last spoke
}

func startProgress(t terminal) *progress {
	g := &progress{terminal: t, stop: make(chan struct{}), gone: make(chan struct{})}
	go g.run()
	return g
}

// Write begins a step with each line that is not about the present one.
func (g *progress) Write(data []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for text := range strings.Lines(string(data)) {
		step, _, _ := strings.Cut(strings.TrimRight(text, "\n"), " ... ")
		if step == g.step {
			continue
		}
		g.finish()
		g.step, g.since, g.told = step, time.Now(), 0
		g.terminal.say("  %s", step)
	}
	return len(data), nil
}

// begin starts a step.
func (g *progress) begin(step string) { fmt.Fprintln(g, step) }

// end finishes the last step and returns when nothing more will be written.
func (g *progress) end() {
	close(g.stop)
	<-g.gone
	g.finish()
}

// finish says how long a step took if that was worth a word before.
func (g *progress) finish() {
	if g.told > 0 {
		g.terminal.say("    %s", g.terminal.paint(faint, fmt.Sprintf("took %.0f s", time.Since(g.since).Seconds())))
	}
}

func (g *progress) run() {
	defer close(g.gone)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-tick.C:
			g.tell()
		}
	}
}

// tell speaks at two seconds and then every ten.
func (g *progress) tell() {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := 2 * time.Second
	if g.told > 0 {
		next = g.told.Truncate(10*time.Second) + 10*time.Second
	}
	took := time.Since(g.since)
	if g.step == "" || took < next {
		return
	}
	g.told = took
	g.terminal.say("    %s", g.terminal.paint(faint, fmt.Sprintf("%.0f s ...", took.Seconds())))
}
