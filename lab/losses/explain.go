package losses

import (
	"cmp"
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
	// Deregistered is when tgc's call was answered, that of the last target group if
	// there are several.
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

// Restart of a container whose pod stayed. Durations are since the load began; nil
// stands for what did not happen before it ended.
type Restart struct {
	Pod    string `json:"pod"`
	Target string `json:"target"`
	// Ill is from when on its liveness probe failed.
	Ill time.Duration `json:"illNs"`
	// Signalled is when it got SIGTERM, Back when it served again.
	Signalled *time.Duration `json:"sigtermNs"`
	Back      *time.Duration `json:"backNs"`
	// Deregistered is when the target was taken out meanwhile.
	Deregistered *time.Duration `json:"deregisteredNs"`
}

// history is all that is known about pods and nodes after a run.
type history struct {
	began time.Time      // the load
	nodes []balancerNode // where the load was sent
	lives []life         // of all pods
	calls []elbsim.Call
	news  []dataplane.News
	// unwanted is while no pod was wanted.
	unwanted window
}

// window of time; empty if it has no end.
type window struct{ from, until time.Time }

func (w window) has(t time.Time) bool { return !t.Before(w.from) && t.Before(w.until) }

// leavers are the lives of the pods that were told to end.
func (h history) leavers() []life {
	return slices.DeleteFunc(slices.Clone(h.lives), func(p life) bool { return p.told.IsZero() })
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
	leavers := slices.SortedFunc(slices.Values(h.leavers()), func(a, b life) int { return a.told.Compare(b.told) })
	list := make([]Termination, 0, len(leavers))
	for i, p := range leavers {
		list = append(list, Termination{
			Pod: p.pod, Target: p.target,
			Told:         p.told.Sub(h.began),
			Deregistered: h.since(h.deregistered(p)),
			Learned:      h.learned(p),
			Signalled:    h.since(p.last().signalled),
			Ended:        h.since(p.last().ended),
			ExitCode:     p.last().code,
			Healthy:      h.healthy(p.told, leavers[:i+1]),
		})
	}
	return list
}

// restarts of containers whose liveness probes were made to fail.
func (h history) restarts() []Restart {
	list := []Restart{}
	for _, p := range h.lives {
		if p.ill.IsZero() {
			continue
		}
		r := Restart{Pod: p.pod, Target: p.target, Ill: p.ill.Sub(h.began), Deregistered: h.since(h.deregistered(p))}
		for _, run := range p.runs { // a slow machine may have restarted it before
			if r.Signalled == nil && run.signalled.After(p.ill) {
				r.Signalled = h.since(run.signalled)
			}
			if r.Back == nil && run.started.After(p.ill) {
				r.Back = h.since(run.started)
			}
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Restart) int { return cmp.Compare(a.Ill, b.Ill) })
	return list
}

// deregistered is when the last of the groups that let go of a pod did so: by the first
// call of each that took it out and was carried out.
func (h history) deregistered(p life) (last time.Time) {
	done := map[string]bool{} // by group
	for _, call := range h.calls {
		if call.Action == "DeregisterTargets" && call.Applied && !done[call.Group] && slices.Contains(call.Targets, p.target) {
			done[call.Group], last = true, call.Answered
		}
	}
	return last
}

// learned is when each node learned that a pod's target drains or is gone.
func (h history) learned(p life) []*time.Duration {
	learned := make([]*time.Duration, len(h.nodes))
	for _, n := range h.news {
		i := h.node(n.LoadBalancer, n.Node)
		if n.Target == p.target && (n.State == target.Draining || n.State == "") && learned[i] == nil {
			learned[i] = h.since(n.At)
		}
	}
	return learned
}

// node is the number of a load balancer's node among all.
func (h history) node(balancer string, index int) int {
	return slices.IndexFunc(h.nodes, func(n balancerNode) bool { return n.is(balancer, index) })
}

// healthy is how many healthy targets besides those that leave the node knows of
// that knows of the fewest.
func (h history) healthy(at time.Time, leaving []life) int {
	counts := make([]int, 0, len(h.nodes))
	for _, known := range knowledge(h.news, h.nodes, at) {
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
	// Explained tells that the end of pods, or the restart of a container, is why.
	Explained bool `json:"explained"`
	// Excused tells that it does not count: no pod was wanted, and the load balancer
	// said that there is none.
	Excused bool `json:"excused,omitempty"`
	// Words tell the same to people, or why not.
	Words string `json:"words"`

	// The rest is from the access log; zero if it is not in there.
	Node    int               `json:"node"` // from 0, over all load balancers
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
	var flows []dataplane.Entry
	for _, e := range entries {
		if e.RequestID != "" {
			found[e.RequestID] = e
		} else {
			flows = append(flows, e)
		}
	}
	// Losses are in the order of their end. If each takes the earliest that is left
	// to it, none is taken that only a later one could have.
	slices.SortFunc(flows, func(a, b dataplane.Entry) int { return a.At.Compare(b.At) })
	for _, addressed := range []bool{true, false} {
		for _, loss := range losses {
			if _, is := found[loss.ID]; is || addressed != (loss.From != "") {
				continue
			}
			if i := h.carrier(flows, loss); i >= 0 {
				found[loss.ID] = flows[i]
				flows = slices.Delete(flows, i, i+1)
			}
		}
	}
	return found
}

// carrier is which of the flows, in the order of their beginning, carried a request; -1
// if none did. One that carries a single request begins after that was sent. One that
// carries several is the last from its client's address: while that keeps it, no other
// has the address, even if the load balancer has forgotten it long before.
func (h history) carrier(flows []dataplane.Entry, loss load.Loss) int {
	sent, ended := h.began.Add(loss.Sent), h.began.Add(loss.Ended)
	there := func(flow dataplane.Entry) bool {
		return (loss.From == "" || loss.From == flow.Client) && h.nodes[h.node(flow.LoadBalancer, flow.Node)].address == loss.Target
	}
	if !loss.Reused {
		return slices.IndexFunc(flows, func(e dataplane.Entry) bool {
			return there(e) && e.Outcome != dataplane.Forwarded && !e.At.Before(sent) && !e.At.After(ended)
		})
	}
	for i, e := range slices.Backward(flows) {
		if there(e) && !e.At.After(sent) {
			return i
		}
	}
	return -1
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
			ID: loss.ID, Node: h.node(e.LoadBalancer, e.Node), Target: e.Target, Outcome: e.Outcome, Status: e.Status,
			Reused: e.Reused, At: e.At.Sub(h.began),
		}
		switch {
		case e.Outcome == dataplane.NoTarget:
			h.explainNoTarget(&f, e.At.Add(e.Nanoseconds))
		case h.restarted(e):
			f.Explained = true
			f.Words = fmt.Sprintf("node %d: %s by a container that was being restarted by its liveness probe, at %s", f.Node, f.Outcome, f.Target)
		default:
			f.explain(f.At+e.Nanoseconds, terminations, h.unhealthy(e))
		}
		fates = append(fates, f)
	}
	return fates
}

