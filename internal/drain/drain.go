// Package drain says how long a pod must go on serving once its end is decided,
// so that the load balancer has stopped sending to it when it stops.
//
//	deletion      deregistration accepted      last request possible      SIGTERM           killed
//	   |--- Late ---------|------------ Hold -----------|                    |---- Shutdown ----|
//	   |------------------------------ Grace ---------------------------------------------------|
//
// It is pure: it decides from its arguments and does nothing.
package drain

import (
	"fmt"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Mode is how a pod is kept from stopping too early.
type Mode string

// The modes, which are those of the API.
const (
	// None: it is not.
	None Mode = "None"
	// Sleep: every container sleeps for Late + Hold before SIGTERM.
	Sleep Mode = "Sleep"
	// Hold: every container waits until Hold after the deregistration.
	Hold Mode = "Hold"
)

// Settings is what a binding says. A nil duration means that it says nothing.
type Settings struct {
	Mode                 Mode
	Hold, Late, Shutdown *time.Duration
}

// Group is what is known of a target group.
type Group struct {
	// Known is false while AWS never told of the group; Application is then
	// without meaning.
	Known bool
	// Application tells an Application Load Balancer's group from that of a
	// Network Load Balancer.
	Application bool
	// Delay is the deregistration delay, nil if not known.
	Delay *time.Duration
}

// Times are for how long what lasts.
type Times struct {
	Mode                 Mode
	Hold, Late, Shutdown time.Duration
	// Sleep is how long containers sleep before SIGTERM; zero in mode Hold.
	Sleep time.Duration
	// Grace is the least grace period in which all of it has its place.
	Grace time.Duration
}

const (
	// afterDelay is for how long an Application Load Balancer may still send new
	// requests after it accepted a deregistration. Requests that it sent last may
	// take the whole deregistration delay.
	afterDelay = 15 * time.Second
	// leastApplication and leastNetwork are for how long each kind of load balancer
	// may send new requests, whatever the delay: for an Application Load Balancer
	// seconds with a tail of tens of seconds; a Network Load Balancer has been seen
	// to take 120 to 300 s, and a pod must outlast the slowest of its nodes.
	leastApplication = 45 * time.Second
	leastNetwork     = 300 * time.Second

	// With Sleep every pod waits for as long as a deregistration may be late, so
	// that a little must do; with Hold only those wait whose deregistration is.
	lateSleep = 15 * time.Second
	lateHold  = 120 * time.Second

	// shutdown is Kubernetes' own grace period for an application.
	shutdown = 30 * time.Second

	// Margin is what the grace period has beyond the sum, for the start and the
	// end of a hook.
	Margin = 5 * time.Second
)

// Of works out the times of a binding; zero if its mode is None.
func Of(s Settings, g Group) Times {
	t := Times{Mode: s.Mode, Shutdown: or(s.Shutdown, shutdown), Hold: or(s.Hold, holdFor(g))}
	switch s.Mode {
	case Sleep:
		t.Late = or(s.Late, lateSleep)
		t.Sleep = t.Late + t.Hold
	case Hold:
		t.Late = or(s.Late, lateHold)
	default:
		return Times{}
	}
	t.Grace = t.Late + t.Hold + t.Shutdown + Margin
	return t
}

// holdFor is for how long after its deregistration a target of the group may be
// at work. What is not known is taken at its longest.
func holdFor(g Group) time.Duration {
	delay := or(g.Delay, target.DefaultDelay)
	application := max(delay+afterDelay, leastApplication)
	network := max(delay, leastNetwork)
	switch {
	case !g.Known:
		return max(application, network)
	case g.Application:
		return application
	}
	return network
}

func or(set *time.Duration, otherwise time.Duration) time.Duration {
	if set != nil {
		return *set
	}
	return otherwise
}

// PodFile is the file beside the program in a pod that tells the program about its
// pod, as JSON of a Pod.
const PodFile = "pod.json"

// Pod is what the program needs to know about the pod that it holds.
type Pod struct {
	// Namespace, Name and UID tell the controller which pod asks. A sidecar needs none
	// of them: it answers for its own pod.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
	// The times, as Times has them, in seconds.
	HoldSeconds     int `json:"holdSeconds"`
	LateSeconds     int `json:"lateSeconds"`
	ShutdownSeconds int `json:"shutdownSeconds"`
	// Endpoint is where the controller or the sidecar answers, as host:port, several with
	// commas; a host may stand for several addresses. Empty if nobody is to be asked.
	Endpoint string `json:"endpoint,omitempty"`
	// Token is the bearer token that a sidecar may want of who asks.
	Token string `json:"token,omitempty"`
}

// Check tells what is missing.
func (p Pod) Check() error {
	named := p.Namespace != "" || p.Name != "" || p.UID != ""
	if named && (p.Namespace == "" || p.Name == "" || p.UID == "") {
		return fmt.Errorf("the namespace, name or UID of the pod is missing: have %q, %q, %q", p.Namespace, p.Name, p.UID)
	}
	if min(p.HoldSeconds, p.LateSeconds, p.ShutdownSeconds) < 0 {
		return fmt.Errorf("negative times: hold %d s, late %d s, shutdown %d s", p.HoldSeconds, p.LateSeconds, p.ShutdownSeconds)
	}
	return nil
}

// Times of the pod.
func (p Pod) Times() Times {
	seconds := func(n int) *time.Duration { d := time.Duration(n) * time.Second; return &d }
	return Of(Settings{
		Mode: Hold, Hold: seconds(p.HoldSeconds), Late: seconds(p.LateSeconds), Shutdown: seconds(p.ShutdownSeconds),
	}, Group{})
}
