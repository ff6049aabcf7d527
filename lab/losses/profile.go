package losses

import (
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
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
	// CheckInterval of the health checks.
	CheckInterval time.Duration
	// Idle connections are closed after that time, and targets that do not answer are
	// given up. It is real time.
	Idle time.Duration
	// Speed is how many times as fast the load balancer's time runs unless
	// [Case.Speed] says otherwise: such that a run takes about half a minute.
	Speed float64
	// Mix of requests; Image is what answers them, and LivePort where it can be asked,
	// and told, whether it is alive.
	Mix      load.Mix
	Image    string
	LivePort int32
}

// Profiles are all there are.
func Profiles() []Profile {
	return []Profile{
		{
			Name: "ALB", About: "an Application Load Balancer: nodes learn within seconds, some after tens of seconds",
			Protocol: "HTTP", Delays: routing.ALB(), Registration: time.Second,
			DeregistrationDelay: time.Minute, CheckInterval: 5 * time.Second, Idle: time.Minute, Speed: 10,
			Mix: load.Mix{load.KeepAlive: 60, load.New: 30, load.Long: 10}, Image: webImage, LivePort: podPort,
		},
		{
			Name: "NLB", About: "a Network Load Balancer: nodes learn after minutes",
			Protocol: "TCP", Delays: routing.NLB(), Registration: 90 * time.Second,
			DeregistrationDelay: 5 * time.Minute, CheckInterval: 20 * time.Second, Idle: 350 * time.Second, Speed: 60,
			Mix: load.Mix{load.Raw: 1}, Image: echoImage, LivePort: livePort,
		},
	}
}

// application tells whether it is an Application Load Balancer.
func (p Profile) application() bool { return p.Protocol == "HTTP" }

// traffic is what is sent unless a scenario wants something else.
func (p Profile) traffic() Traffic { return Traffic{Mix: p.Mix, Answer: answerTime, Long: longRequest} }

// longest is how long a request may take that the last node to learn of a
// deregistration sends: until the deregistration delay is over. Behind a Network Load
// Balancer that ends nothing, and what ends a request is the pod's shutdown; a third of
// the delay is well within that. A tenth is left for the machine.
func (p Profile) longest(speed float64) time.Duration {
	left := p.DeregistrationDelay - p.Delays.Deregister.Longest()
	if !p.application() {
		left = p.DeregistrationDelay / 3
	}
	return clock.New(speed).Real(left) * 9 / 10
}

const (
	// healthyThreshold is how many checks a target has to pass behind a Network Load
	// Balancer. Behind an Application Load Balancer it is one; it gets the time of
	// one more.
	healthyThreshold = 2
	// clusterTakes is what the cluster and tgc may need to pass on that a pod is
	// ready or leaving, in real time: usually some milliseconds, but a slice of
	// endpoints may be a second late, and Kubernetes cuts the time since when a
	// pod is ready to whole seconds.
	clusterTakes = 2 * time.Second
	// machineTakes is what a node of the load balancer may need, in real time, from
	// the choice of a pod to its answer, where this machine is busy.
	machineTakes = 500 * time.Millisecond
	// leaderTakes is how late the leader's death makes what it was about to do, in
	// real time: its Lease has to end, and another has to take it and look.
	leaderTakes = 5 * time.Second
	// shutdown is how long a pod may take from SIGTERM to its end.
	shutdown = 5 * time.Second
	// sleepLate is how late a deregistration may be, in real time, with tgc's Sleep;
	// with Hold it is holdLate later than they are made. That is more than the 20 s
	// after which tgc knows that a pod has no successor to wait for.
	sleepLate = 10 * time.Second
	holdLate  = 30 * time.Second
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
	// Sleep is how long a pod goes on serving that is told to end, with the sleep of
	// plain Kubernetes: until the last node has learned of its deregistration.
	Sleep int64 `json:"sleepSeconds"`
	// Grace is enough for that and a shutdown after it.
	Grace int64 `json:"gracePeriodSeconds"`
	// Hold is how long a pod goes on serving after its deregistration: what tgc
	// does by itself for such a group, in the load balancer's time. The
	// deregistration may come SleepLate with tgc's mode Sleep, Late with Hold.
	// Shutdown is what the pod needs then.
	Hold      int32 `json:"holdSeconds"`
	SleepLate int32 `json:"sleepLateSeconds"`
	Late      int32 `json:"lateSeconds"`
	Shutdown  int32 `json:"shutdownSeconds"`
}

// Timing for load balancers whose time runs so many times as fast, and of which
// deregistrations are so late.
func (p Profile) Timing(speed float64, late time.Duration) Timing {
	c := clock.New(speed)
	checked := p.Registration + healthyThreshold*p.CheckInterval + p.Delays.Health.Longest()
	known := max(checked, p.Delays.Register.Longest())
	sleep := c.Real(p.Delays.Deregister.Longest()) + clusterTakes
	held := drain.Of(drain.Settings{Mode: drain.Hold}, drain.Group{
		Known: true, Application: p.application(), Delay: &p.DeregistrationDelay,
	}).Hold
	return Timing{
		MinReady:  seconds(c.Real(known) + clusterTakes),
		Sleep:     seconds(sleep),
		Grace:     seconds(sleep) + seconds(shutdown),
		Hold:      int32(seconds(c.Real(held) + machineTakes)),
		SleepLate: int32(seconds(sleepLate)),
		Late:      int32(seconds(late + holdLate)),
		Shutdown:  int32(seconds(shutdown)),
	}
}

// seconds that a duration takes, begun ones included.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// scheme of the addresses that load is sent to.
func (p Profile) scheme() string {
	if p.application() {
		return "http://"
	}
	return "tcp://"
}
