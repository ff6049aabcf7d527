package losses

import (
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
)

func TestTiming(t *testing.T) {
	spread := func(longest time.Duration) routing.Spread {
		return routing.Spread{Min: time.Second, Max: 2 * time.Second, Tail: 0.1, TailMax: longest}
	}
	p := Profile{
		Protocol: "HTTP", Registration: 4 * time.Second, CheckInterval: 5 * time.Second, DeregistrationDelay: time.Minute,
		Delays: routing.Profile{Register: spread(10 * time.Second), Deregister: spread(41 * time.Second), Health: spread(6 * time.Second)},
	}
	for name, test := range map[string]struct {
		change func(*Profile)
		speed  float64
		late   time.Duration
		want   Timing
	}{
		// Healthy after 4 s and two checks; 6 s later known: 20 s, and 2 for the cluster. Held
		// for the deregistration delay and 15 s, and half a second for the machine.
		"real time": {func(*Profile) {}, 1, 0, Timing{MinReady: 22, Sleep: 43, Grace: 48, Hold: 76, SleepLate: 10, Late: 30, Shutdown: 5}},
		// 2 s + 2 s; 4.1 s + 2 s, rounded up; 7.5 s + 0.5 s. What tgc does late is late in real time.
		"ten times as fast": {func(*Profile) {}, 10, 0, Timing{MinReady: 4, Sleep: 7, Grace: 12, Hold: 8, SleepLate: 10, Late: 30, Shutdown: 5}},
		"a minute late":     {func(*Profile) {}, 10, time.Minute, Timing{MinReady: 4, Sleep: 7, Grace: 12, Hold: 8, SleepLate: 10, Late: 90, Shutdown: 5}},
		"registration is learned last": {
			func(p *Profile) { p.Delays.Register = spread(50 * time.Second) }, 10, 0,
			Timing{MinReady: 7, Sleep: 7, Grace: 12, Hold: 8, SleepLate: 10, Late: 30, Shutdown: 5},
		},
		"a Network Load Balancer": {
			func(p *Profile) { p.Protocol = "TCP" }, 60, 0, Timing{MinReady: 3, Sleep: 3, Grace: 8, Hold: 6, SleepLate: 10, Late: 30, Shutdown: 5},
		},
	} {
		changed := p
		test.change(&changed)
		if got := changed.Timing(test.speed, test.late); got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

// At any speed the sleep outlasts the last node, and all that is scaled.
func TestTimingOutlastsTheLastNode(t *testing.T) {
	for _, p := range Profiles() {
		for _, speed := range []float64{1, 3, p.Speed, 1000} {
			scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) / speed) }
			timing := p.Timing(speed, 0)
			if hold := time.Duration(timing.Hold) * time.Second; hold < scaled(p.Delays.Deregister.Longest()) {
				t.Errorf("%s at %g: a hold of %s, and the last node learns after %s", p.Name, speed, hold, scaled(p.Delays.Deregister.Longest()))
			}
			sleep := time.Duration(timing.Sleep) * time.Second
			if least := scaled(p.Delays.Deregister.Longest()) + clusterTakes; sleep < least || sleep >= least+time.Second {
				t.Errorf("%s at %g: the sleep of %s, want %s in whole seconds", p.Name, speed, sleep, least)
			}
			if timing.Grace < timing.Sleep+seconds(longRequest) {
				t.Errorf("%s at %g: %+v leaves no time to shut down", p.Name, speed, timing)
			}
		}
		rest := time.Duration(float64(p.DeregistrationDelay-p.Delays.Deregister.Longest()) / p.Speed)
		if p.application() && rest < 2*longRequest {
			t.Errorf("%s: long requests on a node that learns last are cut after %s", p.Name, rest)
		}
		if longest := p.longest(p.Speed); longest < 2*longRequest || p.application() && longest >= rest || longest >= shutdown {
			t.Errorf("%s: the longest requests take %s; they are cut after %s, and by the end of the shutdown after %s", p.Name, longest, rest, shutdown)
		}
	}
}
