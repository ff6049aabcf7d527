package elb_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// rig is a Syncer on the simulator, stepped whenever it asks for it, as a
// controller would. All of it lives in one synctest bubble.
type rig struct {
	t      testing.TB
	sim    *elbsim.Sim
	group  target.ARN
	syncer *elb.Syncer
	budget *pace.Budget
	begin  time.Time
	stop   context.CancelFunc
	wake   chan struct{}

	mu       sync.Mutex
	wanted   map[target.Key]desired.Candidate
	unknown  bool // the plan cannot be made
	shared   bool
	journal  target.Set // what is remembered after each round of a shared group
	policy   plan.Policy
	steps    int
	last     elb.Round
	failures []string // reasons that Rounds reported, each once in a row
	accepted []time.Duration
	waiting  map[string]desired.Gated // pods at gates, by UID
	opened   map[string]time.Time     // gates, by UID of the pod
}

// rigging is what a rig is made from. The zero value will do.
type rigging struct {
	settings func(*elbsim.Settings)
	limits   pace.Limits
	budget   *pace.Budget // shared with others, in place of one with these limits
	client   func(elb.Client) elb.Client
	sweep    time.Duration
	ours     target.Set
	check    elbsim.CheckFunc
	targets  []string // registered before
	wanted   []int    // from the beginning
	unknown  bool     // no plan can be made at the beginning
	shared   bool     // with other clusters; what is ours is remembered
	policy   plan.Policy
}

// ample is a budget that makes nobody wait.
var ample = pace.Limits{
	Registration: pace.Limit{Capacity: 1e6, Refill: 1e6},
	Describe:     pace.Limit{Capacity: 1e6, Refill: 1e6},
	Total:        pace.Limit{Capacity: 1e6, Refill: 1e6},
}

// scarce is a budget that n registrations drain, after which one token comes
// every ten seconds. Describe calls are free.
func scarce(n float64) pace.Limits {
	limits := ample
	limits.Registration = pace.Limit{Capacity: n, Refill: 0.1}
	return limits
}

// bubble runs a test with a rig in a synctest bubble. The bubble ends only when
// every goroutine of the Syncer has.
func bubble(t *testing.T, options rigging, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, options)
		defer r.shutdown()
		test(r)
	})
}

// unthrottled is a simulator that takes any number of calls.
func unthrottled(t *testing.T) *elbsim.Sim {
	t.Helper()
	settings := elbsim.DefaultSettings()
	settings.Buckets = nil
	sim, err := elbsim.New(elbsim.Options{Settings: &settings})
	if err != nil {
		t.Fatal(err)
	}
	return sim
}

