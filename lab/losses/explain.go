package losses

import (
	"fmt"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// Termination of a pod. Durations are since the load began; nil stands for what
// did not happen before it ended. In JSON they are in nanoseconds.
type Termination struct {
	Pod    string `json:"pod"`
	Target string `json:"target"`
	// Told is when its object was deleted.
	Told time.Duration `json:"toldNs"`
	// Deregistered is when tgc's call came to the load balancer.
	Deregistered *time.Duration `json:"deregisteredNs"`
	// Learned is when each node of the load balancer learned of the deregistration.
	Learned []*time.Duration `json:"learnedNs"`
	// Signalled is when it got SIGTERM.
	Signalled *time.Duration `json:"sigtermNs"`
	// Ended is when its program ended by itself or was killed, with which code.
	Ended    *time.Duration `json:"endedNs"`
	ExitCode int            `json:"exitCode"`
	// Healthy is how many pods that were not told to end were healthy, when this one
	// was told, to the node that knew of the fewest.
	Healthy int `json:"healthy"`
}

// history is all that is known about pods and nodes after a run.
type history struct {
	began   time.Time // the load
	nodes   []string  // where the load was sent, by number of the node
	leavers []life
	calls   []elbsim.Call
	news    []dataplane.News
}

// since is how long after the beginning of the load something happened; nil if it
// did not.
func (h history) since(t time.Time) *time.Duration {
	if t.IsZero() {
		return nil
	}
	d := t.Sub(h.began)
	return &d
}

// terminations in the order in which the pods were told to end.
func (h history) terminations() []Termination {
	leavers := slices.SortedFunc(slices.Values(h.leavers), func(a, b life) int { return a.told.Compare(b.told) })
	list := make([]Termination, 0, len(leavers))
	for i, p := range leavers {
		list = append(list, Termination{
			Pod: p.pod, Target: p.target,
			Told:         p.told.Sub(h.began),
			Deregistered: h.since(h.deregistered(p)),
			Learned:      h.learned(p),
			Signalled:    h.since(p.signalled),
			Ended:        h.since(p.ended),
			ExitCode:     p.code,
			Healthy:      h.healthy(p.told, leavers[:i+1]),
		})
	}
	return list
}

// deregistered is when the first call that took a pod out came in.
func (h history) deregistered(p life) time.Time {
	for _, call := range h.calls {
		if call.Action == "DeregisterTargets" && call.Applied && slices.Contains(call.Targets, p.target) {
			return call.Received
		}
	}
	return time.Time{}
}

// learned is when each node learned that a pod's target drains or is gone.
func (h history) learned(p life) []*time.Duration {
	learned := make([]*time.Duration, len(h.nodes))
	for _, n := range h.news {
		if n.Target == p.target && (n.State == target.Draining || n.State == "") && learned[n.Node] == nil {
			learned[n.Node] = h.since(n.At)
		}
	}
	return learned
}

// healthy is how many healthy targets besides those that leave the node knows of
// that knows of the fewest.
func (h history) healthy(at time.Time, leaving []life) int {
	counts := make([]int, 0, len(h.nodes))
	for _, known := range knowledge(h.news, len(h.nodes), at) {
		count := 0
		for address, state := range known {
			leaves := slices.ContainsFunc(leaving, func(p life) bool { return p.target == address })
			if state == target.Healthy && !leaves {
				count++
			}
		}
		counts = append(counts, count)
	}
	return slices.Min(counts)
}

// Fate is what became of a lost request at the load balancer. In JSON durations are
// in nanoseconds.
type Fate struct {
	ID string `json:"id"`
	// Explained tells that it was sent to a pod that was told to end, by a node that
	// had not learned of it.
	Explained bool `json:"explained"`
	// Words tell the same to people, or why not.
	Words string `json:"words"`

	// The rest is from the access log; zero if it is not in there.
	Node    int               `json:"node"` // from 0
	Target  string            `json:"target,omitempty"`
	Outcome dataplane.Outcome `json:"outcome,omitempty"`
	Status  int               `json:"status,omitempty"`
	Reused  bool              `json:"reused,omitempty"` // the connection to the pod
	// At is when it came to the load balancer, since the beginning of the load.
	At time.Duration `json:"atNs"`
}

// match finds the entries of lost requests in the access log, by their ids. Where
// the load balancer does not know of requests they are found by their connection. A
// connection may be reset before its client knows its own address: then it is one
// that failed at that node at that time and belongs to no other loss.
func (h history) match(losses []load.Loss, entries []dataplane.Entry) map[string]dataplane.Entry {
	found := map[string]dataplane.Entry{}
	var failed []dataplane.Entry
	for _, e := range entries {
		if e.RequestID != "" {
			found[e.RequestID] = e
		} else if e.Outcome != dataplane.Forwarded {
			failed = append(failed, e)
		}
	}
	// Losses are in the order of their end. If each takes the earliest that is left
	// to it, none is taken that only a later one could have.
	slices.SortFunc(failed, func(a, b dataplane.Entry) int { return a.At.Compare(b.At) })
	for _, addressed := range []bool{true, false} {
		for _, loss := range losses {
			if _, is := found[loss.ID]; is || addressed != (loss.From != "") {
				continue
			}
			if i := slices.IndexFunc(failed, func(e dataplane.Entry) bool { return h.carried(e, loss) }); i >= 0 {
				found[loss.ID] = failed[i]
				failed = slices.Delete(failed, i, i+1)
			}
		}
	}
	return found
}

// carried tells whether a flow may have carried a request.
func (h history) carried(flow dataplane.Entry, loss load.Loss) bool {
	return (loss.From == "" || loss.From == flow.Client) && flow.Node == slices.Index(h.nodes, loss.Target) &&
		!flow.At.Before(h.began.Add(loss.Sent)) && !flow.At.After(h.began.Add(loss.Ended))
}

// fates of lost requests.
func (h history) fates(losses []load.Loss, entries []dataplane.Entry, terminations []Termination) []Fate {
	matches := h.match(losses, entries)
	fates := make([]Fate, 0, len(losses))
	for _, loss := range losses {
		e, found := matches[loss.ID]
		if !found {
			fates = append(fates, Fate{ID: loss.ID, Words: "it is not in the load balancer's access log: " + loss.Error})
			continue
		}
		f := Fate{
			ID: loss.ID, Node: e.Node, Target: e.Target, Outcome: e.Outcome, Status: e.Status, Reused: e.Reused,
			At: e.At.Sub(h.began),
		}
		f.explain(f.At+e.Nanoseconds, terminations)
		fates = append(fates, f)
	}
	return fates
}

// explain says why a request was lost that ended at some time.
func (f *Fate) explain(ended time.Duration, terminations []Termination) {
	i := slices.IndexFunc(terminations, func(t Termination) bool { return t.Target == f.Target })
	if i < 0 {
		f.Words = fmt.Sprintf("node %d: %s, but the target %q is no pod that left", f.Node, f.Outcome, f.Target)
		return
	}
	t := terminations[i]
	learned := t.Learned[f.Node]
	f.Words = fmt.Sprintf("node %d: %s by pod %s, which was told to end %s", f.Node, f.Outcome, t.Pod, before(t.Told, f.At))
	if t.Signalled != nil && *t.Signalled-t.Told >= time.Millisecond {
		f.Words += fmt.Sprintf(" and got SIGTERM %s", before(*t.Signalled, f.At))
	}
	if learned == nil {
		f.Words += "; the node never learned of the deregistration"
	} else {
		f.Words += fmt.Sprintf("; the node learned of the deregistration %s", before(*learned, f.At))
	}
	ignorant := learned == nil || f.At <= *learned
	f.Explained = ignorant && f.ownEnd(t, ended)
}

// ownEnd tells whether a request that ended at some time was lost by the end of a
// pod: it had got SIGTERM and refused or reset the connection. Where a pod is gone
// already, on real nodes nobody is left to refuse, and there is silence.
func (f *Fate) ownEnd(t Termination, ended time.Duration) bool {
	if f.Outcome == dataplane.ConnectTimeout {
		return t.Ended != nil && *t.Ended <= ended
	}
	leaving := t.Signalled != nil && *t.Signalled <= ended
	return leaving && (f.Outcome == dataplane.Refused || f.Outcome == dataplane.Reset)
}

// before tells when something happened in relation to a moment.
func before(event, moment time.Duration) string {
	if d := moment - event; d >= 0 {
		return short(d) + " before"
	}
	return short(event-moment) + " later"
}

// short is a duration to three digits.
func short(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// unexplained are the fates without an explanation.
func unexplained(fates []Fate) []Fate {
	return slices.DeleteFunc(slices.Clone(fates), func(f Fate) bool { return f.Explained })
}
