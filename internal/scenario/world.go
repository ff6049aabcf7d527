package scenario

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// sweep is how often an unchanged group is looked at.
const sweep = 10 * time.Minute

// World is a cluster, AWS and the controller between them. It belongs into a
// synctest bubble: time passes as its script says.
type World struct {
	rest  func() // waits until nothing moves any more
	begin time.Time
	ctx   context.Context
	stop  context.CancelFunc

	cluster *cluster
	sim     *elbsim.Sim
	group   target.Group
	told    uint64 // of the simulator's calls
	program *program

	mu     sync.Mutex
	events []happening
}

// happening is something to be told, with when it happened.
type happening struct {
	at   time.Time
	text string
}

// program is one life of the controller.
type program struct {
	world  *World
	stop   context.CancelFunc
	syncer *elb.Syncer
	wake   chan struct{}

	mu      sync.Mutex
	round   elb.Round
	reports map[desired.BindingID]report.Binding
}

// NewWorld makes a world with one empty cluster. rest waits until every goroutine
// of the world is at rest, as synctest.Wait does. Close it at the end.
func NewWorld(rest func()) (*World, error) {
	w := &World{rest: rest, begin: time.Now(), cluster: newCluster()}
	settings := elbsim.DefaultSettings()
	settings.Buckets = nil
	sim, err := elbsim.New(elbsim.Options{Settings: &settings, Check: w.check})
	if err != nil {
		return nil, err
	}
	w.sim = sim
	w.ctx, w.stop = context.WithCancel(context.Background())
	go sim.Run(w.ctx)
	return w, nil
}

// Close ends the world and all that runs in it.
func (w *World) Close() {
	w.stop()
	if w.program != nil {
		w.program.syncer.Wait()
	}
	w.rest()
}

// check is the load balancer's health check.
func (w *World) check(_ context.Context, check model.Check) model.CheckResult {
	result := model.CheckResult{ID: check.ID}
	if !w.cluster.serves(check.ID.Key.Addr) {
		result.Outcome = model.CannotAnswer
	}
	return result
}

// start begins a life of the program with the targets that it remembers.
func (w *World) start(ours target.Set) {
	ctx, stop := context.WithCancel(w.ctx)
	p := &program{
		world: w, stop: stop, wake: make(chan struct{}, 1),
		reports: map[desired.BindingID]report.Binding{},
	}
	p.syncer = elb.NewSyncer(elb.SyncerConfig{
		Account: &elb.Account{
			Client: unhurried{w.sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion)},
			Budget: pace.New(pace.Documented()),
		},
		Group: w.group.ARN, Ours: ours, Plan: w.plan, Wake: p.rouse, Sweep: sweep,
	})
	w.program = p
	go p.run(ctx)
	p.rouse()
}

// unhurried calls take a moment, each kind another, so that no two of them end at
// the same moment and a scenario always goes the same way.
type unhurried struct{ elb.Client }

// RegisterTargets is as elb.Client has it, in 100 ms.
func (u unhurried) RegisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	time.Sleep(100 * time.Millisecond)
	return u.Client.RegisterTargets(ctx, group, targets)
}

// DeregisterTargets is as elb.Client has it, in 130 ms.
func (u unhurried) DeregisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	time.Sleep(130 * time.Millisecond)
	return u.Client.DeregisterTargets(ctx, group, targets)
}

// TargetHealth is as elb.Client has it, in 70 ms.
func (u unhurried) TargetHealth(ctx context.Context, group target.ARN) ([]target.Observed, error) {
	time.Sleep(70 * time.Millisecond)
	return u.Client.TargetHealth(ctx, group)
}

// plan is the data flow of the project, as the group controller has it.
func (w *World) plan(have plan.Observation) (plan.Plan, bool) {
	facts, policy, known := w.cluster.facts()
	if !known {
		return plan.Plan{}, false
	}
	policy.FailsWithin = w.group.Check.FailsWithin()
	return plan.Make(desired.For(facts), have, policy, time.Now()), true
}

func (p *program) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run steps the Syncer whenever it asks for it.
func (p *program) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.wake:
		}
		round := p.syncer.Step(ctx)
		p.publish(round)
		if !round.Next.IsZero() {
			timer.Reset(time.Until(round.Next))
		}
	}
}