func newRig(t testing.TB, options rigging) *rig {
	settings := elbsim.DefaultSettings()
	settings.Buckets = nil
	settings.Quotas.TargetsPerALB = 0
	if options.settings != nil {
		options.settings(&settings)
	}
	sim, err := elbsim.New(elbsim.Options{Settings: &settings, Check: options.check})
	if err != nil {
		t.Fatal(err)
	}
	group, err := sim.PlantGroup(elbsim.SeedGroup{Name: "web", LoadBalancer: "front", Targets: options.targets})
	if err != nil {
		t.Fatal(err)
	}
	if options.limits == (pace.Limits{}) {
		options.limits = ample
	}
	if options.budget == nil {
		options.budget = pace.New(options.limits)
	}
	if options.sweep == 0 {
		options.sweep = 10 * time.Minute
	}
	client := sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion)
	if options.client != nil {
		client = options.client(client)
	}
	r := &rig{
		t: t, sim: sim, group: group, begin: time.Now(), wake: make(chan struct{}, 1),
		shared: options.shared, journal: options.ours,
		budget: options.budget, wanted: map[target.Key]desired.Candidate{}, unknown: options.unknown, policy: options.policy,
		waiting: map[string]desired.Gated{}, opened: map[string]time.Time{},
	}
	for _, host := range options.wanted {
		r.wanted[key(host)] = desired.Candidate{Key: key(host), Verdict: desired.Want, Reason: target.PodReady}
	}
	r.syncer = elb.NewSyncer(elb.SyncerConfig{
		Account: &elb.Account{Client: client, Budget: r.budget},
		Group:   group, Ours: options.ours, Plan: r.plan, Wake: r.rouse, Sweep: options.sweep,
		Accepted: func(_ elb.Op, after time.Duration) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.accepted = append(r.accepted, after)
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	if options.check != nil {
		go sim.Run(ctx)
	}
	go r.run(ctx)
	r.rouse()
	return r
}

func (r *rig) shutdown() {
	r.stop()
	synctest.Wait()
	r.syncer.Wait()
}

func (r *rig) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *rig) plan(have plan.Observation) (plan.Plan, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unknown {
		return plan.Plan{}, false
	}
	wanted := desired.Wanted{Shared: r.shared}
	have.Journal = r.journal
	for _, c := range r.wanted {
		wanted.Candidates = append(wanted.Candidates, c)
	}
	for _, uid := range slices.Sorted(maps.Keys(r.waiting)) {
		wanted.Gated = append(wanted.Gated, r.waiting[uid])
	}
	slices.SortFunc(wanted.Candidates, func(a, b desired.Candidate) int { return a.Key.Compare(b.Key) })
	return plan.Make(wanted, have, r.policy, time.Now()), true
}

// run steps the Syncer until ctx ends. Steps without end at one moment would stop
// the bubble's clock, so they fail the test.
func (r *rig) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	moment, spins := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
		}
		if now := time.Now(); now.After(moment) {
			moment, spins = now, 0
		}
		if spins++; spins > 2000 {
			r.t.Errorf("the Syncer asked for 2000 steps without a moment passing")
			return
		}
		round := r.syncer.Step(ctx)
		r.note(round)
		if !round.Next.IsZero() {
			timer.Reset(time.Until(round.Next))
		}
	}
}

func (r *rig) note(round elb.Round) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = round
	r.steps++
	round.Have.Journal = r.journal
	if r.shared && round.Known {
		r.remember(round.Plan.Remember(round.Have, round.Busy))
	}
	for _, gate := range round.Plan.Gates {
		if _, waits := r.waiting[gate.Pod.UID]; waits && gate.Open {
			r.opened[gate.Pod.UID] = time.Now()
			delete(r.waiting, gate.Pod.UID)
		}
	}
	for _, failure := range round.Outcome.Failures {
		word := failure.Op + " " + string(failure.Reason)
		if n := len(r.failures); n == 0 || r.failures[n-1] != word {
			r.failures = append(r.failures, word)
		}
	}
}

// remember writes the journal, and comes back if it tells something new, as a cluster does.
func (r *rig) remember(journal target.Set) {
	if !slices.Equal(journal.Keys(), r.journal.Keys()) {
		r.journal = journal
		r.rouse()
	}
}

