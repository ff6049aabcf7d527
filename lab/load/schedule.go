package load

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Arrivals is how requests are spread over time.
type Arrivals string

const (
	// Poisson arrivals are independent of each other, as those of many clients
	// are: the time between two is distributed exponentially.
	Poisson Arrivals = "poisson"
	// Uniform arrivals come at equal distances.
	Uniform Arrivals = "uniform"
)

// arrival is one request that is to be sent.
type arrival struct {
	id     string
	due    time.Duration // since the beginning
	kind   Kind
	target target
}

// schedule says which request is due when. It knows nothing of answers, so
// nothing that a server does can change it.
type schedule struct {
	options Options
	random  *rand.Rand
	targets map[string][]target
	turns   map[string]int
	n       int
	seconds float64 // when the last one was due
	parts   int     // of the mix
}

func newSchedule(o Options, targets map[string][]target) *schedule {
	return &schedule{
		options: o,
		random:  rand.New(rand.NewPCG(o.Seed, 0)),
		targets: targets,
		turns:   map[string]int{},
		parts:   o.Mix.sum(),
	}
}

// next is the following arrival; the due times never decrease.
func (s *schedule) next() arrival {
	if s.options.Arrivals == Uniform {
		s.seconds = float64(s.n) / s.options.Rate
	} else {
		s.seconds += s.random.ExpFloat64() / s.options.Rate
	}
	kind := s.options.Mix.at(s.random.IntN(s.parts))
	a := arrival{
		id:     fmt.Sprintf("%s-%d", s.options.Run, s.n),
		due:    time.Duration(s.seconds * float64(time.Second)),
		kind:   kind,
		target: s.turn(kind.scheme()),
	}
	s.n++
	return a
}

func (s *schedule) turn(scheme string) target {
	group := s.targets[scheme]
	t := group[s.turns[scheme]%len(group)]
	s.turns[scheme]++
	return t
}
