package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Surroundings are what a Sidecar works with.
type Surroundings struct {
	Accounts *elb.Accounts
	Metrics  *metrics.Metrics
	// Samples answers /metrics.
	Samples http.Handler
	Log     *slog.Logger
}

// ErrForced is the error of a Sidecar that was told to end and whose grace period was
// too short: load balancers may still have been sending when the pod stopped.
var ErrForced = errors.New("the grace period is used up, and load balancers may still send requests")

// stayed is how long after the end of the grace period a pod that was told to drain is
// still expected to be killed.
const stayed = 5 * time.Second

// Sidecar keeps the pod that it runs in registered. It is used once.
type Sidecar struct {
	cfg     Settings
	metrics *metrics.Metrics
	samples http.Handler
	log     *slog.Logger
	members []*member
	news    chan struct{}

	mu      sync.Mutex
	memory  *memory
	aim     aim
	stay    *stay
	started bool // the members run
}

// aim is what all members are to bring about.
type aim struct {
	verdict desired.Verdict
	reason  target.Reason
	since   time.Time
	// until is when the pod stops serving, of one that leaves.
	until time.Time
}

// stay is the time from when the pod is to join its groups until it may stop.
type stay struct {
	// ended is done once the end is decided.
	ended context.Context //nolint:containedctx // because what runs for this stay is cancelled by its end
	end   context.CancelCauseFunc
	// over is closed when the pod may stop, with the verdict by which it may.
	over    chan struct{}
	verdict drain.Verdict
	// leavingSince is when the end was decided.
	leavingSince time.Time
	// state tells in a sentence how far it is.
	state string
	// served: everything that belongs to being in service is done.
	served bool
}

// errLeave ends what runs for a stay.
var errLeave = errors.New("the pod leaves")

// New makes a Sidecar. Nothing happens until Run.
func New(cfg Settings, with Surroundings) (*Sidecar, error) {
	remembered, err := recall(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	s := &Sidecar{
		cfg: cfg, metrics: with.Metrics, samples: with.Samples, log: with.Log, news: make(chan struct{}, 1), memory: remembered,
	}
	directories, delays := map[*elb.Account]*elb.Directory{}, map[*elb.Account]*elb.Delays{}
	for _, ref := range cfg.Groups {
		region := cfg.Region
		if ref.Name == "" {
			region = ref.ARN.Region
		}
		account, err := with.Accounts.Account(context.Background(), elb.Login{Region: region, Role: cfg.Role, ExternalID: cfg.ExternalID})
		if err != nil {
			return nil, err
		}
		if directories[account] == nil {
			directories[account] = elb.NewDirectory(account, fresh, func(target.Ref) { s.rouse() })
			delays[account] = elb.NewDelays(account, fresh, func(target.ARN) { s.rouse() })
		}
		s.members = append(s.members, &member{
			ref: ref, sidecar: s, account: account, directory: directories[account], delays: delays[account], wake: make(chan struct{}, 1),
			found: found{state: "not looked up yet"},
		})
	}
	return s, nil
}

// Run keeps the pod registered until ctx ends, and then sees to it that it leaves. The
// error is ErrForced if the grace period was too short for that, or that of a failure
// that the settings call fatal.
func (s *Sidecar) Run(ctx context.Context) error {
	s.begin()
	closed, err := s.serve(ctx)
	if err != nil {
		return err
	}
	defer closed()
	// What runs goes on when ctx ends: that is when there is most to do.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	for {
		again, err := s.live(ctx, work, &running)
		if !again {
			return err
		}
		s.log.Warn("The pod was told to drain and is still there after its grace period: only a container was restarted, so it is registered again")
		s.begin()
	}
}

// begin begins a stay, or goes on with the end of one that an earlier process began.
func (s *Sidecar) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended, end := context.WithCancelCause(context.Background())
	s.stay = &stay{ended: ended, end: end, over: make(chan struct{}), state: "starting"}
	s.aim = aim{verdict: desired.Want, reason: target.PodReady, since: time.Now()}
	for _, m := range s.members {
		m.rejoin()
	}
	since := s.memory.kept.Leaving
	switch now := time.Now(); {
	case since.IsZero():
	case since.After(now) || now.Sub(since) < s.cfg.Grace+stayed:
		if since.After(now) {
			since = now // by a clock that was ahead
		}
		s.log.Info("An earlier process of this container was draining: going on with that", "since", since)
		s.leaveSince(since)
	default:
		s.keep(s.memory.leaving(time.Time{}))
	}
}

