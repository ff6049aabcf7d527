package rig

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

// StartSimulator starts a simulator on a free port, whose health checks and data
// plane reach the lab's pods.
func StartSimulator(options elbsim.Options) (*elbsim.Running, error) {
	dial, err := elbsim.ParseDialMap(DialMap())
	if err != nil {
		return nil, err
	}
	options.Check = elbsim.Prober{Dial: dial.Dial}.Check
	if options.DataPlane != nil {
		plane := *options.DataPlane
		plane.Dial = dial.Dial
		options.DataPlane = &plane
	}
	return elbsim.Start(options)
}

// ServeToPods serves a simulator where pods of real nodes reach it, and gives its URL.
// Pods of loopback nodes reach any simulator at its own endpoint.
func ServeToPods(sim *elbsim.Sim) (endpoint string, stop func() error, err error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(vpc.Real().Gateway().String(), "0"))
	if err != nil {
		return "", nil, fmt.Errorf("serve the simulator to pods: %w", err)
	}
	server := &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	return "http://" + listener.Addr().String(), server.Close, nil
}