// explainNoTarget says why there was nobody to send to at a moment. It is explained if the
// node knew of no target that stays, and had learned that pods leave.
func (h history) explainNoTarget(f *Fate, at time.Time) {
	f.Words = fmt.Sprintf("node %d knew of no target", f.Node)
	if h.unwanted.has(at) {
		f.Explained, f.Excused = true, true
		f.Words += ", while no pod was wanted"
		return
	}
	left := 0
	for _, p := range h.leavers() {
		if learned := h.learned(p)[f.Node]; learned != nil && *learned <= at.Sub(h.began) {
			left++
		}
	}
	stays := false
	for _, state := range knowledge(h.news, h.nodes, at)[f.Node] {
		stays = stays || state != target.Draining
	}
	f.Explained = !stays && left > 0
	f.Words += fmt.Sprintf("; it had learned of the deregistration of %d pods", left)
}

// staleFor is for how long a node, on a busy machine, may send into a kept connection that
// the other side has closed.
const staleFor = 2 * time.Second

// restarted tells whether a request met a container that was being restarted, in a pod
// that stayed.
func (h history) restarted(e dataplane.Entry) bool {
	if e.Outcome != dataplane.Refused && e.Outcome != dataplane.Reset {
		return false
	}
	ended := e.At.Add(e.Nanoseconds)
	return slices.ContainsFunc(h.lives, func(p life) bool {
		stayed := p.told.IsZero() || p.told.After(ended)
		return p.target == e.Target && stayed && p.wasDown(e)
	})
}

// wasDown tells whether a request met the container of a pod between its SIGTERM and when
// it served again, or a kept connection to one that had ended just before.
func (p life) wasDown(e dataplane.Entry) bool {
	ended := e.At.Add(e.Nanoseconds)
	for i, r := range p.runs {
		if r.signalled.IsZero() || r.signalled.After(ended) {
			continue
		}
		var next run
		if i+1 < len(p.runs) {
			next = p.runs[i+1]
		}
		up := !next.started.IsZero() && next.started.Before(e.At)
		stale := e.Reused && e.Outcome == dataplane.Reset && !r.ended.IsZero() && e.At.Sub(r.ended) < staleFor
		if !up || stale {
			return true
		}
	}
	return false
}

// unhealthy tells whether the node that sent a request held its target for unhealthy when
// it ended.
func (h history) unhealthy(e dataplane.Entry) bool {
	known := knowledge(h.news, h.nodes, e.At.Add(e.Nanoseconds))
	return known[h.node(e.LoadBalancer, e.Node)][e.Target] == target.Unhealthy
}

// explain says why a request was lost that ended at some time, and whose target was held
// for unhealthy then or not.
func (f *Fate) explain(ended time.Duration, terminations []Termination, unhealthy bool) {
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
	f.Explained = ignorant && f.ownEnd(t, ended, unhealthy)
}

// ownEnd tells whether a request that ended at some time was lost by the end of a
// pod: it had got SIGTERM and refused or reset the connection. Where a pod is gone
// already, on real nodes nobody is left to refuse, and there is silence. One that takes
// no more connections fails its health checks, and then a Network Load Balancer cuts
// off those that it still has.
func (f *Fate) ownEnd(t Termination, ended time.Duration, unhealthy bool) bool {
	leaving := t.Signalled != nil && *t.Signalled <= ended
	switch f.Outcome {
	case dataplane.ConnectTimeout:
		return t.Ended != nil && *t.Ended <= ended
	case dataplane.Cut:
		return leaving && unhealthy
	}
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
