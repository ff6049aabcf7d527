package rig

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

// Simulator is an ELBv2 simulator that runs in this process and serves over the
// wire, with real health checks of the lab's pods.
type Simulator struct {
	*elbsim.Sim
	// Endpoint is its URL, for AWS_ENDPOINT_URL.
	Endpoint string

	stop    func()
	running sync.WaitGroup
}

// StartSimulator starts a simulator on a free port, whose health checks and data
// plane reach the lab's pods.
func StartSimulator(options elbsim.Options) (*Simulator, error) {
	dial, err := elbsim.ParseDialMap([]string{DialMap})
	if err != nil {
		return nil, err
	}
	options.Check = elbsim.Prober{Dial: dial}.Check
	if options.DataPlane != nil {
		plane := *options.DataPlane
		plane.Dial = dial.Dial
		options.DataPlane = &plane
	}
	sim, err := elbsim.New(options)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Simulator{Sim: sim, Endpoint: "http://" + listener.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: 10 * time.Second}
	s.stop = func() {
		cancel()
		server.Close()
	}
	s.running.Go(func() { sim.Run(ctx) })
	s.running.Go(func() { _ = server.Serve(listener) }) // ends with ErrServerClosed
	return s, nil
}

// Stop ends the simulator; calls under way are cut off.
func (s *Simulator) Stop() {
	s.stop()
	s.running.Wait()
}
