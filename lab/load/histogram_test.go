package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantileIsWithinABucketOfTheExactOne(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		var h Histogram
		values := make([]time.Duration, 1+random.IntN(2000))
		for i := range values {
			// All magnitudes alike, from nanoseconds to centuries.
			values[i] = time.Duration(random.Int64() >> random.IntN(63))
			h.Record(values[i])
		}
		slices.Sort(values)
		if h.Count() != len(values) || h.Max() != values[len(values)-1] {
			t.Fatalf("seed %d: count %d, max %d", seed, h.Count(), h.Max())
		}
		for _, q := range []float64{0, 0.001, 0.5, 0.9, 0.99, 0.999, 1, random.Float64()} {
			rank := max(int(math.Ceil(q*float64(len(values)))), 1)
			exact := values[rank-1]
			got := h.Quantile(q)
			if got < exact || float64(got-exact) > Precision*float64(exact) {
				t.Errorf("seed %d: quantile %v of %d values is %d, exactly %d", seed, q, len(values), got, exact)
			}
		}
	}
}

func TestBucketsCoverAllDurationsOnce(t *testing.T) {
	last := bucket(math.MaxInt64)
	for i := range last {
		if bucket(upper(i)) != i || bucket(upper(i)+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d, and the next value in %d", i, upper(i), bucket(upper(i)), bucket(upper(i)+1))
		}
	}
	if upper(last) != math.MaxInt64 {
		t.Errorf("the last bucket ends at %d", upper(last))
	}
}

func TestEmptyHistogram(t *testing.T) {
	var h Histogram
	if got := h.Latency(); got != (Latency{}) {
		t.Errorf("got %+v", got)
	}
	h.Record(-time.Second)
	if got := h.Latency(); got != (Latency{Count: 1}) {
		t.Errorf("a negative duration is %+v", got)
	}
}

func BenchmarkRecord(b *testing.B) {
	var h Histogram
	for i := range b.N {
		h.Record(time.Duration(i) * time.Microsecond)
	}
}
