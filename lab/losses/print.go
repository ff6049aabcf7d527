package losses

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// WriteJSON writes all reports as a list.
func WriteJSON(w io.Writer, reports []Report) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(append([]Report{}, reports...)) // a list, even if empty
}

// WriteTable writes a line for each report, sums, and examples of lost requests.
func WriteTable(w io.Writer, reports []Report) error {
	if len(reports) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STRATEGY\tSCENARIO\tPROFILE\tSEED\tREQUESTS\tLOST\tLOST AS\tENDED\tHEALTHY\tDUPLICATES\tP50\tP99\tSCHEDULE\tTOOK")
	for _, r := range reports {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Strategy, r.Scenario, r.Profile, r.Seed,
			r.Load.Sent, r.Load.Lost, orDash(r.outcomes()), len(r.Terminations), r.LeastHealthy(), r.duplicates(),
			r.Load.Latency.P50.Round(time.Microsecond*100), r.Load.Latency.P99.Round(time.Microsecond*100), r.punctuality(),
			r.Load.Elapsed.Round(time.Second))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprint(w, legend)
	for _, s := range sums(reports) {
		fmt.Fprintln(w, s)
	}
	examples(w, reports)
	return nil
}

// duplicates that were seen, if anybody looked.
func (r Report) duplicates() string {
	if r.Load.Duplicates == nil {
		return "-"
	}
	return fmt.Sprint(r.Load.Duplicates.Count)
}

const legend = `
LOST AS    what the load balancer met at the pod
ENDED      pods that were told to end
HEALTHY    pods that stayed and were healthy to every node, when one was told to end; at the least
SCHEDULE   whether the load was sent when it was due; if not, do not rely on the latencies

`

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// sum over the runs of a strategy in a scenario behind a profile.
type sum struct {
	strategy, scenario, profile string
	runs, sent, lost, ended     int
	least, most                 int // lost in a run
}

// sums in the order in which their first reports come.
func sums(reports []Report) []sum {
	var all []sum
	for _, r := range reports {
		i := slices.IndexFunc(all, func(s sum) bool {
			return s.strategy == r.Strategy && s.scenario == r.Scenario && s.profile == r.Profile
		})
		if i < 0 {
			i = len(all)
			all = append(all, sum{strategy: r.Strategy, scenario: r.Scenario, profile: r.Profile, least: r.Load.Lost})
		}
		s := &all[i]
		s.runs++
		s.sent += r.Load.Sent
		s.lost += r.Load.Lost
		s.ended += len(r.Terminations)
		s.least, s.most = min(s.least, r.Load.Lost), max(s.most, r.Load.Lost)
	}
	return all
}

// String is a line.
func (s sum) String() string {
	return fmt.Sprintf("%s, %s, %s: %d lost of %d requests in %d terminations, %d to %d in each of %d runs; "+
		"with 95 %% confidence fewer than %.2g %% are lost while pods end at this rate",
		s.strategy, s.scenario, s.profile, s.lost, s.sent, s.ended, s.least, s.most, s.runs, 100*load.UpperBound(s.lost, s.sent))
}

// maxExamples of lost requests are printed for each run; JSON has all.
const maxExamples = 3

// examples of lost requests: the unexplained, and some others.
func examples(w io.Writer, reports []Report) {
	for _, r := range reports {
		shown := unexplained(r.Fates)
		if len(shown) == 0 {
			shown = r.Fates
		}
		for i, f := range shown[:min(len(shown), maxExamples)] {
			if i == 0 {
				fmt.Fprintf(w, "\nlost by %s, %s, %s, seed %d, the first %d of %d:\n",
					r.Strategy, r.Scenario, r.Profile, r.Seed, min(len(shown), maxExamples), len(shown))
			}
			fmt.Fprintf(w, "  +%.3fs %s: %s\n", f.At.Seconds(), f.ID, f.Words)
		}
	}
}
