package app

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// liveness of a server, as it says and may be told.
type liveness struct{ live atomic.Bool }

func newLiveness() *liveness {
	l := &liveness{}
	l.live.Store(true)
	return l
}

// serve adds GET /healthz and POST /lab/live.
func (l *liveness) serve(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { verdict(rw, l.live.Load()) })
	mux.HandleFunc("POST /lab/live", func(rw http.ResponseWriter, r *http.Request) { flip(rw, r, &l.live) })
}

// startLate waits; ended tells that the container was ended meanwhile, with the code.
func startLate(kill context.Context, c *Container, delay time.Duration) (code int, ended bool) {
	select {
	case <-time.After(delay):
		return 0, false
	case <-c.Terminate:
		return ExitTerminated, true
	case <-kill.Done():
		return ExitKilled, true
	}
}
