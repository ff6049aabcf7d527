package scenario

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// namespace is where everything of a scenario lives.
const namespace = "shop"

// Run carries out one command line and returns what came of it, and an error if
// the line makes no sense or expects what is not so.
func (w *World) Run(line string) ([]string, error) {
	c := split(line)
	do, known := verbs[c.words[0]]
	if !known {
		return nil, fmt.Errorf("unknown command %q", c.words[0])
	}
	if w.program == nil && c.words[0] != "group" && c.words[0] != "aws" {
		return nil, fmt.Errorf("group comes first")
	}
	shown, err := do(w, c)
	if err != nil {
		return nil, err
	}
	if !atOnce[c.words[0]] {
		w.pass(time.Second)
	}
	return append(w.tellAll(w.news(), c.says("untimed")), shown...), nil
}

// atOnce are the commands that take no time.
var atOnce = map[string]bool{
	"aws": true, "blind": true, "seeing": true, "advance": true, "targets": true, "plan": true, "status": true, "expect": true,
}

// verbs are the commands by their first word. What a command shows is told after
// what happened.
var verbs = map[string]func(*World, command) (shown []string, err error){
	"group":     (*World).makeGroup,
	"service":   (*World).makeService,
	"binding":   (*World).makeBinding,
	"pod":       (*World).makePod,
	"delete":    (*World).remove,
	"ready":     pods(func(p *pod) { p.ContainersReady = true; p.recheck() }),
	"run":       pods(func(p *pod) { p.Running = true }),
	"finish":    pods(func(p *pod) { p.Running, p.Finished, p.ContainersReady = false, true, false; p.recheck() }),
	"unready":   pods(func(p *pod) { p.ContainersReady = false; p.recheck() }),
	"silent":    pods(func(p *pod) { p.Ready, p.NotReadySince = false, time.Now() }),
	"break":     pods(func(p *pod) { p.broken = true }),
	"mend":      pods(func(p *pod) { p.broken = false }),
	"mute":      pods(func(p *pod) { p.mute = true }),
	"unmute":    pods(func(p *pod) { p.mute = false }),
	"terminate": pods((*pod).terminate),
	"gone":      (*World).podsGone,
	"blind":     func(w *World, _ command) ([]string, error) { w.cluster.see(false); return nil, nil },
	"seeing":    func(w *World, _ command) ([]string, error) { w.cluster.see(true); return nil, nil },
	"aws":       (*World).aws,
	"restart":   (*World).restart,
	"advance":   (*World).advance,
	"targets":   (*World).showTargets,
	"plan":      (*World).showPlan,
	"status":    (*World).showStatus,
	"expect":    (*World).expect,
}

func pods(change func(*pod)) func(*World, command) ([]string, error) {
	return func(w *World, c command) ([]string, error) { return nil, w.cluster.change(c.names(0), change) }
}

func (c *cluster) see(all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blind = !all
}

func (w *World) makeGroup(c command) ([]string, error) {
	seed := elbsim.SeedGroup{Name: "web", LoadBalancer: "front", Attributes: map[string]string{}}
	if c.says("unused") {
		seed.LoadBalancer = ""
	}
	if delay, err := time.ParseDuration(c.option("delay", "300s")); err == nil {
		seed.Attributes[model.DeregistrationDelayKey] = strconv.Itoa(int(delay.Seconds()))
	}
	if targets := c.option("targets", ""); targets != "" {
		seed.Targets = strings.Split(targets, ",")
	}
	arn, err := w.sim.PlantGroup(seed)
	if err != nil {
		return nil, err
	}
	w.group = target.Group{ARN: arn, Type: target.TypeIP, Family: target.IPv4}
	if seed.LoadBalancer != "" {
		w.group.LoadBalancers = []string{seed.LoadBalancer}
	}
	w.start(target.Set{})
	return nil, nil
}

func (w *World) makeService(c command) ([]string, error) {
	service := desired.Service{Existence: desired.Exists}
	for _, text := range c.options["port"] {
		name, digits, _ := strings.Cut(text, ":")
		number, err := strconv.ParseUint(digits, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("port %q: want NAME:NUMBER", text)
		}
		service.Ports = append(service.Ports, desired.ServicePort{Name: name, Number: uint16(number)})
	}
	if len(service.Ports) == 0 {
		service.Ports = []desired.ServicePort{{Name: "http", Number: 80}}
	}
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	w.cluster.services[c.word(0)] = service
	return nil, nil
}

func (w *World) makeBinding(c command) ([]string, error) {
	name := c.word(0)
	b := binding{service: c.option("service", "web"), takeover: plan.Takeover(c.option("takeover", "Guarded"))}
	b.ID = desired.BindingID{Namespace: namespace, Name: name}
	b.Port = desired.PortRef{Name: c.option("port", "http")}
	b.NodeNotReady = desired.NodePolicy(c.option("nodes", "Hold"))
	if pods := c.option("pods", ""); pods != "" {
		b.service, b.at = pods, desired.RegisterAt(c.option("at", string(desired.AtReady)))
	}
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	w.cluster.bindings[name] = b
	return nil, nil
}

