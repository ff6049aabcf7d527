package sidecar

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

const (
	headerLimit = 5 * time.Second
	// shutdownLimit bounds how long callers are waited for to take their answers.
	shutdownLimit = 2 * time.Second
)

// serve serves the endpoints until the returned function is called, which lets callers
// of /drain have their answers first.
func (s *Sidecar) serve(ctx context.Context) (closed func(), err error) {
	if s.cfg.Bind == "" {
		return func() {}, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("--bind-address %s: %w: choose a port that no other container of the pod uses", s.cfg.Bind, err)
	}
	// Answers of /drain take as long as a drain, so that only headers are timed.
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: headerLimit}
	s.log.Info("Serving", "address", listener.Addr().String())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			s.log.Warn("Callers were cut off", "error", err.Error())
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("The endpoints were not served to the end", "error", err.Error())
		}
	}, nil
}

func (s *Sidecar) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /in-service", s.answerInService)
	mux.HandleFunc("GET /drain", s.answerDrain)
	mux.HandleFunc("POST /drain", s.answerDrain)
	if s.samples != nil {
		mux.Handle("GET /metrics", s.samples)
	}
	return mux
}

// answerInService tells whether the pod is in service, and how it stands in each group.
func (s *Sidecar) answerInService(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	ready := s.stay.served && s.stay.leavingSince.IsZero()
	state := s.stay.state
	s.mu.Unlock()
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not in service:", state)
	}
	for _, m := range s.members {
		fmt.Fprintf(w, "%s: %s\n", m.ref, m.snapshot().state)
	}
}

// answerDrain makes the pod leave, and answers when it may stop. A caller that goes
// away changes nothing. The hook that was installed in the pod asks as it would ask the
// controller, again and again, so that it outlasts this process.
func (s *Sidecar) answerDrain(w http.ResponseWriter, r *http.Request) {
	if !s.mayDrain(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "send the token of --drain-token, as \"Authorization: Bearer TOKEN\"", http.StatusUnauthorized)
		return
	}
	over := s.Leave("asked to by " + r.RemoteAddr)
	if r.URL.Query().Has(drain.ParamUID) {
		answerHook(w, r, over)
		return
	}
	select {
	case <-over:
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprintln(w, s.stay.state)
	case <-r.Context().Done():
	}
}

// answerHook answers whether the pod may stop: at once if the hook does not know yet that
// it may not, else when it may, or after a while.
func answerHook(w http.ResponseWriter, r *http.Request, over <-chan struct{}) {
	answer := drain.Answer{State: drain.StillRegistered}
	patience := drain.LongPoll
	if r.URL.Query().Get(drain.ParamKnown) != answer.Known() {
		patience = 0
	}
	select {
	case <-over:
		answer.State = drain.NotRegistered
	case <-time.After(patience):
	case <-r.Context().Done():
		return
	}
	_ = json.NewEncoder(w).Encode(answer) // who has gone needs no answer
}

func (s *Sidecar) mayDrain(r *http.Request) bool {
	if s.cfg.DrainToken == "" {
		return true
	}
	token, bears := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return bears && subtle.ConstantTimeCompare([]byte(token), []byte(s.cfg.DrainToken)) == 1
}

// inServiceEverywhere tells whether the pod is in service in all groups, as far as the
// settings ask for that.
func (s *Sidecar) inServiceEverywhere() bool { return s.missing() == "" }

// missing tells which groups the pod is not in service in, and why.
func (s *Sidecar) missing() string {
	var states []string
	for _, m := range s.members {
		f := m.snapshot()
		if f.inService || f.registered && !s.cfg.WaitInService {
			continue
		}
		states = append(states, fmt.Sprintf("%s: %s", m.ref, f.state))
	}
	return strings.Join(states, "; ")
}

func (m *member) snapshot() found {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found
}
