package elbsim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is a simulator that listens: on one address, or on two if the admin API
// has its own. Serve answers.
type Server struct {
	*Sim
	// Endpoint is the URL of the AWS API, for AWS_ENDPOINT_URL.
	Endpoint string
	// Admin is the URL of the admin API.
	Admin string

	faces []face
}

// Listen opens the addresses that Serve then serves. Both are host:port, and port
// 0 picks a free one; with an empty admin address the admin API is under AdminPath
// of the other.
func (s *Sim) Listen(ctx context.Context, address, admin string) (*Server, error) {
	var network net.ListenConfig
	listener, err := network.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("the AWS API cannot be served: %w", err)
	}
	endpoint := "http://" + listener.Addr().String()
	if admin == "" {
		return &Server{Sim: s, Endpoint: endpoint, Admin: endpoint + AdminPath, faces: []face{{listener, s.Handler()}}}, nil
	}
	second, err := network.Listen(ctx, "tcp", admin)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the admin API cannot be served: %w", err), listener.Close())
	}
	return &Server{
		Sim: s, Endpoint: endpoint, Admin: "http://" + second.Addr().String(),
		faces: []face{{listener, s.AWSHandler()}, {second, s.AdminHandler()}},
	}, nil
}

// AdminVariable is the environment variable that tells programs where the admin
// API is.
const AdminVariable = "TGC_SIM_ADMIN"

// Environ is what points the AWS SDKs and newer AWS CLIs at the server. A region
// and credentials that getenv knows are kept.
func (s *Server) Environ(getenv func(string) string) []string {
	region := cmp.Or(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION"), DefaultRegion)
	env := []string{
		"AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=" + s.Endpoint, AdminVariable + "=" + s.Admin,
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region, // some read the one, some the other
	}
	if getenv("AWS_ACCESS_KEY_ID") == "" {
		env = append(env, "AWS_ACCESS_KEY_ID=simulated", "AWS_SECRET_ACCESS_KEY=simulated")
	}
	return env
}

// Serve runs the simulator and answers until ctx ends, which is no error. Calls
// that hang then end without a reply. Nothing of the simulator runs any more when
// it returns.
func (s *Server) Serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var under sync.WaitGroup
	under.Go(func() { s.Run(ctx) })
	failures := make([]error, len(s.faces))
	for i, f := range s.faces {
		under.Go(func() {
			failures[i] = f.serve(ctx)
			stop() // one face down brings all down
		})
	}
	under.Wait()
	return errors.Join(failures...)
}

// Running is a simulator that serves in the background.
type Running struct {
	*Server
	stop  context.CancelFunc
	ended chan struct{}
	err   error // set before ended is closed
}

// Start makes a simulator and serves it on a free port of loopback until Stop.
func Start(options Options) (*Running, error) {
	sim, err := New(options)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	server, err := sim.Listen(ctx, "127.0.0.1:0", "")
	if err != nil {
		stop()
		return nil, err
	}
	r := &Running{Server: server, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = server.Serve(ctx)
	}()
	return r, nil
}

// Stop ends the simulator and waits for the end of all that it does. It may be
// called more than once; the error tells why serving ended before.
func (r *Running) Stop() error {
	r.stop()
	<-r.ended
	return r.err
}

// face is one server that listens.
type face struct {
	listener net.Listener
	handler  http.Handler
}

// shutdownGrace is how long calls may take to end once the simulator stops.
const shutdownGrace = 3 * time.Second

// serve answers requests until ctx ends, and theirs with it.
func (f face) serve(ctx context.Context) error {
	var silent silentConns
	server := &http.Server{
		Handler:           f.handler,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         silent.note,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		silent.close()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close() // cuts off what is still there; its error is the listener's
		}
	})
	err := server.Serve(f.listener)
	if stop() { // ctx did not end it
		return err
	}
	<-stopped
	return nil
}

// silentConns are connections on which no request has come yet. A shutdown would
// wait seconds for one, and clients do open connections that they then do not use.
type silentConns struct {
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

// note follows a connection, in the way of http.Server.ConnState.
func (s *silentConns) note(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(s.conns, conn)
	case s.closed:
		conn.Close()
	default:
		if s.conns == nil {
			s.conns = map[net.Conn]struct{}{}
		}
		s.conns[conn] = struct{}{}
	}
}

// close closes them, and those to come.
func (s *silentConns) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.conns {
		conn.Close()
	}
}
