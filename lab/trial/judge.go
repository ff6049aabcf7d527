package trial

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

const (
	// staleness is how old the controller's view of Kubernetes may be while its
	// watches work.
	staleness = 10 * time.Second
	// relisting is how long after an outage a client may take to list anew, at
	// least; it is longer after a longer outage, since clients back off.
	relisting = 5 * time.Second
)

// outage is a time in which the controller could not follow Kubernetes.
type outage struct{ from, until time.Time }

// Violation is a call that took out the target of a pod that was ready all along.
type Violation struct {
	Call   elbsim.Call
	Target string
	Pod    string
	// Since is since when the pod had been ready, listed and wanted.
	Since time.Time
	// Timeline is what became of the claims to the target, oldest first.
	Timeline []string
}

// String tells the violation in some lines.
func (v Violation) String() string {
	return fmt.Sprintf("%s of %s in call %d to %s, received %s (%s), although pod %s had been ready, listed and wanted since %s\n%s",
		v.Call.Action, v.Target, v.Call.Seq, v.Call.Group, clock(v.Call.Received), v.Call.Code, v.Pod, clock(v.Since),
		strings.Join(v.Timeline, "\n"))
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

// judge knows since when each claim has stood, without a gap, and holds the calls
// against that. It is safe for concurrent use.
type judge struct {
	groups map[string]string // name -> ARN

	mu       sync.Mutex
	since    map[claim]time.Time
	timeline map[string][]string // by target
	outages  []outage
	// judged counts the targets that were judged, and lagging those that only a
	// late EndpointSlice excuses.
	judged, lagging int
}

func newJudge(groups map[string]string) *judge {
	return &judge{groups: groups, since: map[claim]time.Time{}, timeline: map[string][]string{}}
}

// observe takes in the state of the world after a change.
func (j *judge) observe(o *objects) {
	claims, now := o.claims(j.groups), time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	for c := range j.since {
		if !claims[c] {
			delete(j.since, c)
			j.note(now, "ends", c)
		}
	}
	for c := range claims {
		if _, stands := j.since[c]; !stands {
			j.since[c] = now
			j.note(now, "stands", c)
		}
	}
}

func (j *judge) note(now time.Time, what string, c claim) {
	if c.selected {
		return
	}
	const kept = 40
	line := fmt.Sprintf("  %s claim %s: pod %s (%s), binding %s, Service %s, group %s",
		clock(now), what, c.podName, c.pod, c.binding, c.service, c.group)
	lines := append(j.timeline[c.target], line)
	j.timeline[c.target] = lines[max(0, len(lines)-kept):]
}

// down notes that the controller cannot follow Kubernetes from now on; the function
// it gives ends that.
func (j *judge) down() (up func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := len(j.outages)
	j.outages = append(j.outages, outage{from: time.Now()})
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.outages[i].until = time.Now()
	}
}

// lookBack is the moment since which a claim must have stood for the controller to
// have known nothing else at the time t.
func lookBack(t time.Time, outages []outage) time.Time {
	for again := true; again; {
		again = false
		for _, o := range outages {
			blind := o.until.Add(2*o.until.Sub(o.from) + relisting)
			if o.from.Before(t) && (o.until.IsZero() || t.Before(blind)) {
				t, again = o.from, true
			}
		}
	}
	return t.Add(-staleness)
}

// calls judges calls that everything known when they were received has been
// observed for.
func (j *judge) calls(calls []elbsim.Call) []Violation {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []Violation
	for _, call := range calls {
		from := lookBack(call.Received, j.outages)
		for _, t := range call.Targets {
			j.judged++
			if c, stands := j.stands(call.Group, t, from, false); stands {
				found = append(found, Violation{
					Call: call, Target: t, Pod: c.podName, Since: j.since[c], Timeline: slices.Clone(j.timeline[t]),
				})
			} else if _, stands := j.stands(call.Group, t, from, true); stands {
				j.lagging++
			}
		}
	}
	return found
}

// stands finds a claim that has stood since a moment.
func (j *judge) stands(group, target string, from time.Time, selected bool) (claim, bool) {
	for c, since := range j.since {
		if c.group == group && c.target == target && c.selected == selected && !since.After(from) {
			return c, true
		}
	}
	return claim{}, false
}

// wanted lists the targets that belong in each group now, by ARN.
func (o *objects) wanted(groups map[string]string) map[string][]string {
	found := map[string][]string{}
	for c := range o.claims(groups) {
		if !c.selected && !slices.Contains(found[c.group], c.target) {
			found[c.group] = append(found[c.group], c.target)
		}
	}
	for _, targets := range found {
		slices.Sort(targets)
	}
	return found
}

// watchman hands every call that deregisters to the judge, soon after it came in.
type watchman struct {
	sim     *elbsim.Sim
	history *history
	judge   *judge
	violate func(Violation)
	// travel is held while etcd goes back in time: nothing is judged then.
	travel sync.Mutex
	seen   uint64
}

// watch judges until ctx ends.
func (w *watchman) watch(ctx context.Context) {
	for ctx.Err() == nil {
		_ = w.look(ctx) // tried again
		idle(ctx, 20*time.Millisecond)
	}
}

// look judges the calls that came in since the last look.
func (w *watchman) look(ctx context.Context) error {
	w.travel.Lock()
	defer w.travel.Unlock()
	var fresh []elbsim.Call
	latest := w.seen
	for _, call := range w.sim.Calls() {
		if call.Seq > w.seen {
			latest = call.Seq
			if call.Action == "DeregisterTargets" {
				fresh = append(fresh, call)
			}
		}
	}
	if len(fresh) > 0 {
		// What the controller could know when it made the calls, we know after this.
		if err := w.history.barrier(ctx); err != nil {
			return err
		}
		for _, v := range w.judge.calls(fresh) {
			w.violate(v)
		}
	}
	w.seen = latest
	return nil
}
