package load

import (
	"math"
	"time"
)

// Result of a run, or of what has been of it so far. In JSON durations are in
// nanoseconds.
type Result struct {
	Run      string        `json:"run"`
	Mix      string        `json:"mix"`
	Rate     float64       `json:"rate"` // asked for, in requests a second
	Arrivals Arrivals      `json:"arrivals"`
	Seed     uint64        `json:"seed"`
	Began    time.Time     `json:"began"`
	Elapsed  time.Duration `json:"elapsedNs"` // of sending; waiting for the last answers not counted

	// Sent = Answered + Lost + Outstanding. The last is 0 in the end.
	Sent        int `json:"sent"`
	Answered    int `json:"answered"`
	Lost        int `json:"lost"`
	Outstanding int `json:"outstanding"`
	// UpperBound is what the probability to lose a request is below, with a
	// confidence of 95 %; 3/n if none of n was lost, 1 without any request. It
	// takes requests for independent of each other, which those that meet the same
	// disturbance are not: say with it how many disturbances there were.
	UpperBound float64 `json:"upperBound95"`

	Classes map[Class]int `json:"classes"`
	// Losses are the first ones, in order of their end.
	Losses []Loss `json:"losses"`
	// Duplicates are nil if nobody watched for them.
	Duplicates *Duplicates `json:"duplicates,omitempty"`

	Kinds   []Part `json:"kinds"`
	Targets []Part `json:"targets"`
	// Pods and how many requests each has answered.
	Pods map[string]int `json:"pods"`

	// Latency of answered requests, from when they were due.
	Latency Latency `json:"latency"`
	// Service time of answered requests, from when they were sent. The true
	// latency lies between the two if this program was late.
	Service     Latency     `json:"service"`
	Punctuality Punctuality `json:"punctuality"`
	Seconds     []Second    `json:"seconds"`
}

// Part of a result: the requests of one kind or to one target.
type Part struct {
	Name     string  `json:"name"`
	Sent     int     `json:"sent"`
	Answered int     `json:"answered"`
	Lost     int     `json:"lost"`
	Latency  Latency `json:"latency"`
}

// Loss is a request that no pod answered.
type Loss struct {
	ID     string        `json:"id"`
	Due    time.Duration `json:"dueNs"` // since the beginning
	Sent   time.Duration `json:"sentNs"`
	Ended  time.Duration `json:"endedNs"`
	Kind   Kind          `json:"kind"`
	Target string        `json:"target"`
	Class  Class         `json:"class"`
	Error  string        `json:"error"`
	// Pod that it reached, if the answer or the [Collector] says so.
	Pod string `json:"pod,omitempty"`
	// From is the address and port that its connection came from; empty without one.
	From string `json:"from,omitempty"`
	// Reused says that the connection had carried another request before.
	Reused bool `json:"reused,omitempty"`
}

// Second of a run: the requests that were due in it, whenever they ended.
type Second struct {
	Second   int           `json:"second"` // from 0
	Sent     int           `json:"sent"`
	Answered int           `json:"answered"`
	Lost     int           `json:"lost"`
	Late     int           `json:"late"`
	P50      time.Duration `json:"p50Ns"`
	P99      time.Duration `json:"p99Ns"`
	Max      time.Duration `json:"maxNs"`
}

// Punctuality is how well this program has kept its schedule.
type Punctuality struct {
	// Late is how many requests were sent later than Threshold after they were due.
	Late      int           `json:"late"`
	Threshold time.Duration `json:"thresholdNs"`
	// Lag of all requests, from when they were due to when they were sent.
	Lag Latency `json:"lag"`
	// Skipped requests were never sent, since [Options.MaxOutstanding] were out.
	Skipped int `json:"skipped"`
	// Kept is false if more than one request in a hundred was late, or any was
	// skipped: then the latencies are not to be relied on. Losses are.
	Kept bool `json:"kept"`
}

// tolerated is which part of the requests may be late.
const tolerated = 0.01

func (p Punctuality) judge() Punctuality {
	p.Kept = p.Skipped == 0 && float64(p.Late) <= tolerated*float64(p.Lag.Count)
	return p
}

// UpperBound is what the probability to lose a request is below, with a confidence
// of 95 %, if so many of some were lost; see [Result.UpperBound]. It is that of a
// Poisson variable, in the approximation of Wilson and Hilferty, which is good to 1 %.
func UpperBound(lost, of int) float64 {
	if of == 0 {
		return 1
	}
	bound := 3.0
	if lost > 0 {
		const z95 = 1.645
		k := float64(lost + 1)
		bound = k * math.Pow(1-1/(9*k)+z95/(3*math.Sqrt(k)), 3)
	}
	return min(1, bound/float64(of))
}
