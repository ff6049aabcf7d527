package demo

import (
	"cmp"
	"html/template"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// view is what the page shows at a moment.
type view struct {
	Act, Narration string
	Paused         bool

	Controller controllerState
	Throttled  bool
	Protected  bool
	Sleep      time.Duration // of protected pods
	Speed      int
	Replicas   int
	MaxScale   int
	Pods       int // ready
	Healthy    int
	Draining   int

	Requests traffic
	Plots    plots
	Rows     []rowView
	Nodes    []nodeView
	Lines    []lineView
	Losses   []lineView
	Budget   []budgetView
}

// traffic is what has become of the clients' requests.
type traffic struct {
	Sent, Answered, Lost int
	PerSecond            float64       // over the last seconds, see recent
	LostNow              int           // in the same
	Median               time.Duration // latency in the last second
}

type rowView struct {
	Pod, Node, Ready, Age      string
	Target, State, For, Reason string
}

type nodeView struct {
	Name, Zone string
	Cordoned   bool
	Pods       int
}

type lineView struct {
	At                time.Duration
	Who               actor
	Pod, Target, What string
	After             string
	Tone              string
}

// budgetView is what is left of the account's budget for one class of calls.
type budgetView struct {
	Class               string
	Left, Low, Capacity int
	PerSecond           int // in our time
}

// plots are drawn by the server.
type plots struct{ Requests, Losses, Latency, Targets template.HTML }

// view puts together what there is to see now.
func (p *play) view(now time.Time) view {
	s := p.stage
	result := s.requests()
	v := p.narrator.view(now)
	v.Paused, v.Controller = p.tour.isPaused(), stateOf(s.controller)
	v.Throttled = len(s.Rig.Sim.Faults()) > 0
	v.Sleep, v.Speed, v.MaxScale = preStopSleep, speed, maxReplicas
	v.Requests = trafficOf(result)
	v.Budget = s.budget()
	v.Plots.Requests, v.Plots.Losses, v.Plots.Latency = plotRequests(result), plotLosses(result), plotLatency(result)

	return v
}

// budget is what AWS still takes from the account of the demo.
func (s *Stage) budget() (views []budgetView) {
	for _, account := range s.Rig.Sim.Budgets() {
		if account.Account != s.Group.Account || account.Region != s.Group.Region {
			continue
		}
		for _, b := range account.Buckets {
			views = append(views, budgetView{
				Class: string(b.Class), Left: int(b.Tokens), Low: b.Capacity / 4, Capacity: b.Capacity, PerSecond: b.PerSecond * speed,
			})
		}
	}
	return views
}

// view is what the narrator knows.
func (n *narrator) view(now time.Time) view {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.story
	v := view{Act: s.act, Narration: s.narration, Protected: s.deployment.protected, Replicas: s.deployment.replicas}
	for _, r := range s.rows(now) {
		v.Rows = append(v.Rows, r.view())
	}
	if last := len(s.samples) - 1; last >= 0 {
		v.Pods, v.Healthy, v.Draining = s.samples[last].ready, s.samples[last].healthy, s.samples[last].draining
	}
	v.Nodes = s.nodeViews()
	v.Plots.Targets = plotTargets(s.samples)
	v.Lines, v.Losses = linesOf(n.lines)
	return v
}

// linesOf puts the newest first. Losses are also shown by themselves.
func linesOf(lines []line) (all, losses []lineView) {
	for _, l := range slices.Backward(lines) {
		v := lineView{At: l.at, Who: l.who, Pod: l.pod, Target: l.target, What: l.what, After: l.after, Tone: l.tone.class()}
		all = append(all, v)
		if l.loss {
			losses = append(losses, v)
		}
	}
	return all, losses[:min(len(losses), maxLosses)]
}

// maxLosses is how many kinds of losses the page shows by themselves.
const maxLosses = 12

func (r row) view() rowView {
	return rowView{
		Pod: r.pod, Node: r.node, Ready: r.ready, Age: age(r.age),
		Target: r.target, State: r.state, For: age(r.since), Reason: r.reason,
	}
}

// nodeViews are in the order of the nodes' names.
func (s *story) nodeViews() []nodeView {
	pods := map[string]int{}
	for _, p := range s.pods {
		if p.goneAt.IsZero() {
			pods[p.node]++
		}
	}
	var views []nodeView
	for name, n := range s.nodes {
		views = append(views, nodeView{Name: name, Zone: n.zone, Cordoned: n.cordoned, Pods: pods[name]})
	}
	slices.SortFunc(views, func(a, b nodeView) int { return cmp.Compare(a.Name, b.Name) })
	return views
}

const (
	// shownSeconds is how far back the plots go.
	shownSeconds = 120
	// recent is what the numbers are about.
	recent = 10
)

// shown are the seconds of a run that the plots show: those that are over.
func shown(r load.Result) []load.Second {
	return r.Seconds[:max(0, len(r.Seconds)-1)]
}

func trafficOf(r load.Result) traffic {
	t := traffic{Sent: r.Sent, Answered: r.Answered, Lost: r.Lost}
	seconds := shown(r)
	seconds = seconds[max(0, len(seconds)-recent):]
	if len(seconds) == 0 {
		return t
	}
	for _, s := range seconds {
		t.PerSecond += float64(s.Sent) / float64(len(seconds))
		t.LostNow += s.Lost
	}
	t.Median = seconds[len(seconds)-1].P50
	return t
}
