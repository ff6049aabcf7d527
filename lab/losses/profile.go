package losses

import (
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// Profile is a kind of load balancer with what suits it. Its times are the load
// balancer's own; where they come from is told in docs/simulator.md.
type Profile struct {
	Name, About string
	// Protocol of the target group, its health checks and the listener, from which
	// the type of the load balancer follows.
	Protocol string
	// Delays are how late its nodes learn of changes.
	Delays routing.Profile
	// Registration is how long it takes until the first health check of a target.
	Registration time.Duration
	// DeregistrationDelay of the target group. That of ALB is long enough for every
	// request to end on a node that learns last; AWS's default is 300 s.
	DeregistrationDelay time.Duration
	// Idle connections are closed after that time.
	Idle time.Duration
	// Speed is how many times as fast the load balancer's time runs unless
	// [Options.Speed] says otherwise: such that a run takes about half a minute.
	Speed float64
	// Mix of requests; Image is what answers them.
	Mix   load.Mix
	Image string
}

// Profiles are all there are.
func Profiles() []Profile {
	return []Profile{
		{
			Name: "ALB", About: "an Application Load Balancer: nodes learn within seconds, some after tens of seconds",
			Protocol: "HTTP", Delays: routing.ALB(), Registration: time.Second,
			DeregistrationDelay: time.Minute, Idle: time.Minute, Speed: 10,
			Mix: load.Mix{load.KeepAlive: 60, load.New: 30, load.Long: 10}, Image: webImage,
		},
		{
			Name: "NLB", About: "a Network Load Balancer: nodes learn after minutes",
			Protocol: "TCP", Delays: routing.NLB(), Registration: 90 * time.Second,
			DeregistrationDelay: 5 * time.Minute, Idle: 350 * time.Second, Speed: 60,
			Mix: load.Mix{load.Raw: 1}, Image: echoImage,
		},
	}
}

const (
	// checkInterval is the shortest that AWS allows. A target is healthy after
	// one passed check, behind a Network Load Balancer after healthyThreshold; it
	// gets the time of one more.
	checkInterval    = 5 * time.Second
	healthyThreshold = 2
	// clusterTakes is what the cluster and tgc may need to pass on that a pod is
	// ready or leaving, in real time: usually some milliseconds, but a slice of
	// endpoints may be a second late, and Kubernetes cuts the time since when a
	// pod is ready to whole seconds.
	clusterTakes = 2 * time.Second
	// shutdown is how long a pod may take from SIGTERM to its end.
	shutdown = 5 * time.Second
	// late is how late a deregistration may be, in real time.
	late = 20 * time.Second
	// longRequest is how long requests of the kind [load.Long] take, answerTime
	// how long all others.
	longRequest = 500 * time.Millisecond
	answerTime  = 10 * time.Millisecond
)

// Timing is what the pods are given, in seconds as Kubernetes counts them. It is
// the same for all strategies, whether they use it or not.
type Timing struct {
	// MinReady is how long a new pod is ready before an old one is told to end:
	// until the last node has learned that it is healthy.
	MinReady int64 `json:"minReadySeconds"`
	// Sleep is how long a pod goes on serving that is told to end: until the last
	// node has learned of its deregistration.
	Sleep int64 `json:"sleepSeconds"`
	// Grace is enough for the sleep and a shutdown after it.
	Grace int64 `json:"gracePeriodSeconds"`
	// Hold is how long a pod goes on serving that tgc holds, after its deregistration:
	// until the last node has learned of that. It may come Late. Shutdown is what
	// the pod needs then.
	Hold     int32 `json:"holdSeconds"`
	Late     int32 `json:"lateSeconds"`
	Shutdown int32 `json:"shutdownSeconds"`
}

// Timing for load balancers whose time runs so many times as fast.
func (p Profile) Timing(speed float64) Timing {
	c := clock.New(speed)
	checked := p.Registration + healthyThreshold*checkInterval + p.Delays.Health.Longest()
	known := max(checked, p.Delays.Register.Longest())
	sleep := c.Real(p.Delays.Deregister.Longest()) + clusterTakes
	return Timing{
		MinReady: seconds(c.Real(known) + clusterTakes),
		Sleep:    seconds(sleep),
		Grace:    seconds(sleep) + seconds(shutdown),
		Hold:     int32(seconds(c.Real(p.Delays.Deregister.Longest()))),
		Late:     int32(seconds(late)),
		Shutdown: int32(seconds(shutdown)),
	}
}

// seconds that a duration takes, begun ones included.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// scheme of the addresses that load is sent to.
func (p Profile) scheme() string {
	if p.Protocol == "TCP" {
		return "tcp://"
	}
	return "http://"
}
