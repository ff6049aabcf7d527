package load

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind is a way in which clients make requests.
type Kind string

const (
	// KeepAlive is a request on a kept connection, if one is free.
	KeepAlive Kind = "keepalive"
	// New is a request on a connection of its own, closed after the answer.
	New Kind = "new"
	// Long is like KeepAlive, but asks the server to take [Options.Long] for it,
	// by the query ?latency=.
	Long Kind = "long"
	// Slow is like KeepAlive, but stops for [Options.Pause] amid sending the body,
	// which is chunked, and again amid reading the answer.
	Slow Kind = "slow"
	// Raw is an exchange of [Echo]'s protocol on a TCP connection of its own, for
	// load balancers that do not know HTTP.
	Raw Kind = "raw"
	// Flow is an exchange of [Echo]'s protocol on a kept TCP connection, if one is
	// free. The server says which answer is its last.
	Flow Kind = "flow"
)

// Kinds are all there are, in the order of reports.
func Kinds() []Kind { return []Kind{KeepAlive, New, Long, Slow, Raw, Flow} }

// Mix says how many requests are of each kind, in parts of the sum: 60, 30 and 10
// is the same as 6, 3 and 1. Which request is of which kind is drawn, so that
// kinds do not go in step with targets.
type Mix map[Kind]int

// ParseMix reads "keepalive=60,new=30,long=10".
func ParseMix(text string) (Mix, error) {
	mix := Mix{}
	for part := range strings.SplitSeq(text, ",") {
		name, number, found := strings.Cut(strings.TrimSpace(part), "=")
		if !found {
			return nil, fmt.Errorf("mix %q: %q is not of the form kind=parts", text, part)
		}
		if _, twice := mix[Kind(name)]; twice {
			return nil, fmt.Errorf("mix %q: %s is there twice", text, name)
		}
		parts, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("mix %q: %q is not a whole number", text, number)
		}
		mix[Kind(name)] = parts
	}
	if err := mix.check(); err != nil {
		return nil, fmt.Errorf("mix %q: %w", text, err)
	}
	return mix, nil
}

// String is what [ParseMix] reads.
func (m Mix) String() string {
	var parts []string
	for _, kind := range Kinds() {
		if m[kind] > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", kind, m[kind]))
		}
	}
	return strings.Join(parts, ",")
}

// maxParts of a kind keeps sums far from overflow.
const maxParts = 1_000_000

func (m Mix) check() error {
	for kind, parts := range m {
		if !slices.Contains(Kinds(), kind) {
			return fmt.Errorf("kind %q is none of %v", kind, Kinds())
		}
		if parts < 0 || parts > maxParts {
			return fmt.Errorf("%s=%d is not between 0 and %d", kind, parts, maxParts)
		}
	}
	if m.sum() == 0 {
		return fmt.Errorf("no kind has any part")
	}
	return nil
}

func (m Mix) sum() int {
	sum := 0
	for _, parts := range m {
		sum += parts
	}
	return sum
}

// at is the kind whose share of the sum holds the number i.
func (m Mix) at(i int) Kind {
	kinds := Kinds()
	for _, kind := range kinds[:len(kinds)-1] {
		if i < m[kind] {
			return kind
		}
		i -= m[kind]
	}
	return kinds[len(kinds)-1]
}

// uses says whether there are requests that go to targets of this scheme.
func (m Mix) uses(scheme string) bool {
	for kind, parts := range m {
		if parts > 0 && kind.scheme() == scheme {
			return true
		}
	}
	return false
}

const (
	schemeHTTP = "http"
	schemeTCP  = "tcp"
)

// scheme of the targets that requests of this kind go to.
func (k Kind) scheme() string {
	if k == Raw || k == Flow {
		return schemeTCP
	}
	return schemeHTTP
}
