package trial

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// replicas keeps controllers running, as a Deployment would: one that ends is
// started again.
type replicas struct {
	rig    *rig.Rig
	config *rest.Config
	log    *tail

	mu      sync.Mutex
	running map[int]*rig.Process
	stopped bool // by us: nothing is started again
	ends    int  // controllers that ended by themselves
	keeping sync.WaitGroup
	cancel  context.CancelFunc
}

// restart is the pause before a controller that ended is started again.
const restart = 200 * time.Millisecond

// start keeps n controllers running.
func (r *replicas) start(ctx context.Context, n int) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	r.running, r.stopped, r.cancel = map[int]*rig.Process{}, false, cancel
	r.mu.Unlock()
	for i := range n {
		r.keeping.Go(func() { r.keep(ctx, i, n > 1) })
	}
}

// keep runs one controller after another.
func (r *replicas) keep(ctx context.Context, i int, elect bool) {
	for ctx.Err() == nil {
		p, err := r.rig.Run(ctx, []string{
			"controller", "--namespace=" + namespace, "--log-format=text", "--sweep-interval=3s",
			"--metrics-bind-address=0", "--health-probe-bind-address=0", "--drain-bind-address=0",
			fmt.Sprintf("--leader-elect=%t", elect), "--leader-elect-duration=5s",
		}, rig.ProcessOptions{Config: r.config, Log: r.log.of(i)})
		if err != nil {
			fmt.Fprintln(r.log.of(i), "not started:", err)
			idle(ctx, restart)
			continue
		}
		r.mu.Lock()
		r.running[i] = p
		r.mu.Unlock()
		code := p.Wait()
		r.mu.Lock()
		if code >= 0 && !r.stopped {
			r.ends++
			fmt.Fprintln(r.log.of(i), "ended by itself with code", code)
		}
		delete(r.running, i)
		r.mu.Unlock()
		idle(ctx, restart)
	}
}

// kill kills a controller, or all; it gives how many were killed.
func (r *replicas) kill(all bool) int {
	r.mu.Lock()
	var victims []*rig.Process
	for _, p := range r.running {
		if all || strings.Contains(p.Log(), "uccessfully acquired lease") || len(r.running) == 1 {
			victims = append(victims, p)
		}
	}
	r.mu.Unlock()
	for _, p := range victims {
		p.Kill()
	}
	return len(victims)
}

// stop kills all controllers and starts none again.
func (r *replicas) stop() {
	r.mu.Lock()
	r.stopped = true
	if r.cancel != nil {
		r.cancel()
	}
	r.mu.Unlock()
	r.keeping.Wait()
}

// tail keeps the last lines that all controllers printed, and looks for what no
// controller may ever print.
type tail struct {
	mu     sync.Mutex
	lines  []string
	broken []string
}

const keptLines = 200

// of is where controller i writes.
func (t *tail) of(i int) *tailWriter { return &tailWriter{t, i} }

type tailWriter struct {
	tail *tail
	i    int
}

// Write takes whole lines.
func (w *tailWriter) Write(p []byte) (int, error) {
	t := w.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	line := fmt.Sprintf("[%d] %s", w.i, strings.TrimRight(string(p), "\n"))
	if strings.Contains(line, "panic:") || strings.Contains(line, "DATA RACE") || strings.Contains(line, "Observed a panic") {
		t.broken = append(t.broken, line)
	}
	t.lines = append(t.lines, line)
	if len(t.lines) > 2*keptLines {
		t.lines = append([]string{}, t.lines[keptLines:]...)
	}
	return len(p), nil
}

// last gives the latest lines.
func (t *tail) last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string{}, t.lines[max(0, len(t.lines)-keptLines):]...)
}

func (t *tail) breaks() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string{}, t.broken...)
}
