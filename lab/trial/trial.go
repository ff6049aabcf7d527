package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/cluster"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

// KillsPerRound is how many kills a round has at most.
const KillsPerRound = 8

// Options of a trial.
type Options struct {
	// Seed is that of the first round; each further round has the next.
	Seed uint64
	// Kills is how many there are in all.
	Kills int
	// Race builds the controller with the race detector.
	Race bool
}

// Result is what happened in a round.
type Result struct {
	Seed uint64
	// Kills is how many there were, Midst those during a call that changes a
	// group, Restores how often etcd went back in time.
	Kills, Midst, Restores int
	Acts                   int
	// Calls came to AWS, of which Struck met a fault or were throttled.
	Calls, Struck int
	// Judged counts the targets that were deregistered, Lagging those of them
	// that only a late EndpointSlice excuses.
	Judged, Lagging int
	// Ends counts controllers that ended by themselves, having lost the Lease or
	// found no API server.
	Ends int
	// Settled is how long it took from the end of all trouble to the end state.
	Settled time.Duration
}

// Run performs a trial. The error tells what was wrong; all that is needed to
// understand it and the command that repeats the round are printed.
func Run(ctx context.Context, o Options, out io.Writer) ([]Result, error) {
	t, err := start(ctx, o, out)
	if err != nil {
		return nil, err
	}
	defer t.end()
	var results []Result
	for seed := o.Seed; o.Kills > 0; seed++ {
		kills := min(o.Kills, KillsPerRound)
		o.Kills -= kills
		result, err := t.round(ctx, PlanFor(seed, kills), out)
		results = append(results, result)
		fmt.Fprintln(out, result)
		if err != nil {
			return results, fmt.Errorf("%w\n\nrepeat it with: lab trial --seed %d --kills %d", err, seed, kills)
		}
	}
	fmt.Fprintln(out, total(results))
	return results, nil
}

// start brings up the world of a trial.
func start(ctx context.Context, o Options, out io.Writer) (*trial, error) {
	settings := peaceful()
	r, err := rig.Start(ctx, rig.Options{
		Simulator: elbsim.Options{Settings: &settings}, Progress: out, Race: o.Race,
		World: world.Options{Cluster: cluster.Options{Progress: out}},
	})
	if err != nil {
		return nil, err
	}
	t, err := begin(ctx, r)
	if err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return t, nil
}

// String is one line.
func (r Result) String() string {
	return fmt.Sprintf("seed %d: %d kills (%d in the midst of a change), %d restores, %d acts, %d calls (%d struck), %d deregistered (%d by slice alone), %d ended by themselves, in order after %s",
		r.Seed, r.Kills, r.Midst, r.Restores, r.Acts, r.Calls, r.Struck, r.Judged, r.Lagging, r.Ends, r.Settled.Round(100*time.Millisecond))
}

func total(results []Result) string {
	var sum Result
	for _, r := range results {
		sum.Kills += r.Kills
		sum.Midst += r.Midst
		sum.Restores += r.Restores
		sum.Acts += r.Acts
		sum.Calls += r.Calls
		sum.Struck += r.Struck
		sum.Judged += r.Judged
		sum.Lagging += r.Lagging
		sum.Ends += r.Ends
		sum.Settled = max(sum.Settled, r.Settled)
	}
	_, rest, _ := strings.Cut(sum.String(), ": ")
	return fmt.Sprintf("%d rounds: %s at the latest", len(results), rest)
}

// peaceful is AWS without trouble. Calls take a while, so that some can be
// interrupted.
func peaceful() elbsim.Settings {
	settings := elbsim.DefaultSettings()
	settings.Latency = elbsim.Latency{Fixed: elbsim.Duration(40 * time.Millisecond), Spread: elbsim.Duration(40 * time.Millisecond)}
	settings.DeregistrationDelay = elbsim.Duration(5 * time.Second)
	return settings
}

// trial is what lasts over all rounds.
type trial struct {
	*stage
	history  *history
	judge    *judge
	watchman *watchman
	proxy    *proxy
	replicas *replicas

	running sync.WaitGroup
	cancel  context.CancelFunc
	mu      sync.Mutex
	found   []Violation
	alarm   context.CancelFunc // ends the round
}

func begin(ctx context.Context, r *rig.Rig) (*trial, error) {
	s, err := newStage(ctx, r)
	if err != nil {
		return nil, err
	}
	config := r.Config()
	server, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	t := &trial{stage: s, judge: newJudge(s.groups)}
	if t.proxy, err = startProxy(server.Host); err != nil {
		return nil, err
	}
	config.Host = "https://" + t.proxy.address()
	t.replicas = &replicas{rig: r, config: config, log: &tail{}}
	t.history = newHistory(r.EtcdURL(), t.judge.observe)
	if err := t.history.jump(ctx, 0); err != nil {
		t.proxy.stop()
		return nil, err
	}
	t.watchman = &watchman{sim: r.Sim, history: t.history, judge: t.judge, violate: t.violate}
	ctx, t.cancel = context.WithCancel(ctx)
	t.running.Go(func() { t.history.follow(ctx) })
	t.running.Go(func() { t.watchman.watch(ctx) })
	return t, nil
}

func (t *trial) end() {
	t.replicas.stop()
	t.cancel()
	t.running.Wait()
	t.proxy.stop()
	_ = t.Rig.Stop() // what it leaves, the next start removes
}

