package kube

import (
	"fmt"
	"io"
	"time"
)

// telling repeats a line with the time that has passed, from the moment on that
// a person begins to wonder.
type telling struct {
	done, gone chan struct{}
}

func startTelling(w io.Writer, what string) *telling {
	t := &telling{done: make(chan struct{}), gone: make(chan struct{})}
	go t.run(w, what)
	return t
}

func (t *telling) run(w io.Writer, what string) {
	defer close(t.gone)
	start := time.Now()
	wait := patience
	for {
		select {
		case <-t.done:
			return
		case <-time.After(wait):
			fmt.Fprintf(w, "%s ... %s\n", what, time.Since(start).Round(time.Second))
			wait = 10 * time.Second
		}
	}
}

// stop returns when nothing more will be written.
func (t *telling) stop() {
	close(t.done)
	<-t.gone
}
