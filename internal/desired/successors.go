package desired

import "github.com/targetgroupcontroller/targetgroupcontroller/internal/target"

// Successors is what is known of pods that are yet to become targets.
type Successors int

// The states of knowledge.
const (
	// Unforeseen: nothing is known of pods before they have an address.
	Unforeseen Successors = iota
	// NoneComing: pods are known from their creation on, since they bear the gate of
	// the binding, and there is none.
	NoneComing
	// Coming: there is a pod that stays.
	Coming
)

// successorsOf tells what is known of the successors of a binding's pods, of which the
// candidates are those that have an address.
func successorsOf(binding Binding, candidates []Candidate) Successors {
	for _, candidate := range candidates {
		if candidate.Verdict == Want || candidate.Reason == target.PodNotReady {
			return Coming
		}
	}
	known := Unforeseen
	for _, pod := range binding.Gated {
		if pod.Known != Seen {
			continue
		}
		if !pod.terminating() && !pod.Finished {
			return Coming
		}
		known = NoneComing
	}
	return known
}

// and unites what is known of two bindings. If either may be succeeded, so may the
// group's last target.
func (s Successors) and(other Successors) Successors {
	switch {
	case s == Coming || other == Coming:
		return Coming
	case s == Unforeseen || other == Unforeseen:
		return Unforeseen
	}
	return NoneComing
}
