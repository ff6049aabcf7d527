package load

import (
	"math"
	"math/bits"
	"time"
)

// Each power of two is divided into 1<<precision buckets of equal width, so a
// bucket is at most 1/128 of its values wide, whatever their size.
const precision = 7

// Precision is how far a quantile of a [Histogram] may be above the exact one, in
// parts of it.
const Precision = 1.0 / (1 << precision)

// Histogram counts durations in buckets whose width grows with the value, in the
// manner of HdrHistogram. It takes 1 KiB for each power of two up to the longest
// duration seen, from 256 ns on. The zero value is ready. It must not be used by
// two goroutines at once.
type Histogram struct {
	counts   []uint64
	count    uint64
	sum      float64
	min, max time.Duration
}

// Record counts one duration. Negative ones count as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	if i := bucket(d); i >= len(h.counts) {
		h.grow(i)
	}
	h.counts[bucket(d)]++
	if h.count == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.sum += float64(d)
	h.count++
}

// grow makes room for bucket i and all others of its power of two.
func (h *Histogram) grow(i int) {
	grown := make([]uint64, (i>>precision+1)<<precision)
	copy(grown, h.counts)
	h.counts = grown
}

// Count is how many durations were recorded.
func (h *Histogram) Count() int { return int(h.count) }

// Max is the longest duration recorded, exactly; 0 without any.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean of all durations; 0 without any.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.count))
}

// Quantile is a duration that the fraction q of all, from 0 to 1, do not exceed.
// It is never below the smallest such duration, and above it by at most
// [Precision]. It is 0 without any durations.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.count)))
	rank = min(max(rank, 1), h.count)
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(max(upper(i), h.min), h.max)
		}
	}
	return h.max
}

// bucket of a duration: those below 2<<precision ns have one each.
func bucket(d time.Duration) int {
	shift := max(bits.Len64(uint64(d))-precision-1, 0)
	return shift<<precision + int(d>>shift)
}

// upper is the longest duration in a bucket.
func upper(i int) time.Duration {
	shift := max(i>>precision-1, 0)
	sub := i - shift<<precision
	return time.Duration((uint64(sub)+1)<<shift - 1)
}

// Latency sums up a [Histogram]. Durations are in nanoseconds in JSON.
type Latency struct {
	Count int           `json:"count"`
	Mean  time.Duration `json:"meanNs"`
	P50   time.Duration `json:"p50Ns"`
	P90   time.Duration `json:"p90Ns"`
	P99   time.Duration `json:"p99Ns"`
	P999  time.Duration `json:"p999Ns"`
	Max   time.Duration `json:"maxNs"`
}

// Latency sums the histogram up.
func (h *Histogram) Latency() Latency {
	return Latency{
		Count: h.Count(),
		Mean:  h.Mean(),
		P50:   h.Quantile(0.5),
		P90:   h.Quantile(0.9),
		P99:   h.Quantile(0.99),
		P999:  h.Quantile(0.999),
		Max:   h.Max(),
	}
}