func (w *World) makePod(c command) ([]string, error) {
	addr, err := netip.ParseAddr(c.word(1))
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(c.option("port", "80"), 10, 16)
	if err != nil {
		return nil, err
	}
	sleep, err := time.ParseDuration(c.option("sleep", "0s"))
	if err != nil {
		return nil, err
	}
	name := c.word(0)
	p := pod{service: c.option("service", "web"), addr: addr, port: uint16(port), sleep: sleep}
	p.Known, p.Name, p.UID, p.NotReadySince = desired.Seen, name, "uid-"+name, time.Now()
	for _, binding := range c.options["gate"] {
		p.Gates = append(p.Gates, desired.Gate{Type: binding, Ours: true})
	}
	p.ContainersReady = c.says("ready")
	p.Running = p.ContainersReady || c.says("running")
	p.recheck()
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	w.cluster.pods[name] = p
	return nil, nil
}

// remove deletes a Service or a binding. A deleted binding stays until it is let go.
func (w *World) remove(c command) ([]string, error) {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	name := c.word(1)
	switch c.word(0) {
	case "service":
		w.cluster.services[name] = desired.Service{Existence: desired.SeenDeleted}
	case "binding":
		b := w.cluster.bindings[name]
		b.Deleting = true
		w.cluster.bindings[name] = b
	default:
		return nil, fmt.Errorf("delete %q: want service or binding", c.word(0))
	}
	return nil, nil
}

func (w *World) podsGone(c command) ([]string, error) {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	for _, name := range c.names(0) {
		delete(w.cluster.pods, name)
	}
	return nil, nil
}

// restart ends the program, as a crash does, and starts it anew.
func (w *World) restart(c command) ([]string, error) {
	old := w.program
	old.stop()
	w.rest()
	var ours target.Set
	if c.says("journal") {
		for _, r := range old.reports {
			ours = ours.Union(target.SetOf(r.Targets...))
		}
	}
	w.start(ours)
	return nil, nil
}

func (w *World) advance(c command) ([]string, error) {
	d, err := time.ParseDuration(c.word(0))
	if err != nil {
		return nil, err
	}
	w.pass(d)
	return nil, nil
}

func (w *World) listed() ([]target.Observed, error) {
	var list []target.Observed
	err := w.sim.With(elbsim.DefaultAccount, elbsim.DefaultRegion, func(world *model.World, now time.Time) (err error) {
		list, err = world.TargetHealth(now, w.group.ARN.String(), nil)
		return err
	})
	return list, err
}

func (w *World) showTargets(command) ([]string, error) {
	list, err := w.listed()
	if err != nil || len(list) == 0 {
		return []string{"none"}, nil
	}
	var lines []string
	for _, o := range list {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", o.Key, o.Health.State, o.Health.Reason)))
	}
	return lines, nil
}

func (w *World) showPlan(command) ([]string, error) {
	var lines []string
	p := w.program.last().Plan
	for _, part := range []struct {
		name    string
		changes []plan.Change
	}{{"register", p.Register}, {"deregister", p.Deregister}, {"held", p.Held}, {"left out", p.LeftOut}} {
		for _, change := range part.changes {
			lines = append(lines, fmt.Sprintf("%s %s (%s)", part.name, change.Key, change.Reason))
		}
	}
	if len(lines) == 0 {
		return []string{"nothing to do"}, nil
	}
	return lines, nil
}

func (w *World) showStatus(command) ([]string, error) {
	w.program.mu.Lock()
	defer w.program.mu.Unlock()
	var lines []string
	for _, r := range w.program.reports {
		n := r.Counts
		lines = append(lines, fmt.Sprintf("%s: ready %v %s: %s; desired %d, registered %d, healthy %d, draining %d, held %d",
			r.ID.Name, r.Ready.True, r.Ready.Reason, r.Ready.Message, n.Desired, n.Registered, n.Healthy, n.Draining, n.Held))
	}
	slices.SortFunc(lines, cmp.Compare[string])
	return lines, nil
}

func (w *World) expect(c command) ([]string, error) {
	switch c.word(0) {
	case "in", "out":
		return nil, w.expectListed(c)
	case "open", "closed":
		return nil, w.cluster.expectGates(c.names(1), c.word(0) == "open")
	case "synced":
		round := w.program.last()
		if !round.Known || round.Busy || !round.Plan.Empty() || len(round.Plan.LeftOut)+len(round.Outcome.Failures) > 0 {
			return nil, fmt.Errorf("not synced: known %v, busy %v, %d to register, %d to deregister, %d left out, failures %v", round.Known, round.Busy,
				len(round.Plan.Register), len(round.Plan.Deregister), len(round.Plan.LeftOut), round.Outcome.Failures)
		}
		return nil, nil
	}
	return nil, fmt.Errorf("expect %q: want in, out, open, closed or synced", c.word(0))
}

func (w *World) expectListed(c command) error {
	list, err := w.listed()
	if err != nil {
		return err
	}
	for _, text := range c.names(1) {
		in := slices.ContainsFunc(list, func(o target.Observed) bool {
			return o.Addr.String() == text && !o.Health.State.Leaving()
		})
		if in != (c.word(0) == "in") {
			return fmt.Errorf("%s: registered is %v, which was not expected", text, in)
		}
	}
	return nil
}
