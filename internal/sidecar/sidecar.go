package sidecar

import (
	"context"
	"errors"
	"log/slog"
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
