// Package clock is the simulator's time, which may run faster than that of the
// machine, so that minutes of a load balancer's inertia pass in seconds.
package clock

import "time"

// Clock tells simulated time. It is safe for concurrent use.
type Clock struct {
	start time.Time
	speed float64
}

// New makes a clock that shows the machine's time now and runs speed times as
// fast from here on; zero stands for one.
func New(speed float64) Clock {
	if speed == 0 {
		speed = 1
	}
	return Clock{start: time.Now(), speed: speed}
}

// Now is the simulated time. At speed 1 it is the machine's.
func (c Clock) Now() time.Time {
	if c.speed == 1 {
		return time.Now()
	}
	return c.start.Add(time.Duration(float64(time.Since(c.start)) * c.speed))
}

// Speed is how many times faster than the machine's time this runs.
func (c Clock) Speed() float64 { return c.speed }

// Until is how long to wait, in real time, for a simulated moment. It is rounded
// up, so that the moment has come once the wait is over.
func (c Clock) Until(moment time.Time) time.Duration {
	if c.speed == 1 {
		return time.Until(moment)
	}
	return c.Real(moment.Sub(c.Now())) + time.Nanosecond
}

// Real is how long a simulated duration takes in real time.
func (c Clock) Real(simulated time.Duration) time.Duration {
	return time.Duration(float64(simulated) / c.speed)
}

// Simulated is how long a real duration is in simulated time: what has to be set for
// something to wait for programs that run no faster because the clock does.
func (c Clock) Simulated(d time.Duration) time.Duration {
	return time.Duration(float64(d) * c.speed)
}

// floor is the shortest time that programs under test are given to answer: they
// run no faster because the clock does.
const floor = time.Second

// Timeout is Real for a limit on what programs under test do: never below one
// second, unless the simulated time itself is.
func (c Clock) Timeout(simulated time.Duration) time.Duration {
	return max(c.Real(simulated), min(simulated, floor))
}
