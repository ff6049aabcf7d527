package losses

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
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
	fmt.Fprintln(t, "STRATEGY\tSCENARIO\tPROFILE\tLATENESS\tSEED\tREQUESTS\tLOST\tLOST AS\tEXCUSED\tENDED\tLATE\tHEALTHY\tDUPLICATES\tP50\tP99\tSCHEDULE\tTOOK")
	for _, r := range reports {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%d\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Strategy, r.Scenario, r.Profile, r.Lateness, r.Seed,
			r.Requests, r.Lost, orDash(r.outcomes()), r.Excused, len(r.Terminations), short(r.Late()), r.LeastHealthy(), r.duplicates(),
			r.Load.Latency.P50.Round(time.Microsecond*100), r.Load.Latency.P99.Round(time.Microsecond*100), r.punctuality(),
			r.Load.Elapsed.Round(time.Second))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprint(w, legend)
	for _, s := range sums(reports, byCell) {
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
EXCUSED    answers that there is no target, while no pod was wanted; they are not counted
ENDED      pods that were told to end
LATE       from when a pod was told to end until its deregistration was accepted; at the most
HEALTHY    pods that stayed and were healthy to every node, when one was told to end; at the least
SCHEDULE   whether the load was sent when it was due; if not, do not rely on the latencies

`

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// maxExamples of lost requests are printed for each run; JSON has all.
const maxExamples = 3

// examplesOf lost requests: the unexplained, or else some of the others.
func examplesOf(r Report) []Fate {
	shown := unexplained(r.Fates)
	if len(shown) == 0 {
		shown = r.counted()
	}
	return shown[:min(len(shown), maxExamples)]
}

func examples(w io.Writer, reports []Report) {
	for _, r := range reports {
		for i, f := range examplesOf(r) {
			if i == 0 {
				fmt.Fprintf(w, "\nlost by %s, %s, %s, %s, seed %d:\n", r.Strategy, r.Scenario, r.Profile, r.Lateness, r.Seed)
			}
			fmt.Fprintf(w, "  +%.3fs %s: %s\n", f.At.Seconds(), f.ID, f.Words)
		}
	}
}
