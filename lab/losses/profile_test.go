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
		Registration: 4 * time.Second,
		Delays:       routing.Profile{Register: spread(10 * time.Second), Deregister: spread(41 * time.Second), Health: spread(6 * time.Second)},
	}
	for name, test := range map[string]struct {
		change func(*Profile)
		speed  float64
		want   Timing
	}{
		// Healthy after 4 s and two checks; 6 s later known: 20 s, and 2 for the cluster.
		"real time": {func(*Profile) {}, 1, Timing{MinReady: 22, Sleep: 43, Grace: 48, Hold: 41, Late: 20, Shutdown: 5}},
		// 2 s + 2 s; 4.1 s + 2 s, rounded up.
		"ten times as fast": {func(*Profile) {}, 10, Timing{MinReady: 4, Sleep: 7, Grace: 12, Hold: 5, Late: 20, Shutdown: 5}},
		"registration is learned last": {
			func(p *Profile) { p.Delays.Register = spread(50 * time.Second) }, 10, Timing{MinReady: 7, Sleep: 7, Grace: 12, Hold: 5, Late: 20, Shutdown: 5},
		},
	} {
		changed := p
		test.change(&changed)
		if got := changed.Timing(test.speed); got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

// At any speed the sleep outlasts the last node, and all that is scaled.
func TestTimingOutlastsTheLastNode(t *testing.T) {
	for _, p := range Profiles() {
		for _, speed := range []float64{1, 3, p.Speed, 1000} {
			scaled := func(d time.Duration) time.Duration { return time.Duration(float64(d) / speed) }
			timing := p.Timing(speed)
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
		if rest := time.Duration(float64(p.DeregistrationDelay-p.Delays.Deregister.Longest()) / p.Speed); p.Protocol == "HTTP" && rest < 2*longRequest {
			t.Errorf("%s: long requests on a node that learns last are cut after %s", p.Name, rest)
		}
	}
}