// violations are those found so far.
func (t *trial) violations() []Violation {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.found)
}

// violate takes in a violation, and ends the round.
func (t *trial) violate(v Violation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found = append(t.found, v)
	if t.alarm != nil {
		t.alarm()
	}
}

// round is one round of a trial.
type round struct {
	*trial
	ctx      context.Context // of the whole trial
	plan     Plan
	snapshot *cluster.Snapshot

	mu     sync.Mutex
	told   []string // acts, as they happened
	result Result
}

func (t *trial) round(ctx context.Context, p Plan, out io.Writer) (Result, error) {
	r := &round{trial: t, plan: p, ctx: ctx, result: Result{Seed: p.Seed}}
	t.Sim.ClearCalls()
	t.replicas.stop()
	t.replicas.start(ctx, p.Replicas)
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	t.mu.Lock()
	t.alarm = cancel
	t.mu.Unlock()
	before := t.counts()
	err := r.lanes(within)
	if err == nil && within.Err() == nil {
		err = r.settle(within)
	}
	err = errors.Join(err, t.watchman.look(ctx))
	r.count(before)
	if broken := t.replicas.log.breaks(); len(broken) > 0 {
		err = errors.Join(err, fmt.Errorf("the controller broke: %s", strings.Join(broken, "\n")))
	}
	if len(t.violations()) > 0 {
		err = errors.New("a target of a ready pod was deregistered")
	}
	if err != nil {
		r.explain(out)
	}
	return r.result, errors.Join(err, ctx.Err())
}

// lanes performs the acts, each lane beside the others.
func (r *round) lanes(ctx context.Context) error {
	settings := r.Sim.Settings()
	settings.VisibilityLag = elbsim.Duration(r.plan.Lag)
	if err := r.Sim.Configure(settings); err != nil {
		return err
	}
	var running sync.WaitGroup
	var failures [4]error
	for i, lane := range [4][]Act{r.plan.World, r.plan.AWS, r.plan.Control, r.plan.Kills} {
		running.Go(func() { failures[i] = r.lane(ctx, lane) })
	}
	running.Wait()
	return errors.Join(failures[:]...)
}

func (r *round) lane(ctx context.Context, acts []Act) error {
	for _, act := range acts {
		idle(ctx, act.After)
		if ctx.Err() != nil {
			return nil // somebody else tells why
		}
		r.tell(act, "begins")
		if err := r.perform(ctx, act); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", act, err)
		}
		r.tell(act, "is over")
	}
	return nil
}

func (r *round) tell(act Act, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf("%s %s %s", clock(time.Now()), act, what))
	if what == "begins" {
		r.result.Acts++
	} else if act.Kind == RestoreEtcd {
		r.result.Restores++
	}
}

// counts are what is counted over all rounds.
func (t *trial) counts() Result {
	t.judge.mu.Lock()
	defer t.judge.mu.Unlock()
	t.replicas.mu.Lock()
	defer t.replicas.mu.Unlock()
	return Result{Judged: t.judge.judged, Lagging: t.judge.lagging, Ends: t.replicas.ends}
}

// count counts what happened in the round.
func (r *round) count(before Result) {
	now := r.counts()
	r.result.Judged, r.result.Lagging = now.Judged-before.Judged, now.Lagging-before.Lagging
	r.result.Ends = now.Ends - before.Ends
	for _, call := range r.Sim.Calls() {
		r.result.Calls++
		if call.Fault != "" || call.Code != elbsim.CodeOK {
			r.result.Struck++
		}
	}
}

// explain prints all that may help to understand what went wrong.
func (r *round) explain(out io.Writer) {
	fmt.Fprintf(out, "\n--- FAILED: seed %d, %d kills, %d controllers\n", r.plan.Seed, len(r.plan.Kills), r.plan.Replicas)
	fmt.Fprintf(out, "--- acts\n%s\n", strings.Join(r.told, "\n"))
	for _, v := range r.violations() {
		fmt.Fprintf(out, "--- violation\n%s\n--- calls about the group\n%s\n", v, strings.Join(r.around(v.Call), "\n"))
	}
	fmt.Fprintf(out, "--- groups\n")
	for _, group := range r.Sim.Groups() {
		fmt.Fprintf(out, "%s %+v\n", group.Name, group.Targets)
	}
	fmt.Fprintf(out, "--- the end of the controllers' logs\n%s\n", strings.Join(r.replicas.log.last(), "\n"))
}

// around lists the calls about the same group before and after a call.
func (r *round) around(call elbsim.Call) []string {
	const each = 8
	calls := slices.DeleteFunc(r.Sim.Calls(), func(c elbsim.Call) bool {
		return c.Group != "" && c.Group != call.Group || c.Action == "DescribeTargetHealth" && c.Code == elbsim.CodeOK
	})
	i := slices.IndexFunc(calls, func(c elbsim.Call) bool { return c.Seq == call.Seq })
	var lines []string
	for _, c := range calls[max(0, i-each):min(len(calls), i+each)] {
		lines = append(lines, fmt.Sprintf("%s #%d %s %v: %s applied=%t %s", clock(c.Received), c.Seq, c.Action, c.Targets, c.Code, c.Applied, c.Fault))
	}
	return lines
}
