package elbsim

import (
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/web"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/web/plot"
)

//go:embed page.html
var pageHTML string

// What is shown at most, so that a page stays one that can be read.
const (
	shownGroups   = 50
	shownTargets  = 100 // of one group
	shownCalls    = 100
	shownFailures = 20
	openGroups    = 4 // more groups than that begin folded
)

// page is the simulator's page for people.
func (s *Sim) page() *web.Page {
	layout := web.Layout().Funcs(template.FuncMap{"name": resourceName, "took": took})
	page, err := web.NewPage(web.Options{
		Template: template.Must(layout.Parse(pageHTML)),
		Regions:  []string{"facts", "groups", "traffic", "codes", "calls", "group-names", "target-keys", "denied", "faults", "budget", "balancers"},
		Data:     s.pageData,
		Actions:  s.pageActions(),
	})
	if err != nil {
		panic(err) // the templates are compiled in
	}
	return page
}

// pageView is what the page's templates are executed with.
type pageView struct {
	Speed            float64
	Groups           []groupPanel
	Targets, Healthy int
	Logged           uint64
	Filter           callFilter
	Calls            []callView
	Codes, Actions   []string // to choose from
	Faults           []faultView
	Denied           []string
	Budgets          []budgetView
	Balancers        []dataplane.BalancerView
	Traffic          *trafficView // nil without a data plane
}

func (s *Sim) pageData(_ context.Context, query url.Values) (any, error) {
	v := pageView{
		Speed:   s.clock.Speed(),
		Logged:  s.log.size(),
		Filter:  callFilter{Action: query.Get("action"), Code: query.Get("code")},
		Actions: slices.Sorted(maps.Keys(operations)),
		Denied:  s.Settings().Deny,
		Traffic: s.trafficView(),
	}
	now := s.Now()
	groups := s.Groups()
	for _, g := range groups {
		view := newGroupPanel(g, now)
		view.Open = len(groups) <= openGroups
		v.Groups = append(v.Groups, view)
		v.Targets += len(g.Targets)
		v.Healthy += view.count(target.Healthy)
	}
	codes := map[string]bool{CodeOK: true, CodeNoReply: true}
	for _, call := range s.log.latest(shownCalls, v.Filter.selects) {
		v.Calls = append(v.Calls, callView{call})
		codes[call.Code] = true
	}
	delete(codes, "")
	v.Codes = slices.Sorted(maps.Keys(codes))
	for _, f := range s.Faults() {
		v.Faults = append(v.Faults, faultView{f})
	}
	for _, b := range s.Budgets() {
		v.Budgets = append(v.Budgets, newBudgetView(b))
	}
	v.Balancers = s.balancerViews()
	return v, nil
}

// ShownGroups are the groups that the page has room for.
func (v pageView) ShownGroups() []groupPanel { return v.Groups[:min(len(v.Groups), shownGroups)] }

// HiddenGroups is how many groups it has no room for.
func (v pageView) HiddenGroups() int { return max(0, len(v.Groups)-shownGroups) }

// ClockNote says by which clock ages are told.
func (v pageView) ClockNote() string {
	if v.Speed == 1 {
		return "How long a state has lasted is told in real time."
	}
	return fmt.Sprintf("How long a state has lasted is told by the simulator's clock, which runs %g times as fast as this machine's.", v.Speed)
}

// groupPanel is a target group for the page.
type groupPanel struct {
	GroupState
	ID     string // the last part of the ARN
	Open   bool
	States []stateCount
	Shown  []targetView
}

// stateCount is how many targets are in a state.
type stateCount struct {
	State target.State
	Count int
}

// targetView is a target, and how long it has been in its state.
type targetView struct {
	TargetState
	Age string // by the simulator's clock
}