// live is one stay. It tells whether another follows.
func (s *Sidecar) live(ctx, work context.Context, running *sync.WaitGroup) (again bool, err error) {
	s.mu.Lock()
	now := s.stay
	s.mu.Unlock()
	defer context.AfterFunc(ctx, func() { s.Leave("told to end") })()
	failure := s.join(now.ended, work, running)
	if failure != nil {
		s.log.Error("Giving up", "error", failure.Error())
		s.Leave("a failure that is fatal by --fail-on")
	}
	<-now.ended.Done()
	failure = errors.Join(failure, s.depart(work, now, running, failure == nil))
	again = failure == nil && !s.awaitEnd(ctx, now)
	// Who starts after this is not asked to leave: the pod stays.
	s.remember(func(m *memory) error { return m.leaving(time.Time{}) })
	if failure == nil && !again && now.verdict.Forced {
		failure = ErrForced
	}
	return again, failure
}

// awaitEnd waits, after a drain, until the process is told to end; false if it should
// have been by now.
func (s *Sidecar) awaitEnd(ctx context.Context, now *stay) bool {
	s.mu.Lock()
	until := now.leavingSince.Add(s.cfg.Grace + stayed)
	s.mu.Unlock()
	return !sleep(ctx, time.Until(until))
}

// join registers the pod, with all that belongs to it. It returns early, without an
// error, when the end of the stay is decided.
func (s *Sidecar) join(ctx, work context.Context, running *sync.WaitGroup) error {
	steps := []func() error{
		func() error { return s.command(ctx, s.cfg.PreRegister) },
		func() error { return s.awaitApplication(ctx) },
		func() error {
			s.start(work, running)
			return s.awaitService(ctx)
		},
		func() error { return s.command(ctx, s.cfg.PostRegister) },
	}
	for _, step := range steps {
		if err := step(); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stay.served, s.stay.state = true, "in service"
	return nil
}

// command runs a command. A failure that is not fatal is logged only.
func (s *Sidecar) command(ctx context.Context, c Command) error {
	err := c.run(ctx, s.log)
	if err == nil || c.Fatal || ctx.Err() != nil {
		return err
	}
	s.log.Error("Command failed", "error", err.Error())
	return nil
}

// awaitApplication waits until the application serves, and then for its turn.
func (s *Sidecar) awaitApplication(ctx context.Context) error {
	s.say("waiting for the application")
	if err := await(ctx, s.cfg.WaitFor, s.log); err != nil {
		return err
	}
	if pause := time.Duration(rand.Float64() * float64(s.cfg.StartSpread)); pause > 0 {
		s.say("waiting for its turn to register")
		s.log.Info("Waiting for a random time, since other pods may start too", "pause", pause.Round(time.Millisecond).String())
		sleep(ctx, pause)
	}
	return nil
}

// start lets the members run, if they do not yet.
func (s *Sidecar) start(work context.Context, running *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return
	}
	s.started = true
	for _, m := range s.members {
		running.Go(func() { m.run(work) })
		running.Go(func() { <-work.Done(); m.directory.Wait(); m.delays.Wait() })
	}
}

// awaitService waits until the pod is in service in all groups.
func (s *Sidecar) awaitService(ctx context.Context) error {
	s.say("registering")
	s.rouse()
	began := time.Now()
	limit := time.NewTimer(s.cfg.InServiceTimeout)
	defer limit.Stop()
	for !s.inServiceEverywhere() {
		select {
		case <-s.news:
		case <-ctx.Done():
			return nil
		case <-limit.C:
			err := fmt.Errorf("not in service after %s: %s", s.cfg.InServiceTimeout, s.missing())
			if s.cfg.InServiceFatal {
				return err
			}
			s.log.Error("Waiting on", "error", err.Error())
		}
	}
	s.log.Info("In service", "after", time.Since(began).Round(time.Millisecond).String())
	return nil
}

// leaveSince decides the end of the stay. The lock is held.
func (s *Sidecar) leaveSince(since time.Time) {
	s.stay.leavingSince = since
	s.aim = aim{verdict: desired.Leave, reason: target.PodTerminating, since: since, until: s.leaveAt(since).Deadline()}
	s.keep(s.memory.leaving(since))
	s.stay.end(errLeave)
}

// Leave makes the pod leave its groups, and gives what is closed when it may stop. Why
// is for the log. Once it leaves, it makes no difference.
func (s *Sidecar) Leave(why string) <-chan struct{} {
	s.mu.Lock()
	now := s.stay
	if now.leavingSince.IsZero() {
		s.log.Info("Leaving", "because", why)
		s.leaveSince(time.Now())
	}
	s.mu.Unlock()
	s.rouse()
	return now.over
}

