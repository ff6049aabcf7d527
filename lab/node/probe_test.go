package node

import (
	"strings"
	"testing"
)

func TestThresholds(t *testing.T) {
	count := thresholds{successes: 2, failures: 3}
	const results = "---++++--+---++-"
	const verdicts = "..N.Y.......N.Y."
	var got strings.Builder
	for _, result := range results {
		passed, news := count.add(result == '+')
		switch {
		case !news:
			got.WriteByte('.')
		case passed:
			got.WriteByte('Y')
		default:
			got.WriteByte('N')
		}
	}
	if got.String() != verdicts {
		t.Errorf("\nresults  %s\nverdicts %s\nwant     %s", results, got.String(), verdicts)
	}
}