func newGroupPanel(g GroupState, now time.Time) groupPanel {
	v := groupPanel{GroupState: g, ID: g.ARN[strings.LastIndex(g.ARN, "/")+1:]}
	for _, t := range g.Targets[:min(len(g.Targets), shownTargets)] {
		v.Shown = append(v.Shown, targetView{TargetState: t, Age: whole(now.Sub(t.Since))})
	}
	for _, state := range []target.State{
		target.Healthy, target.Initial, target.Unhealthy, target.Draining, target.UnhealthyDraining, target.Unused, target.Unavailable,
	} {
		if n := v.count(state); n > 0 {
			v.States = append(v.States, stateCount{State: state, Count: n})
		}
	}
	return v
}

func (v groupPanel) count(state target.State) (n int) {
	for _, t := range v.Targets {
		if t.State == state {
			n++
		}
	}
	return n
}

// Hidden is how many targets the page has no room for.
func (v groupPanel) Hidden() int { return len(v.Targets) - len(v.Shown) }

// whole is an age in whole seconds: a page that is looked at does not need more,
// and need not be sent again for less.
func whole(age time.Duration) string {
	if age < time.Second {
		return "0 s"
	}
	if age < 10*time.Second {
		return fmt.Sprintf("%d s", age/time.Second)
	}
	return web.Age(age)
}

// took is a latency with the digits that matter.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// resourceName is the name within the ARN of a group or load balancer; what is not
// an ARN stays as it is.
func resourceName(arn string) string {
	parts := strings.Split(arn, "/")
	if !strings.HasPrefix(arn, "arn:") || len(parts) < 3 {
		return arn
	}
	return parts[len(parts)-2]
}

// callFilter selects calls; empty fields select all.
type callFilter struct{ Action, Code string }

// On tells whether the filter leaves anything out.
func (f callFilter) On() bool { return f != callFilter{} }

func (f callFilter) selects(c *Call) bool {
	return (f.Action == "" || f.Action == c.Action) && (f.Code == "" || f.Code == c.Code)
}

// callView is a call for the page.
type callView struct{ Call }

// State is the badge of the call's code.
func (c callView) State() string {
	switch {
	case c.Code == CodeOK:
		return "ok"
	case strings.HasPrefix(c.Code, "Throttling"):
		return "throttled"
	}
	return "failed"
}

// Took is how long the call was under way, in real time.
func (c callView) Took() string {
	if c.Answered.IsZero() {
		return ""
	}
	return took(c.Answered.Sub(c.Received))
}