// leaveAt is what is known of a leaving that was decided at a time, apart from the
// groups. Who runs a command after it needs time for that.
func (s *Sidecar) leaveAt(since time.Time) drain.Leave {
	shutdown := s.cfg.Shutdown
	if len(s.cfg.PostDeregister.Argv) > 0 {
		shutdown += s.cfg.PostDeregister.Timeout
	}
	return drain.Leave{Deleted: since, Grace: s.cfg.Grace, Shutdown: shutdown}
}

// depart sees to it that the pod is let go, waits until it may stop, and says so. With
// hold unset it waits for the groups only, since the pod goes on serving.
func (s *Sidecar) depart(work context.Context, now *stay, running *sync.WaitGroup, hold bool) error {
	if !s.certainlyOut() {
		s.start(work, running)
		s.rouse()
		now.verdict = s.awaitSafety(now, hold)
		s.metrics.Drained(outcome(now.verdict))
	}
	err := s.command(work, s.cfg.PostDeregister)
	if !now.verdict.Forced {
		s.remember((*memory).forget)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now.state = "drained: the pod may stop"
	close(now.over)
	return err
}

func outcome(v drain.Verdict) drain.Outcome {
	if v.Forced {
		return drain.Forced
	}
	return drain.Held
}

// certainlyOut tells whether nothing was ever registered for the pod.
func (s *Sidecar) certainlyOut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.started && s.memory.empty()
}

// awaitSafety waits until no load balancer sends to the pod any more, at the latest
// until the deadline; without hold, until all groups have let go.
func (s *Sidecar) awaitSafety(now *stay, hold bool) drain.Verdict {
	said := ""
	for {
		leave := s.leaving(now)
		verdict := leave.Decide(time.Now())
		if state := words(leave, verdict); state != said {
			said = state
			s.say(state)
			s.log.Info(state)
		}
		letGo := verdict.Stage == drain.Holding || verdict.Stage == drain.Safe
		if verdict.Left == 0 || !hold && letGo {
			return verdict
		}
		timer := time.NewTimer(verdict.Left)
		select {
		case <-s.news:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// leaving asks all members how far they are.
func (s *Sidecar) leaving(now *stay) drain.Leave {
	leave := s.leaveAt(now.leavingSince)
	leave.Told = true
	for _, m := range s.members {
		departure, told := m.departure()
		leave.Told = leave.Told && told
		if departure != nil {
			leave.Departures = append(leave.Departures, *departure)
		}
	}
	return leave
}

// words say how far the pod is on its way out.
func words(leave drain.Leave, v drain.Verdict) string {
	most := leave.Deadline().Sub(leave.Deleted).Round(time.Second)
	switch {
	case v.Left == 0 && v.Forced:
		return fmt.Sprintf("The grace period is used up: the pod may stop although requests may still come (%s)", v.Stage)
	case v.Left == 0:
		return "No load balancer sends requests any more: the pod may stop"
	case v.Stage == drain.Asking:
		return fmt.Sprintf("Asking which target groups hold the pod, which serves on for %s at most", most)
	case v.Stage == drain.Registered:
		return fmt.Sprintf("Still registered: the pod serves on for %s at most", most)
	case v.Forced:
		return "Deregistered: the pod serves on until its grace period ends, which is too early"
	}
	return "Deregistered: the pod serves on until no load balancer sends requests any more"
}

// changed makes whoever waits for the members look again.
func (s *Sidecar) changed() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *Sidecar) rouse() {
	for _, m := range s.members {
		m.rouse()
	}
	s.changed()
}

func (s *Sidecar) aimed() aim {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aim
}

func (s *Sidecar) say(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stay.state = state
}

// ours are the targets of a group that earlier processes of the pod registered.
func (s *Sidecar) ours(group target.ARN) target.Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memory.ours(group)
}

// registering remembers a target before it is registered.
func (s *Sidecar) registering(group target.ARN, key target.Key) {
	s.remember(func(m *memory) error { return m.registering(group, key) })
}

func (s *Sidecar) remember(change func(*memory) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(change(s.memory))
}

// keep reports that something could not be remembered. The work goes on: only a
// restart would miss it.
func (s *Sidecar) keep(err error) {
	if err != nil {
		s.log.Error("Cannot write to --state-dir", "error", err.Error())
	}
}