// publish tells what a round found and did.
func (p *program) publish(round elb.Round) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round = round
	in := report.Input{
		Group: p.world.group, Bindings: p.world.cluster.ids(), Have: round.Have, Plan: round.Plan, Outcome: round.Outcome,
	}
	p.answer(report.Gates(in))
	reports := report.Of(in)
	for _, current := range reports {
		previous := p.reports[current.ID]
		if !round.Known {
			current = unknown(current, previous, round)
		}
		for _, event := range report.Events(previous, current, round.Outcome) {
			p.world.tell(describe(event))
		}
		p.reports[current.ID] = current
		p.release(current.ID, round)
	}
}

// answer writes what gates should say, as the gate controller does.
func (p *program) answer(gates []report.Gate) {
	for _, gate := range gates {
		if !p.world.cluster.answer(gate) {
			continue
		}
		word := "closed"
		if gate.True {
			word = "open"
		}
		p.world.tell(fmt.Sprintf("gate %s of %s is %s: %s", gate.Type, gate.Pod.Name, word, gate.Reason))
		p.rouse()
	}
}

// unknown reports on a binding while its group could not be listed.
func unknown(current, previous report.Binding, round elb.Round) report.Binding {
	previous.ID = current.ID
	if len(round.Outcome.Failures) == 0 {
		return report.Failed(previous, target.Syncing, "the target group is being listed")
	}
	return report.Failed(previous, current.Ready.Reason, current.Ready.Message)
}

// last is the latest round.
func (p *program) last() elb.Round {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.round
}

// release lets a deleted binding go once nothing of it is left in the group.
func (p *program) release(id desired.BindingID, round elb.Round) {
	leaving := slices.ContainsFunc(round.Plan.Deregister, func(c plan.Change) bool {
		return len(c.Bindings) == 0 || slices.Contains(c.Bindings, id)
	})
	gone := slices.ContainsFunc(round.Outcome.Failures, func(f plan.Failure) bool { return f.Reason == target.TargetGroupNotFound })
	if !p.world.cluster.deleting(id) || !gone && (!round.Known || round.Busy || leaving) {
		return
	}
	p.world.cluster.drop(id)
	p.rouse()
	delete(p.reports, id)
	p.world.tell(fmt.Sprintf("binding %s is let go", id.Name))
}

func describe(event report.Event) string {
	kind := "Normal"
	if event.Warning {
		kind = "Warning"
	}
	return fmt.Sprintf("event %s %s: %s", kind, event.Reason, event.Message)
}

func (w *World) tell(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, happening{time.Now(), text})
}

// pass lets time pass, until nothing moves any more.
func (w *World) pass(d time.Duration) {
	if w.program != nil {
		w.program.rouse()
	}
	w.rest()
	time.Sleep(d)
	w.rest()
}

// news is what happened since the last time, in order.
func (w *World) news() []happening {
	happened := w.calls()
	w.mu.Lock()
	defer w.mu.Unlock()
	happened = append(happened, w.events...)
	w.events = nil
	slices.SortStableFunc(happened, func(a, b happening) int { return a.at.Compare(b.at) })
	return happened
}

// calls are the calls answered since the last time that change the group.
func (w *World) calls() []happening {
	var answered []elbsim.Call
	latest := w.told
	for _, call := range w.sim.Calls() {
		if call.Change <= w.told || call.Answered.IsZero() {
			continue
		}
		latest = max(latest, call.Change)
		if !strings.HasPrefix(call.Action, "Describe") {
			answered = append(answered, call)
		}
	}
	w.told = latest
	slices.SortFunc(answered, func(a, b elbsim.Call) int {
		return cmp.Or(a.Answered.Compare(b.Answered), cmp.Compare(a.Seq, b.Seq))
	})
	var made []happening
	for _, call := range answered {
		made = append(made, happening{call.Answered, call.Action + " " + strings.Join(call.Targets, " ") + outcome(call)})
	}
	return made
}

func outcome(call elbsim.Call) string {
	switch {
	case call.Code == elbsim.CodeOK:
		return ""
	case call.Code == elbsim.CodeNoReply && call.Applied:
		return " -> no reply, but applied"
	case call.Code == elbsim.CodeNoReply:
		return " -> no reply"
	}
	return " -> " + call.Code
}

// tellAll writes what happened, each with its time unless untimed.
func (w *World) tellAll(happened []happening, untimed bool) []string {
	var lines []string
	for _, h := range happened {
		if !untimed {
			h.text = fmt.Sprintf("%v %s", h.at.Sub(w.begin).Truncate(100*time.Millisecond), h.text)
		}
		lines = append(lines, h.text)
	}
	return lines
}
