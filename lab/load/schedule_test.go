package load

import (
	"math"
	"reflect"
	"testing"
	"time"
)

func arrivals(t *testing.T, o Options, d time.Duration) []arrival {
	t.Helper()
	o = o.withDefaults()
	targets, err := o.targets()
	if err != nil {
		t.Fatal(err)
	}
	s := newSchedule(o, targets)
	var all []arrival
	for a := s.next(); a.due < d; a = s.next() {
		all = append(all, a)
	}
	return all
}

var twoTargets = []string{"http://127.0.0.1:1", "http://127.0.0.2:1"}

func TestUniformArrivals(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 3, 300, 999} {
		all := arrivals(t, Options{Targets: twoTargets, Rate: rate, Arrivals: Uniform, Run: "r"}, 20*time.Second)
		if want := int(rate * 20); len(all) != want {
			t.Errorf("%d arrivals at rate %v in 20s, want %d", len(all), rate, want)
		}
		for i, a := range all {
			if want := float64(i) / rate; math.Abs(a.due.Seconds()-want) > 1e-8 {
				t.Fatalf("rate %v: arrival %d is due at %v, want %v", rate, i, a.due, want)
			}
		}
	}
}

// The number of Poisson arrivals has the variance of its mean, and so has the
// distance between two, squared.
func TestPoissonArrivals(t *testing.T) {
	const rate, seconds, seeds = 200.0, 20, 50
	total := 0
	for seed := range uint64(seeds) {
		all := arrivals(t, Options{Targets: twoTargets, Rate: rate, Seed: seed, Run: "r"}, seconds*time.Second)
		if off := math.Abs(float64(len(all)) - rate*seconds); off > 5*math.Sqrt(rate*seconds) {
			t.Errorf("seed %d: %d arrivals, %v off", seed, len(all), off)
		}
		total += len(all)
		sum, squares, last := 0.0, 0.0, time.Duration(0)
		for _, a := range all {
			if a.due < last {
				t.Fatalf("seed %d: %v after %v", seed, a.due, last)
			}
			gap := (a.due - last).Seconds()
			sum, squares, last = sum+gap, squares+gap*gap, a.due
		}
		n := float64(len(all))
		mean := sum / n
		if variation := math.Sqrt(squares/n-mean*mean) / mean; variation < 0.9 || variation > 1.1 {
			t.Errorf("seed %d: the distances vary by %v of their mean", seed, variation)
		}
	}
	if off := math.Abs(float64(total) - seeds*rate*seconds); off > 5*math.Sqrt(seeds*rate*seconds) {
		t.Errorf("%d arrivals with all seeds, %v off", total, off)
	}
}

func TestScheduleIsOfTheSeed(t *testing.T) {
	o := Options{Targets: twoTargets, Rate: 100, Seed: 7, Run: "r", Mix: Mix{KeepAlive: 6, New: 3, Long: 1}}
	first, again := arrivals(t, o, 10*time.Second), arrivals(t, o, 10*time.Second)
	if !reflect.DeepEqual(first, again) {
		t.Error("the same seed has given two schedules")
	}
	o.Seed = 8
	if reflect.DeepEqual(first, arrivals(t, o, 10*time.Second)) {
		t.Error("two seeds have given the same schedule")
	}
}

func TestMixAndTurns(t *testing.T) {
	targets := append([]string{"tcp://127.0.0.1:2"}, twoTargets...)
	mix := Mix{KeepAlive: 60, New: 30, Raw: 10}
	all := arrivals(t, Options{Targets: targets, Rate: 1000, Mix: mix, Run: "r"}, 10*time.Second)
	kinds, sent := map[Kind]int{}, map[string]int{}
	for _, a := range all {
		kinds[a.kind]++
		sent[a.target.name]++
		if (a.kind == Raw) != (a.target.name == targets[0]) {
			t.Fatalf("a request of kind %s goes to %s", a.kind, a.target.name)
		}
	}
	for kind, parts := range mix {
		want := float64(len(all)) * float64(parts) / 100
		if math.Abs(float64(kinds[kind])-want) > 5*math.Sqrt(want) {
			t.Errorf("%d requests of kind %s, want about %.0f", kinds[kind], kind, want)
		}
	}
	if d := sent[targets[1]] - sent[targets[2]]; d < -1 || d > 1 {
		t.Errorf("targets do not take turns: %v", sent)
	}
}