// Some names the call's first targets, and how many more there are.
func (c callView) Some() string {
	const named = 2
	if len(c.Targets) <= named {
		return strings.Join(c.Targets, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(c.Targets[:named], ", "), len(c.Targets)-named)
}

// By is the program that called, by its user agent: tgc, which names itself after
// AWS's SDK, else whoever comes first.
func (c callView) By() string {
	products := strings.Fields(c.UserAgent)
	for _, product := range products {
		if strings.HasPrefix(product, "tgc/") {
			return product
		}
	}
	return strings.Join(products[:min(1, len(products))], "")
}

// faultView is a fault for the page.
type faultView struct{ Fault }

// Often says which of the selected calls go wrong.
func (f faultView) Often() string {
	from := ""
	if f.Nth > 1 {
		from = fmt.Sprintf(" from no. %d on", f.Nth)
	}
	if f.Count == 0 {
		return "always" + from
	}
	return fmt.Sprintf("%d times%s, %d left", f.Count, from, max(0, f.Count-max(0, f.Selected-f.Nth+1)))
}

// Details says what else the kind of fault needs to know.
func (f faultView) Details() string {
	switch {
	case f.Kind == FaultFail:
		return strings.TrimSpace(fmt.Sprintf("%s (%d) %s", f.Code, f.Status, f.Message))
	case f.Kind == FaultHang && f.Duration == 0:
		return "until the client leaves"
	case f.Kind == FaultHang:
		return "for " + time.Duration(f.Duration).String()
	}
	return ""
}

// budgetView is the budget of one account and region for the page.
type budgetView struct {
	ScopeBudget
	Buckets []bucketView
}

// bucketView is one bucket.
type bucketView struct{ model.Budget }

// Whole is the number of whole tokens, each good for a call.
func (b bucketView) Whole() float64 { return math.Floor(b.Tokens) }

// Low is what counts as little.
func (b bucketView) Low() float64 { return float64(b.Capacity) / 4 }

func newBudgetView(b ScopeBudget) budgetView {
	v := budgetView{ScopeBudget: b}
	for _, bucket := range b.Buckets {
		v.Buckets = append(v.Buckets, bucketView{bucket})
	}
	return v
}

// balancerViews lists the load balancers, with the addresses of their nodes where
// there is a data plane.
func (s *Sim) balancerViews() (views []dataplane.BalancerView) {
	if s.traffic != nil {
		return s.traffic.plane.Balancers()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	for _, at := range s.scopes() {
		for _, b := range planeBalancers(s.worlds[at], now) {
			view := dataplane.BalancerView{ARN: b.ARN, Name: b.Name, DNSName: b.DNSName, Type: b.Type}
			for _, l := range b.Listeners {
				view.Listeners = append(view.Listeners, dataplane.ListenerView{Port: l.Port, Protocol: l.Protocol})
			}
			views = append(views, view)
		}
	}
	return views
}

// trafficView is what runs through the data plane.
type trafficView struct {
	Rates, Latency plot.Plot
	Failures       []failureView
}

// failureView is a request that failed.
type failureView struct{ dataplane.Entry }

// What says how it failed: an answer that was forwarded is a failure if it tells
// of one.
func (f failureView) What() string {
	if f.Outcome == dataplane.Forwarded {
		return "target's error"
	}
	return string(f.Outcome)
}

// trafficSeries sorts the outcomes into few enough kinds to be told apart in a
// plot.
var trafficSeries = []struct {
	name     string
	outcomes []dataplane.Outcome
}{
	{"answered", []dataplane.Outcome{dataplane.Forwarded}},
	{"target's 5xx", nil},
	{"no target", []dataplane.Outcome{dataplane.NoTarget}},
	{"not connected", []dataplane.Outcome{dataplane.Refused, dataplane.ConnectTimeout}},
	{"broken off", []dataplane.Outcome{dataplane.Reset, dataplane.ResponseTimeout, dataplane.Cut}},
	{"client gone", []dataplane.Outcome{dataplane.ClientGone}},
}

func (s *Sim) trafficView() *trafficView {
	if s.traffic == nil {
		return nil
	}
	seconds := s.traffic.plane.Seconds()
	view := &trafficView{
		Rates:   plot.Plot{ID: "rates", Title: "Requests per second", Unit: "/s", Form: plot.Stacked, Series: rates(seconds)},
		Latency: plot.Plot{ID: "latency", Title: "Latency of requests, real time", Unit: "ms", Series: latencies(seconds)},
	}
	for _, entry := range s.traffic.plane.Failures(shownFailures) {
		view.Failures = append(view.Failures, failureView{entry})
	}
	return view
}

func rates(seconds []dataplane.Second) []plot.Series {
	series := make([]plot.Series, len(trafficSeries))
	for i, kind := range trafficSeries {
		series[i].Name = kind.name
		for _, second := range seconds {
			var n uint64
			for _, outcome := range kind.outcomes {
				n += second.Outcomes[outcome]
			}
			switch i {
			case 0:
				n -= second.ServerErrors
			case 1:
				n = second.ServerErrors
			}
			series[i].Values = append(series[i].Values, float64(n))
		}
	}
	return series
}

func latencies(seconds []dataplane.Second) []plot.Series {
	half, most := plot.Series{Name: "half within"}, plot.Series{Name: "99 % within"}
	milliseconds := func(d time.Duration) float64 {
		if d == 0 {
			return math.NaN() // nothing ended
		}
		return float64(d) / float64(time.Millisecond)
	}
	for _, second := range seconds {
		half.Values = append(half.Values, milliseconds(second.Median))
		most.Values = append(most.Values, milliseconds(second.Slowest99))
	}
	return []plot.Series{half, most}
}
