package losses

import (
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

// Strategy is how pods are protected while they leave.
type Strategy struct {
	Name, About string
	// Covers is how late a deregistration may be, in real time, without anything
	// being lost. What the cluster itself takes is in it. 0: pods are not held at all.
	Covers time.Duration
	// equip gives a pod what the strategy consists of, in plain Kubernetes. May be nil.
	equip func(*corev1.PodSpec, *stage)
	// selfRegistered: pods register themselves. No tgc controller runs, and there is no
	// binding.
	selfRegistered bool
	// ask makes a binding ask tgc for what the strategy consists of. May be nil.
	ask func(*v1beta1.TargetGroupBindingSpec, Timing)
}

// Strategies are all there are.
func Strategies() []Strategy {
	return []Strategy{
		{
			Name: "none", About: "SIGTERM as soon as the pod is told to end",
		},
		{
			Name: "gate", About: "a readiness gate of tgc, and nothing at the end of a pod's life",
			ask: gated,
		},
		{
			Name: "plain-sleep", About: "a preStop sleep of plain Kubernetes, longer than the load balancer takes to learn; no gate",
			Covers: clusterTakes,
			equip: func(pod *corev1.PodSpec, s *stage) {
				pod.Containers[0].Lifecycle = &corev1.Lifecycle{
					PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: s.timing.Sleep}},
				}
			},
		},
		{
			Name: "sleep", About: "a readiness gate and the drain mode Sleep of tgc",
			Covers: sleepLate,
			ask:    func(b *v1beta1.TargetGroupBindingSpec, t Timing) { drained(b, v1beta1.DrainSleep, t, t.SleepLate) },
		},
		{
			Name: "hold", About: "a readiness gate and the drain mode Hold of tgc",
			Covers: math.MaxInt64,
			ask:    func(b *v1beta1.TargetGroupBindingSpec, t Timing) { drained(b, v1beta1.DrainHold, t, t.Late) },
		},
		{
			Name: "sidecar-native", About: "tgc sidecar as a native sidecar, and no controller",
			Covers: math.MaxInt64, selfRegistered: true, equip: withNativeSidecar,
		},
		{
			Name: "sidecar-container", About: "tgc sidecar as a plain container, and no controller",
			Covers: math.MaxInt64, selfRegistered: true, equip: withSidecarContainer,
		},
		{
			Name: "sidecar-httpget", About: "as sidecar-native, but with an httpGet hook instead of the program",
			Covers: math.MaxInt64, selfRegistered: true, equip: withHTTPHook,
		},
	}
}

func gated(b *v1beta1.TargetGroupBindingSpec, _ Timing) {
	b.ReadinessGate = v1beta1.ReadinessGateInject
}

func drained(b *v1beta1.TargetGroupBindingSpec, mode v1beta1.DrainMode, t Timing, late int32) {
	gated(b, t)
	b.Drain = &v1beta1.Drain{Mode: mode, HoldSeconds: &t.Hold, LateSeconds: &late, ShutdownSeconds: &t.Shutdown}
}

// Claim is what must come of a case.
type Claim string

// The claims.
const (
	// Nothing may be lost.
	Nothing Claim = "nothing"
	// Something must be lost, or the case shows nothing.
	Something Claim = "something"
	// Anything may come of it, if it is explained.
	Anything Claim = "anything"
)

// Shows tells whether the case can show anything: not if nothing is deregistered that
// could be late, and not if its scenario befalls the controller, or sidecars, and there is
// none. A sidecar cannot tell the restart of a container from the end of its pod, and
// drains.
func (c Case) Shows() bool {
	late := c.Scenario.Punctual && c.Lateness.Of > 0
	alone := c.Strategy.selfRegistered && (c.Scenario.Controllers > 0 || c.Scenario.Probed)
	controlled := !c.Strategy.selfRegistered && c.Scenario.Crashes
	return !late && !alone && !controlled
}

// farTooLate is how much later than a strategy covers a deregistration has to be for
// losses to be certain: the slowest node may be faster this time than it can be.
const farTooLate = 10 * time.Second

// Claim is what must come of the case. It follows from how late a deregistration may be
// and how late it is, unless the scenario says otherwise.
func (c Case) Claim() Claim {
	if claim, own := c.Scenario.Claims[c.Strategy.Name]; own {
		return claim
	}
	late, covers := c.Lateness.Of+c.Scenario.Late+clusterTakes, c.Strategy.Covers
	switch {
	case late <= covers:
		return Nothing
	case covers == 0 || late-covers >= farTooLate:
		return Something
	}
	return Anything
}
