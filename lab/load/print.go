package load

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// WriteJSON writes all of the result.
func (r Result) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// maxPrinted losses are in the report; there are more in JSON.
const maxPrinted = 20

// WriteText writes a report for people.
func (r Result) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "run %s: %s at %.4g requests/s for %s, %s arrivals, seed %d\n\n",
		r.Run, r.Mix, r.Rate, r.Elapsed.Round(time.Millisecond), r.Arrivals, r.Seed)
	r.counts(w)
	fmt.Fprintln(w)
	r.table(t)
	if err := t.Flush(); err != nil {
		return err
	}
	r.notes(w)
	r.losses(w)
	return nil
}

func (r Result) counts(w io.Writer) {
	ended := r.Sent - r.Outstanding
	fmt.Fprintf(w, "sent %d, answered %d, lost %d", r.Sent, r.Answered, r.Lost)
	if r.Outstanding > 0 {
		fmt.Fprintf(w, ", outstanding %d", r.Outstanding)
	}
	if ended > 0 {
		fmt.Fprintf(w, " (%.3g %%; with 95 %% confidence below %.3g %%)", 100*float64(r.Lost)/float64(ended), 100*r.UpperBound)
	}
	fmt.Fprintln(w)
	for _, class := range slices.Sorted(maps.Keys(r.Classes)) {
		fmt.Fprintf(w, "  %-12s %d\n", class, r.Classes[class])
	}
	if n := r.Classes[Local]; n > 0 {
		fmt.Fprintf(w, "NOTE: %d of them this machine could not send; they say nothing about the other side\n", n)
	}
	if r.Duplicates == nil {
		fmt.Fprintln(w, "duplicates: not watched")
		return
	}
	fmt.Fprintf(w, "duplicates: %d of %d requests that reached a pod\n", r.Duplicates.Count, r.Duplicates.Reached)
	for _, d := range r.Duplicates.First[:min(len(r.Duplicates.First), maxPrinted)] {
		fmt.Fprintf(w, "  %s reached %v\n", d.ID, d.Pods)
	}
}

func (r Result) table(w io.Writer) {
	fmt.Fprintln(w, "sent\tanswered\tlost\tp50\tp90\tp99\tp99.9\tmax\t")
	for _, p := range slices.Concat(r.Kinds, r.Targets) {
		row(w, p)
	}
	row(w, Part{Name: "all", Sent: r.Sent, Answered: r.Answered, Lost: r.Lost, Latency: r.Latency})
}

func row(w io.Writer, p Part) {
	l := p.Latency
	fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t  %s\n", p.Sent, p.Answered, p.Lost,
		short(l.P50), short(l.P90), short(l.P99), short(l.P999), short(l.Max), p.Name)
}

// short is a duration to three or four digits.
func short(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 10_000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

func (r Result) notes(w io.Writer) {
	p := r.Punctuality
	fmt.Fprintf(w, "\nLatencies count from when a request was due; this program's own lag is in them: p50 %s, p99 %s, at most %s.\n",
		short(p.Lag.P50), short(p.Lag.P99), short(p.Lag.Max))
	if !p.Kept {
		fmt.Fprintf(w, "WARNING: this program did not keep its schedule: %d of %d requests more than %s late, %d not sent at all.\n"+
			"Do not rely on the latencies. From the sending they are p50 %s, p99 %s, max %s; the truth is between.\n",
			p.Late, p.Lag.Count, p.Threshold, p.Skipped, short(r.Service.P50), short(r.Service.P99), short(r.Service.Max))
	}
	fmt.Fprintf(w, "pods that answered: %d\n", len(r.Pods))
	for _, pod := range slices.Sorted(maps.Keys(r.Pods)) {
		fmt.Fprintf(w, "  %-24s %d\n", pod, r.Pods[pod])
	}
}

func (r Result) losses(w io.Writer) {
	if len(r.Losses) == 0 {
		return
	}
	shown := r.Losses[:min(len(r.Losses), maxPrinted)]
	fmt.Fprintf(w, "\nlost, the first %d of %d:\n", len(shown), r.Lost)
	for _, l := range shown {
		pod := ""
		if l.Pod != "" {
			pod = " pod " + l.Pod
		}
		fmt.Fprintf(w, "  +%.3fs %s %s %s %s%s: %s\n", l.Due.Seconds(), l.ID, l.Kind, l.Target, l.Class, pod, l.Error)
	}
}
