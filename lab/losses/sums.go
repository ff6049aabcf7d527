package losses

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// cell is what reports are summed up by. Empty fields stand for all.
type cell struct {
	strategy, scenario, profile, lateness string
}

// byCell sums up the runs of one case with different seeds.
func byCell(r Report) cell { return cell{r.Strategy, r.Scenario, r.Profile, r.Lateness} }

// sum over runs.
type sum struct {
	cell
	runs, sent, lost, excused, ended int
	least, most                      int // lost in a run
}

// sums of reports, in the order in which the first of each come.
func sums(reports []Report, by func(Report) cell) []sum {
	var all []sum
	for _, r := range reports {
		i := slices.IndexFunc(all, func(s sum) bool { return s.cell == by(r) })
		if i < 0 {
			i = len(all)
			all = append(all, sum{cell: by(r), least: r.Lost})
		}
		s := &all[i]
		s.runs++
		s.sent += r.Requests
		s.lost += r.Lost
		s.excused += r.Excused
		s.ended += len(r.Terminations)
		s.least, s.most = min(s.least, r.Lost), max(s.most, r.Lost)
	}
	return all
}

// bound is what part of the requests is lost at the most, in percent, with 95 %
// confidence.
func (s sum) bound() float64 { return 100 * load.UpperBound(s.lost, s.sent) }

// String is a line.
func (s sum) String() string {
	return fmt.Sprintf("%s, %s, %s, %s: %d lost of %d requests in %d terminations, %d to %d in each of %d runs; "+
		"with 95 %% confidence fewer than %.2g %% are lost while pods end at this rate",
		s.strategy, s.scenario, s.profile, s.lateness, s.lost, s.sent, s.ended, s.least, s.most, s.runs, s.bound())
}

// ofLeavers are the reports of scenarios in which pods leave.
func ofLeavers(reports []Report) []Report {
	return slices.DeleteFunc(slices.Clone(reports), func(r Report) bool {
		return slices.ContainsFunc(Scenarios(), func(s Scenario) bool { return s.Name == r.Scenario && s.Punctual })
	})
}

// WriteMatrix writes what was lost, in Markdown: for each profile a table with a line for
// each scenario and lateness and a column for each strategy, and the sums over the pods
// that left. A cell reads lost/requests/terminations.
func WriteMatrix(w io.Writer, reports []Report) error {
	var b strings.Builder
	strategies := present(reports, Strategies(), func(s Strategy) string { return s.Name }, func(r Report) string { return r.Strategy })
	for _, profile := range present(reports, Profiles(), func(p Profile) string { return p.Name }, func(r Report) string { return r.Profile }) {
		fmt.Fprintf(&b, "| %s | deregistration | %s |\n|---|---|%s\n", profile, strings.Join(strategies, " | "), strings.Repeat("---|", len(strategies)))
		cells := sums(reports, byCell)
		for _, scenario := range Scenarios() {
			for _, lateness := range Latenesses() {
				writeRow(&b, cells, strategies, cell{scenario: scenario.Name, profile: profile, lateness: lateness.Name})
			}
		}
		all := sums(ofLeavers(reports), func(r Report) cell { return cell{strategy: r.Strategy, profile: r.Profile} })
		writeRow(&b, all, strategies, cell{profile: profile})
		b.WriteString("\n")
	}
	byStrategy := sums(ofLeavers(reports), func(r Report) cell { return cell{strategy: r.Strategy} })
	for _, s := range byStrategy {
		fmt.Fprintf(&b, "- %s: %s lost of %s requests in %d terminations and %d runs; with 95 %% confidence fewer than %.2g %%\n",
			s.strategy, grouped(s.lost), grouped(s.sent), s.ended, s.runs, s.bound())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeRow writes the cells of a scenario and lateness, nothing if there are none. Without
// a scenario it is the row of sums.
func writeRow(b *strings.Builder, cells []sum, strategies []string, of cell) {
	texts, some := make([]string, len(strategies)), false
	for i, strategy := range strategies {
		of.strategy = strategy
		texts[i] = "–"
		if at := slices.IndexFunc(cells, func(s sum) bool { return s.cell == of }); at >= 0 {
			s := cells[at]
			texts[i], some = fmt.Sprintf("%s / %s / %d", grouped(s.lost), grouped(s.sent), s.ended), true
		}
	}
	if !some {
		return
	}
	scenario := of.scenario
	if scenario == "" {
		scenario = "**pods that left**"
	}
	fmt.Fprintf(b, "| %s | %s | %s |\n", scenario, of.lateness, strings.Join(texts, " | "))
}

// present are the names, in the order of all there are, that reports have.
func present[T any](reports []Report, all []T, nameOf func(T) string, nameIn func(Report) string) []string {
	var names []string
	for _, t := range all {
		if slices.ContainsFunc(reports, func(r Report) bool { return nameIn(r) == nameOf(t) }) {
			names = append(names, nameOf(t))
		}
	}
	return names
}

// grouped is a number with its thousands apart.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
