package trial

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// replicas keeps controllers running, as a Deployment would.
type replicas struct {
	rig    *rig.Rig
	config *rest.Config
	log    *tail

	mu      sync.Mutex
	keepers []*rig.Keeper
	ends    int // controllers that ended by themselves
	cancel  context.CancelFunc
}

// restart is the pause before a controller that ended is started again.
const restart = 200 * time.Millisecond

// start keeps n controllers running.
func (r *replicas) start(ctx context.Context, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, r.cancel = context.WithCancel(ctx)
	for i := range n {
		k := &rig.Keeper{Pause: restart, Launch: func(ctx context.Context) (*rig.Process, error) { return r.launch(ctx, i, n > 1) }}
		r.keepers = append(r.keepers, k)
		k.Run(ctx, func(p *rig.Process, err error) bool { return r.ended(i, p, err) })
	}
}

func (r *replicas) launch(ctx context.Context, i int, elect bool) (*rig.Process, error) {
	return r.rig.Run(ctx, []string{
		"controller", "--namespace=" + namespace, "--log-format=text", "--sweep-interval=3s",
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--drain-bind-address=0",
		fmt.Sprintf("--leader-elect=%t", elect), "--leader-elect-duration=5s",
	}, rig.ProcessOptions{Config: r.config, Log: r.log.of(i)})
}

// ended counts a controller that ended by itself. It is started again.
func (r *replicas) ended(i int, p *rig.Process, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		fmt.Fprintln(r.log.of(i), "not started:", err)
		return true
	}
	r.ends++
	fmt.Fprintln(r.log.of(i), "ended by itself with code", p.Wait())
	return true
}

// kill kills a controller, or all; it gives how many were killed.
func (r *replicas) kill(all bool) int {
	r.mu.Lock()
	keepers := slices.Clone(r.keepers)
	r.mu.Unlock()
	running := slices.DeleteFunc(keepers, func(k *rig.Keeper) bool { return k.Process() == nil })
	killed := 0
	for _, k := range running {
		p := k.Process()
		leads := p != nil && strings.Contains(p.Log(), "uccessfully acquired lease")
		if (all || leads || len(running) == 1) && k.Kill() {
			killed++
		}
	}
	return killed
}

// stop kills all controllers and starts none again.
func (r *replicas) stop() {
	r.mu.Lock()
	if r.cancel != nil {
		r.cancel()
	}
	keepers := r.keepers
	r.keepers = nil
	r.mu.Unlock()
	for _, k := range keepers {
		k.Kill()
		k.Stop()
	}
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
