package losses

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// Report is what came of a run.
type Report struct {
	Strategy  string  `json:"strategy"`
	Scenario  string  `json:"scenario"`
	Profile   string  `json:"profile"`
	Lateness  string  `json:"lateness"`
	Speed     float64 `json:"speed"`
	Seed      uint64  `json:"seed"`
	RealNodes bool    `json:"realNodes,omitempty"`
	Timing    Timing  `json:"timing"`
	// Claim is what had to come of it.
	Claim Claim `json:"claim"`
	// Wrong says in a sentence why the run is not as it should be; empty if it is.
	Wrong string `json:"wrong,omitempty"`
	// Requests is how many were sent, and Lost how many of them were lost. Excused are
	// counted in neither: they were answered that there is no target while no pod was
	// wanted.
	Requests int `json:"requests"`
	Lost     int `json:"lost"`
	Excused  int `json:"excused,omitempty"`
	// Outcomes of the lost requests at the load balancer, and how many of each.
	Outcomes map[dataplane.Outcome]int `json:"outcomes,omitempty"`
	// Load is what became of the requests.
	Load load.Result `json:"load"`
	// Terminations in the order in which pods were told to end.
	Terminations []Termination `json:"terminations"`
	// Restarts of containers in pods that stayed.
	Restarts []Restart `json:"restarts,omitempty"`
	// Fates of the lost requests, in the order of Load.Losses, the excused included.
	Fates []Fate `json:"fates"`
}

// report on a run whose load was this and which told so many pods to end.
func (s *stage) report(result load.Result, ends int) Report {
	h := history{
		began: result.Began, nodes: s.nodes, lives: s.ledger.all(), calls: s.sim.Calls(), news: s.ledger.allNews(),
		unwanted: s.unwanted,
	}
	r := Report{
		Strategy: s.Strategy.Name, Scenario: s.Scenario.Name, Profile: s.Profile.Name, Lateness: s.Lateness.Name,
		Speed: s.Speed, Seed: s.Seed, RealNodes: s.venue.realNodes, Timing: s.timing, Claim: s.Claim(), Load: result,
	}
	r.Terminations, r.Restarts = h.terminations(), h.restarts()
	r.Fates = h.fates(result.Losses, s.sim.Traffic(0), r.Terminations)
	r.count()
	r.Wrong = s.judge(r, ends)
	return r
}

// count what is lost by its fate.
func (r *Report) count() {
	r.Requests, r.Lost, r.Excused, r.Outcomes = r.Load.Sent, r.Load.Lost, 0, map[dataplane.Outcome]int{}
	for _, f := range r.Fates {
		if f.Excused {
			r.Excused++
			r.Requests--
			r.Lost--
			continue
		}
		r.Outcomes[f.Outcome]++
	}
}

// judge says what is wrong with a report; empty if nothing is.
func (c Case) judge(r Report, ends int) string {
	local, skipped := r.Load.Classes[load.Local], r.Load.Punctuality.Skipped
	odd, claim := unexplained(r.Fates), c.Claim()
	switch {
	case len(r.Terminations) != ends:
		return fmt.Sprintf("%d pods were told to end, want %d", len(r.Terminations), ends)
	case local > 0 || skipped > 0:
		return fmt.Sprintf("this machine could not send %d requests", local+skipped)
	case r.Load.Duplicates != nil && r.Load.Duplicates.Count > 0:
		return fmt.Sprintf("%d requests reached pods more than once, though nobody sends twice", r.Load.Duplicates.Count)
	case len(odd) > 0:
		return fmt.Sprintf("%d of %d lost requests are not explained by a pod that left; %s: %s", len(odd), r.Load.Lost, odd[0].ID, odd[0].Words)
	case claim == Nothing && r.Lost > 0:
		return fmt.Sprintf("%d requests were lost in spite of the protection; %s: %s", r.Lost, r.counted()[0].ID, r.counted()[0].Words)
	case claim == Something && r.Lost == 0:
		return "nothing was lost although the pods were not protected: the run does not show that there is anything to protect from"
	}
	return c.judgeRestarts(r)
}

// judgeRestarts says what is wrong with the restarts of containers: each comes to its
// end, and tgc's Hold does not make it wait as a pod that leaves does.
func (c Case) judgeRestarts(r Report) string {
	for _, restart := range r.Restarts {
		if restart.Signalled == nil || restart.Back == nil {
			return fmt.Sprintf("the container of %s was not restarted", restart.Pod)
		}
		held := time.Duration(r.Timing.Hold) * time.Second
		if took := *restart.Signalled - restart.Ill; c.Strategy.Name == "hold" && took >= held {
			return fmt.Sprintf("the restart of a container of %s took %s, as if the pod were held", restart.Pod, short(took))
		}
	}
	return ""
}

// counted are the fates of the requests that count as lost.
func (r Report) counted() []Fate {
	return slices.DeleteFunc(slices.Clone(r.Fates), func(f Fate) bool { return f.Excused })
}

// Brief is the report without what is told of each single request, but for some examples
// of those that were lost, and without what was in each second.
func (r Report) Brief() Report {
	r.Fates = slices.Clip(examplesOf(r))
	r.Load.Losses, r.Load.Seconds = nil, nil
	return r
}

// Late is how late the last deregistration was: from when the pod was told to end.
func (r Report) Late() (latest time.Duration) {
	for _, t := range r.Terminations {
		if t.Deregistered != nil {
			latest = max(latest, *t.Deregistered-t.Told)
		}
	}
	return latest
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
	for outcome, n := range r.Outcomes {
		counts[string(outcome)] = n
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
	text := fmt.Sprintf("%d of %d requests lost in %d terminations", r.Lost, r.Requests, len(r.Terminations))
	if r.Lost > 0 {
		text += fmt.Sprintf(" (%s)", r.outcomes())
	}
	if r.Excused > 0 {
		text += fmt.Sprintf(", %d excused", r.Excused)
	}
	if r.Wrong != "" {
		text += "\nWRONG: " + r.Wrong
	}
	return text
}
