package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTimeRunsFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, speed := range []float64{0, 1, 10, 0.5} {
			c := New(speed)
			begin := c.Now()
			wait := c.Until(begin.Add(time.Minute))
			time.Sleep(wait)
			if passed := c.Now().Sub(begin); passed < time.Minute || passed > time.Minute+time.Microsecond {
				t.Errorf("speed %v: %v passed in %v", speed, passed, wait)
			}
		}
	})
}

func TestProgramsUnderTestGetASecond(t *testing.T) {
	c := New(100)
	for simulated, want := range map[time.Duration]time.Duration{
		5 * time.Minute: 3 * time.Second, 5 * time.Second: time.Second, 20 * time.Millisecond: 20 * time.Millisecond,
	} {
		if got := c.Timeout(simulated); got != want {
			t.Errorf("%v: got %v, want %v", simulated, got, want)
		}
	}
}

func TestSimulatedIsTheInverseOfReal(t *testing.T) {
	for _, speed := range []float64{0, 1, 20, 0.5} {
		c := New(speed)
		if got := c.Real(c.Simulated(time.Minute)); got != time.Minute {
			t.Errorf("speed %v: got %v", speed, got)
		}
	}
	if got := New(20).Simulated(3 * time.Second); got != time.Minute {
		t.Errorf("got %v", got)
	}
}
