package pace

import (
	"math"
	"time"
)

// How a bucket answers to AWS's refusals: additive increase, multiplicative
// decrease, as TCP finds its share of a line whose other users it cannot see.
const (
	// decrease is what remains of the share after a refusal.
	decrease = 0.5
	// floor is the least share. At it a registration may still leave every two
	// seconds: a terminating pod cannot wait much longer for its next attempt.
	floor = 1.0 / 8
	// recovery is the share regained per second: 53 s from the floor to the full.
	recovery = 1.0 / 60
	// credit is the share regained with each call that AWS accepted.
	credit = 1.0 / 40
	// episode is how long after a decrease further answers tell nothing new:
	// they belong to calls that left before it.
	episode = time.Second
)

// slack forgives the rounding of floating point when tokens are compared.
const slack = 1e-9

// bucket is a token bucket whose refill and capacity shrink by one factor, the
// share, when AWS refuses calls. The capacity shrinks too since tokens that pile
// up while nobody calls would otherwise leave in one burst, into the next refusal.
type bucket struct {
	limit  Limit
	share  float64   // in [floor, 1]
	tokens float64   // in [0, capacity()]
	at     time.Time // the time that share and tokens belong to
	cut    time.Time // of the last decrease; zero before the first
}

func newBucket(limit Limit, now time.Time) bucket {
	return bucket{limit: limit, share: 1, tokens: limit.Capacity, at: now}
}

func (b *bucket) capacity() float64 { return max(1, b.limit.Capacity*b.share) }

func (b *bucket) refill() float64 { return b.limit.Refill * b.share }

// advance brings the bucket to now. A time before the last one is ignored.
func (b *bucket) advance(now time.Time) {
	elapsed := now.Sub(b.at).Seconds()
	if elapsed <= 0 {
		return
	}
	b.tokens += b.gain(elapsed)
	b.share = min(1, b.share+recovery*elapsed)
	b.tokens = min(b.tokens, b.capacity())
	b.at = now
}

// gain is what flows in within so many seconds from b.at, the capacity aside. The
// refill grows in a straight line until the share is 1 and is constant from then.
func (b *bucket) gain(seconds float64) float64 {
	growing := min(seconds, (1-b.share)/recovery)
	return b.limit.Refill * (b.share*growing + recovery*growing*growing/2 + seconds - growing)
}

// until is the time from b.at until the bucket holds so many tokens: gain, inverted.
func (b *bucket) until(tokens float64) time.Duration {
	missing := tokens - b.tokens
	if missing <= slack {
		return 0
	}
	flow := missing / b.limit.Refill // in seconds at the full refill
	growing := (math.Sqrt(b.share*b.share+2*recovery*flow) - b.share) / recovery
	if full := (1 - b.share) / recovery; growing > full {
		growing = full + flow - (b.share*full + recovery*full*full/2)
	}
	return seconds(growing)
}

// seconds rounds up to a whole microsecond, so that what is awaited is there
// when the wait is over.
func seconds(s float64) time.Duration {
	const longest = 24 * 60 * 60 // keeps a tiny refill from overflowing
	return time.Duration(math.Ceil(min(s, longest)*1e6)) * time.Microsecond
}

func (b *bucket) take() { b.tokens = max(0, b.tokens-1) }

func (b *bucket) putBack() { b.tokens = min(b.tokens+1, b.capacity()) }

// refused takes note that AWS had no token left. However many calls are refused
// in one episode, the share is cut once.
func (b *bucket) refused(now time.Time) {
	b.advance(now)
	b.tokens = 0
	if b.inEpisode(now) {
		return
	}
	b.share = max(floor, b.share*decrease)
	b.cut = now
}

// accepted takes note that AWS did have a token.
func (b *bucket) accepted(now time.Time) {
	b.advance(now)
	if !b.inEpisode(now) {
		b.share = min(1, b.share+credit)
	}
}

func (b *bucket) inEpisode(now time.Time) bool {
	return !b.cut.IsZero() && now.Sub(b.cut) < episode
}

// reserved lists, by priority, the part of a bucket's capacity that must remain
// after a token was taken.
var reserved = [priorities]float64{Sweep: 0.25, HealthPoll: 0.15, Register: 0.1, Rollout: 0.05, Terminating: 0}

// reserve is the number of tokens that a call of the priority leaves behind. It
// is never so much that a full bucket would not serve the priority at all.
//
// Of 40 tokens sweeps leave 10, health polls 6, plain
// registrations 4 and rollouts 2.
func (b *bucket) reserve(p Priority) float64 {
	return min(reserved[p]*b.capacity(), b.capacity()-1)
}

// untilServes is the time from b.at until a call of the priority can have a
// token. It is never too long, and too short only by what the reserve grows
// meanwhile as the share recovers.
func (b *bucket) untilServes(p Priority) time.Duration { return b.until(1 + b.reserve(p)) }
