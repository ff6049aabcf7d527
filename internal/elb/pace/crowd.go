package pace

import "time"

// How one of many programs answers to refusals. A bucket of the account's serves
// callers in no order, and whoever comes too early comes again, so that a crowd which
// comes back in step is refused in step. Each therefore waits for a time drawn from a
// window that grows until it is wide enough for all: by how often it was refused
// itself, a program learns how many others there are.
const (
	firstWindow = 4 * time.Second
	// A call that AWS accepts halves the window: by then others got through, too.
	narrowing = 2
)

// widening is how the window grows from one refusal to the next. Pods that are about
// to stop rather ask too often than come too late.
func widening(of Priority) (growth, widest time.Duration) {
	if of == Terminating {
		return 2, 30 * time.Second
	}
	return 4, 2 * time.Minute
}

// pause is the time for which a class is not served after a refusal.
type pause struct {
	window time.Duration
	until  time.Time
	// of is the urgency of the call that was refused. More urgent ones do not wait.
	of Priority
}

// left is how long from now a call of the priority has to wait.
func (p *pause) left(of Priority, now time.Time) time.Duration {
	if of > p.of {
		return 0
	}
	return max(0, p.until.Sub(now))
}

// refused takes note that AWS refused a call. Refusals during a pause are of calls
// that left before it.
func (p *pause) refused(of Priority, now time.Time, luck float64) {
	growth, widest := widening(of)
	switch {
	case of > p.of:
		p.window = firstWindow
	case now.Before(p.until):
		return
	default:
		p.window = min(max(p.window*growth, firstWindow), widest)
	}
	p.of = of
	p.until = now.Add(time.Duration(luck * float64(p.window)))
}

func (p *pause) accepted() { p.window /= narrowing }