func (r *rig) round() elb.Round {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func key(host int) target.Key {
	return target.Key{Addr: netip.AddrFrom4([4]byte{10, 0, byte(host >> 8), byte(host)}), Port: 80}
}

func hostOf(k target.Key) int {
	b := k.Addr.As4()
	return int(b[2])<<8 | int(b[3])
}

func span(first, last int) []int {
	var hosts []int
	for host := first; host <= last; host++ {
		hosts = append(hosts, host)
	}
	return hosts
}

// set puts candidates in place of those of the same hosts, and lets the Syncer
// come to rest.
func (r *rig) set(verdict desired.Verdict, reason target.Reason, hosts ...int) {
	r.mu.Lock()
	for _, host := range hosts {
		r.wanted[key(host)] = desired.Candidate{Key: key(host), Verdict: verdict, Reason: reason}
	}
	r.mu.Unlock()
	r.rouse()
	synctest.Wait()
}

func (r *rig) want(hosts ...int)  { r.set(desired.Want, target.PodReady, hosts...) }
func (r *rig) leave(hosts ...int) { r.set(desired.Leave, target.PodTerminating, hosts...) }

// gated makes a pod with a closed gate ready on a host.
func (r *rig) gated(host int, uid string) {
	r.mu.Lock()
	pod := desired.PodRef{Namespace: "shop", Name: uid, UID: uid}
	r.wanted[key(host)] = desired.Candidate{Key: key(host), Verdict: desired.Want, Reason: target.GatePending, Pod: pod}
	r.waiting[uid] = desired.Gated{Pod: pod, Since: time.Now(), Targets: []target.Key{key(host)}}
	r.mu.Unlock()
	r.rouse()
	synctest.Wait()
}

// openAfter is when the gate of a pod was opened; zero if it was not.
func (r *rig) openAfter(uid string) time.Duration {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, open := r.opened[uid]; open {
		return at.Sub(r.begin)
	}
	return 0
}

// forget takes candidates away as a cluster does with pods that are gone.
func (r *rig) forget(hosts ...int) {
	r.mu.Lock()
	for _, host := range hosts {
		delete(r.wanted, key(host))
	}
	r.mu.Unlock()
	r.rouse()
	synctest.Wait()
}

func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) fault(f elbsim.Fault) {
	if _, err := r.sim.AddFault(f); err != nil {
		r.t.Error(err)
	}
}

// calls lists the calls of an action: when each came in, what it carried, and how
// it ended, such as "1s 1,2 OK".
func (r *rig) calls(action string) []string {
	synctest.Wait()
	var list []string
	for _, call := range r.sim.Calls() {
		if call.Action == action {
			list = append(list, fmt.Sprintf("%v %s %s", call.Received.Sub(r.begin), hostList(call.Targets), call.Code))
		}
	}
	return list
}

// hostList names the hosts of targets, or how many there are if they are many.
func hostList(targets []string) string {
	if len(targets) > 8 {
		return fmt.Sprint("n=", len(targets))
	}
	var hosts []string
	for _, text := range targets {
		k, err := target.ParseKey(text)
		if err != nil {
			return text
		}
		hosts = append(hosts, fmt.Sprint(hostOf(k)))
	}
	return strings.Join(hosts, ",")
}

func (r *rig) expectCalls(action string, want ...string) {
	r.t.Helper()
	if got := r.calls(action); !slices.Equal(got, want) {
		r.t.Errorf("%s: got %s\nwant %s", action, strings.Join(got, "; "), strings.Join(want, "; "))
	}
}

// expectIn checks which hosts are registered and not draining.
func (r *rig) expectIn(hosts ...int) {
	r.t.Helper()
	synctest.Wait()
	if got := r.in(); !slices.Equal(got, hosts) {
		r.t.Errorf("registered are %v, want %v", got, hosts)
	}
}

func (r *rig) in() []int {
	var in []int
	err := r.sim.With(elbsim.DefaultAccount, elbsim.DefaultRegion, func(w *model.World, now time.Time) error {
		list, err := w.TargetHealth(now, r.group.String(), nil)
		for _, observed := range list {
			if !observed.Health.State.Leaving() {
				in = append(in, hostOf(observed.Key))
			}
		}
		return err
	})
	if err != nil {
		r.t.Error(err)
	}
	return in
}

func (r *rig) expectFailures(want ...string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.failures, want) {
		r.t.Errorf("reported failures %q, want %q", r.failures, want)
	}
}

// expectSynced checks that nothing is left to do and nothing is in doubt.
func (r *rig) expectSynced() {
	r.t.Helper()
	round := r.round()
	if !round.Known || round.Busy || !round.Plan.Empty() || len(round.Plan.LeftOut) > 0 || len(round.Outcome.Failures) > 0 {
		r.t.Errorf("known %v, busy %v, to register %d, to deregister %d, left out %d, failures %v, want nothing left",
			round.Known, round.Busy, len(round.Plan.Register), len(round.Plan.Deregister), len(round.Plan.LeftOut), round.Outcome.Failures)
	}
}
