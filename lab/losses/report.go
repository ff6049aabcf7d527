package losses

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// Report is what came of a run.
type Report struct {
	Strategy string  `json:"strategy"`
	Scenario string  `json:"scenario"`
	Profile  string  `json:"profile"`
	Speed    float64 `json:"speed"`
	Seed     uint64  `json:"seed"`
	Timing   Timing  `json:"timing"`
	// Wrong says in a sentence why the run is not as it should be; empty if it is.
	Wrong string `json:"wrong,omitempty"`
	// Load is what became of the requests.
	Load load.Result `json:"load"`
	// Terminations in the order in which pods were told to end.
	Terminations []Termination `json:"terminations"`
	// Fates of the lost requests, in the order of Load.Losses.
	Fates []Fate `json:"fates"`
}

// report on a run whose load was this.
func (s *stage) report(result load.Result) Report {
	h := history{
		began: result.Began, nodes: s.loadTargets(),
		leavers: s.ledger.leavers(), calls: s.rig.Sim.Calls(), news: s.ledger.allNews(),
	}
	r := Report{
		Strategy: s.Strategy.Name, Scenario: s.Scenario.Name, Profile: s.Profile.Name,
		Speed: s.Speed, Seed: s.Seed, Timing: s.timing, Load: result,
	}
	r.Terminations = h.terminations()
	r.Fates = h.fates(result.Losses, s.rig.Sim.Traffic(0), r.Terminations)
	r.Wrong = s.judge(r)
	return r
}

// judge says what is wrong with a report; empty if nothing is.
func (c Case) judge(r Report) string {
	local, skipped := r.Load.Classes[load.Local], r.Load.Punctuality.Skipped
	odd := unexplained(r.Fates)
	switch {
	case len(r.Terminations) != c.Scenario.Ends:
		return fmt.Sprintf("%d pods were told to end, want %d", len(r.Terminations), c.Scenario.Ends)
	case local > 0 || skipped > 0:
		return fmt.Sprintf("this machine could not send %d requests", local+skipped)
	case r.Load.Duplicates != nil && r.Load.Duplicates.Count > 0:
		return fmt.Sprintf("%d requests reached pods more than once, though nobody sends twice", r.Load.Duplicates.Count)
	case len(odd) > 0:
		return fmt.Sprintf("%d of %d lost requests are not explained by a pod that left; %s: %s", len(odd), r.Load.Lost, odd[0].ID, odd[0].Words)
	case c.Strategy.Protects && r.Load.Lost > 0:
		return fmt.Sprintf("%d requests were lost in spite of the protection; %s: %s", r.Load.Lost, r.Fates[0].ID, r.Fates[0].Words)
	case !c.Strategy.Protects && r.Load.Lost == 0:
		return "nothing was lost without protection: the run does not show that there is anything to protect from"
	}
	return ""
}

// LeastHealthy is the least [Termination.Healthy]. If it is below the number of
// replicas, a pod was told to end before its successor was healthy everywhere.
func (r Report) LeastHealthy() int {
	least := 0
	for i, t := range r.Terminations {
		if i == 0 || t.Healthy < least {
			least = t.Healthy
		}
	}
	return least
}

// outcomes of the lost requests at the load balancer.
func (r Report) outcomes() string {
	counts := map[string]int{}
	for _, f := range r.Fates {
		counts[string(f.Outcome)]++
	}
	return tally(counts)
}

// classes of the lost requests at the client.
func (r Report) classes() string {
	counts := map[string]int{}
	for class, n := range r.Load.Classes {
		counts[string(class)] += n
	}
	return tally(counts)
}

func tally(counts map[string]int) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[what], what))
	}
	return strings.Join(parts, ", ")
}

// punctuality tells whether the load kept its schedule.
func (r Report) punctuality() string {
	p := r.Load.Punctuality
	if p.Kept {
		return "kept"
	}
	return fmt.Sprintf("%.2g%% late", 100*float64(p.Late)/float64(p.Lag.Count))
}

// summary is a line.
func (r Report) summary() string {
	text := fmt.Sprintf("%d of %d requests lost in %d terminations", r.Load.Lost, r.Load.Sent, len(r.Terminations))
	if r.Load.Lost > 0 {
		text += fmt.Sprintf(" (%s; at the load balancer %s)", r.classes(), r.outcomes())
	}
	if r.Wrong != "" {
		text += "\nWRONG: " + r.Wrong
	}
	return text
}
