// Package sidecar keeps one pod in its target groups, from within the pod: it
// registers the pod's address, waits until load balancers find it healthy, and when
// the pod ends deregisters it and tells the other containers when they may stop. It
// asks nothing of Kubernetes.
//
//	join                                   leave
//	pre-register command                   deregister
//	wait for the application               hold until no load balancer sends any more
//	random pause (start spread)            post-deregister command
//	register, wait until in service        callers of /drain are answered
//	post-register command                  SIGTERM: exit
//	repair on every sweep                  no SIGTERM within the grace period: join again
//
// What is decided and how calls are made is the controller's: a plan of
// internal/plan, in which all targets but the pod's own are held, is carried out by an
// elb.Syncer for each group.
package sidecar

import (
	"math"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Settings are what a Sidecar is to do.
type Settings struct {
	// Groups are the target groups, at least one.
	Groups []target.Ref
	// Region is that of the groups that are named by name.
	Region string
	// Role is the role to assume, empty for the pod's own, and ExternalID what its
	// trust policy asks for.
	Role, ExternalID string
	// Addrs are the pod's addresses, at most one of a family.
	Addrs []netip.Addr
	// Port is registered; 0 for that of each group.
	Port uint16

	// WaitFor answer once the application serves: tcp, http or https.
	WaitFor []*url.URL
	// WaitInService tells whether the pod is in service only once the load balancers
	// say so. If they do not within InServiceTimeout that is reported, and with
	// InServiceFatal ends the sidecar.
	WaitInService    bool
	InServiceTimeout time.Duration
	InServiceFatal   bool
	// StartSpread is the longest of the random pauses before the first call.
	StartSpread time.Duration
	// Sweep is how often an unchanged group is looked at.
	Sweep time.Duration

	PreRegister, PostRegister, PostDeregister Command

	// Grace is how long after its deletion the pod is killed, and Shutdown how much of
	// that the other containers need after the drain.
	Grace, Shutdown time.Duration
	// Hold is for how long the pod serves on after its deregistration; nil for what
	// follows from the group.
	Hold *time.Duration

	// Bind is where the endpoints are served; empty for nowhere.
	Bind string
	// DrainToken, if not empty, is what callers of /drain have to send.
	DrainToken string
	// StateDir keeps what must outlast the process; empty for nothing.
	StateDir string
}

// Command is a program that is run at a moment of the pod's life.
type Command struct {
	// Name tells the moment, for the log.
	Name string
	// Argv is the program and its arguments; empty for none.
	Argv    []string
	Timeout time.Duration
	// Fatal: the sidecar ends if the command fails.
	Fatal bool
}

// Hook is what the program has to know that is the preStop hook of the other containers:
// where this sidecar answers, and for how long to wait if it does not.
func (s *Settings) Hook() drain.Pod {
	return drain.Pod{
		LateSeconds:     int(max(0, s.Grace-s.Shutdown-drain.Margin) / time.Second),
		ShutdownSeconds: int(math.Ceil(s.Shutdown.Seconds())),
		Endpoint:        s.withinPod(), Token: s.DrainToken,
	}
}

// withinPod is where other containers of the pod reach the endpoints.
func (s *Settings) withinPod() string {
	host, port, err := net.SplitHostPort(s.Bind)
	if err != nil {
		return ""
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
