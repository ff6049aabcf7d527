package routing

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Spread is a distribution of delays: evenly between Min and Max, but for a
// share Tail of draws that fall evenly between Max and TailMax.
type Spread struct {
	Min, Max time.Duration
	Tail     float64 // 0 to 1
	TailMax  time.Duration
}

// At is the delay at a point u of the distribution, from 0 to just below 1.
func (s Spread) At(u float64) time.Duration {
	body := 1 - s.Tail
	if u < body {
		return s.Min + time.Duration(u/body*float64(s.Max-s.Min))
	}
	return s.Max + time.Duration((u-body)/s.Tail*float64(s.TailMax-s.Max))
}

// Longest is the bound that no delay exceeds.
func (s Spread) Longest() time.Duration { return max(s.Max, s.TailMax) }

// String spells s as ParseSpread reads it.
func (s Spread) String() string {
	text := s.Min.String() + "-" + s.Max.String()
	if s.Tail > 0 {
		text += "+" + strconv.FormatFloat(s.Tail*100, 'g', -1, 64) + "%-" + s.TailMax.String()
	}
	return text
}

// ParseSpread reads MIN-MAX, such as 2m-5m, or MIN-MAX+SHARE%-MAX with a tail, such
// as 500ms-5s+5%-40s.
func ParseSpread(text string) (Spread, error) {
	body, tail, tailed := strings.Cut(text, "+")
	var s Spread
	failed := func(err error) (Spread, error) {
		return Spread{}, fmt.Errorf("delay %q: want MIN-MAX such as 2m-5m, or with a tail 500ms-5s+5%%-40s: %w", text, err)
	}
	low, high, _ := strings.Cut(body, "-")
	var err error
	if s.Min, err = time.ParseDuration(low); err != nil {
		return failed(err)
	}
	if s.Max, err = time.ParseDuration(high); err != nil {
		return failed(err)
	}
	if tailed {
		share, longest, _ := strings.Cut(tail, "%-")
		if s.Tail, err = strconv.ParseFloat(share, 64); err != nil {
			return failed(err)
		}
		s.Tail /= 100
		if s.TailMax, err = time.ParseDuration(longest); err != nil {
			return failed(err)
		}
	}
	if s.Min < 0 || s.Max < s.Min || s.Tail < 0 || s.Tail > 1 || tailed && s.TailMax < s.Max {
		return failed(fmt.Errorf("the numbers must not fall"))
	}
	return s, nil
}

// Profile is how late the nodes of a load balancer learn what was decided.
type Profile struct {
	// Register is the delay from a registration to a node that may send there.
	Register Spread
	// Deregister is the delay from a deregistration to a node that starts nothing
	// new there.
	Deregister Spread
	// Health is the delay from a change of health to a node that heeds it.
	Health Spread
}

// ALB is an Application Load Balancer: seconds, with a tail of tens of seconds
// after a deregistration.
func ALB() Profile {
	return Profile{
		Register:   Spread{Min: 500 * time.Millisecond, Max: 5 * time.Second},
		Deregister: Spread{Min: 500 * time.Millisecond, Max: 5 * time.Second, Tail: 0.05, TailMax: 40 * time.Second},
		Health:     Spread{Max: 2 * time.Second},
	}
}

// NLB is a Network Load Balancer: minutes.
func NLB() Profile {
	return Profile{
		Register:   Spread{Min: 90 * time.Second, Max: 180 * time.Second},
		Deregister: Spread{Min: 120 * time.Second, Max: 300 * time.Second},
		Health:     Spread{Max: 40 * time.Second},
	}
}
