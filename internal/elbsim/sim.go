package elbsim

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/iam"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// Options is what a Sim is made from. The zero value is ready to use.
type Options struct {
	// Settings is how the simulator behaves at first and after a reset; the zero
	// value stands for DefaultSettings.
	Settings *Settings
	// Seed is what exists at first and after a reset.
	Seed Seed
	// Check makes the health checks while Run runs; nil makes none, so that
	// targets stay initial until Override.
	Check CheckFunc
	// LogLimit is how many calls the log keeps; zero is DefaultLogLimit.
	LogLimit int
	// Speed is how many times faster than the machine's the simulator's time runs,
	// all delays, intervals and throttling included; zero is 1. Programs that are
	// checked or sent to get at least a second to answer all the same. Latencies
	// of calls and scripted faults are in real time.
	Speed float64
	// DataPlane makes load balancers carry traffic while Run runs; nil: they do not.
	DataPlane *dataplane.Options
}

// DefaultLogLimit is how many calls the log keeps unless told otherwise.
const DefaultLogLimit = 200_000

// CheckFunc makes one health check and says what came of it. It returns soon
// after check.Settings.Timeout at the latest, and at once when ctx ends.
type CheckFunc func(ctx context.Context, check model.Check) model.CheckResult

// AlwaysPass is a CheckFunc by which every target is healthy.
func AlwaysPass(_ context.Context, check model.Check) model.CheckResult {
	return model.CheckResult{ID: check.ID}
}

// scope is what AWS keeps apart: an account in a region.
type scope struct{ account, region string }

// Sim is a running simulator. Its methods are safe for concurrent use.
type Sim struct {
	options Options
	log     *callLog
	faults  faultBook
	clock   clock.Clock
	wake    chan struct{} // tells Run that something may be due sooner
	traffic *traffic      // nil without a data plane

	mu       sync.Mutex // guards what follows; never held across I/O or a wait
	settings Settings
	policy   *iam.Policy // that of settings; nil if there is none
	worlds   map[scope]*model.World
	change   uint64        // counts what may have changed the models
	changed  chan struct{} // closed at the next
}

// New makes a simulator with its seed in place. The error names what is wrong
// with the settings or the seed.
func New(options Options) (*Sim, error) {
	s := &Sim{
		options: options,
		log:     newCallLog(cmp.Or(options.LogLimit, DefaultLogLimit)),
		clock:   clock.New(options.Speed),
		wake:    make(chan struct{}, 1),
		changed: make(chan struct{}),
	}
	if options.DataPlane != nil {
		s.traffic = newTraffic(*options.DataPlane, s.clock)
	}
	return s, s.Reset()
}

// Reset puts everything back to how it was made: settings, seed, no faults, an
// empty log, full buckets.
func (s *Sim) Reset() error {
	settings := s.initial()
	policy, err := settings.valid()
	if err != nil {
		return err
	}
	s.faults.clear()
	s.log.clear()
	s.mu.Lock()
	s.settings, s.policy, s.worlds = settings, policy, map[scope]*model.World{}
	s.traffic.startAnew()
	s.nudge()
	s.mu.Unlock()
	return s.Plant(s.options.Seed)
}

// initial is how the simulator behaves at first.
func (s *Sim) initial() Settings {
	settings := DefaultSettings()
	if s.options.Settings != nil {
		settings = *s.options.Settings
	}
	settings.VPCs = maps.Clone(settings.VPCs)
	maps.Copy(settings.VPCs, s.options.Seed.VPCs)
	return settings
}

// Settings is how the simulator behaves now.
func (s *Sim) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings
}

// Configure changes how the simulator behaves from now on. The maps and slices of
// settings become the simulator's. The error names a setting that makes no sense.
func (s *Sim) Configure(settings Settings) error {
	policy, err := settings.valid()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follow(settings, policy)
	return nil
}

// amend changes some of the settings and leaves the others as they are.
func (s *Sim) amend(change func(*Settings)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	settings := s.settings
	change(&settings)
	policy, err := settings.valid()
	if err != nil {
		return err
	}
	s.follow(settings, policy)
	return nil
}

// follow puts valid settings in force, with the policy in them. s.mu is held.
func (s *Sim) follow(settings Settings, policy *iam.Policy) {
	s.settings, s.policy = settings, policy
	now := s.clock.Now()
	for at, world := range s.worlds {
		world.Reconfigure(now, settings.config(at))
	}
	s.nudge()
}

// AddFault puts a script in force and gives it back with its ID.
func (s *Sim) AddFault(f Fault) (Fault, error) { return s.faults.add(f) }

// Faults lists the scripts in force with their counts.
func (s *Sim) Faults() []Fault { return s.faults.list() }

// RemoveFault ends a script, and tells whether there was one with that ID.
func (s *Sim) RemoveFault(id int) bool { return s.faults.remove(id) }

// ClearFaults ends all scripts. Calls that hang go on hanging.
func (s *Sim) ClearFaults() { s.faults.clear() }

// Now is the simulator's time, which may run faster than the machine's.
func (s *Sim) Now() time.Time { return s.clock.Now() }

// Calls lists the calls in the log, oldest first, those in flight included.
func (s *Sim) Calls() []Call {
	calls, _, _ := s.log.after(0)
	return calls
}

// ClearCalls empties the log. Numbers go on.
func (s *Sim) ClearCalls() { s.log.clear() }

// With lets use work on the model of one account and region, made if need be,
// at the present moment. It bypasses faults, throttling and the log. The World
// must not be kept: while use runs the simulator waits.
func (s *Sim) With(account, region string, use func(world *model.World, now time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.nudge()
	return use(s.world(scope{account: account, region: region}), s.clock.Now())
}

// world finds or makes the model of one scope. s.mu is held.
func (s *Sim) world(at scope) *model.World {
	world, exists := s.worlds[at]
	if !exists {
		world = model.New(s.settings.config(at))
		if s.traffic != nil {
			world.KeepChanges()
		}
		s.worlds[at] = world
	}
	return world
}

// scopes lists the accounts and regions in use, in order. s.mu is held.
func (s *Sim) scopes() []scope {
	return slices.SortedFunc(maps.Keys(s.worlds), func(a, b scope) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.region, b.region))
	})
}

// nudge wakes Run and the data plane, which may have something to do sooner than
// they know, and who waits for a change. s.mu is held.
func (s *Sim) nudge() {
	s.tellChange()
	s.traffic.nudge()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// tellChange wakes who waits in awaitChange. s.mu is held.
func (s *Sim) tellChange() {
	s.change++
	close(s.changed)
	s.changed = make(chan struct{})
}

// awaitChange waits until something may have changed the models since change
// number mark, or until ctx ends. While Run runs, what changes with time counts.
func (s *Sim) awaitChange(ctx context.Context, mark uint64) {
	for {
		s.mu.Lock()
		latest, changed := s.change, s.changed
		s.mu.Unlock()
		if latest > mark {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// maxChecks bounds the health checks under way at once.
const maxChecks = 512

// Run makes health checks and carries traffic until ctx ends and all that is
// under way has ended too. It runs once.
func (s *Sim) Run(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	if s.traffic != nil {
		under.Go(func() { s.carryTraffic(ctx) })
	}
	slots := make(chan struct{}, maxChecks)
	for ctx.Err() == nil {
		due, next := s.due()
		for _, check := range due {
			under.Go(func() { s.makeCheck(ctx, slots, check) })
		}
		s.sleepUntil(ctx, next)
	}
}

// makeCheck makes one health check once there is a slot for it.
func (s *Sim) makeCheck(ctx context.Context, slots chan struct{}, check model.Check) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	check.Settings.Timeout = s.clock.Timeout(check.Settings.Timeout)
	result := s.options.Check(ctx, check)
	<-slots
	if ctx.Err() == nil {
		s.checked(result)
	}
}

// due collects the checks to make now, and the moment to look again.
func (s *Sim) due() (due []model.Check, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellChange() // time may have done it
	s.traffic.nudge()
	now := s.clock.Now()
	for _, world := range s.worlds {
		due = append(due, world.ChecksDue(now)...)
		if at := world.Next(now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if s.options.Check == nil {
		due = nil
	}
	return due, next
}

// checked hands a result to the model it belongs to.
func (s *Sim) checked(result model.CheckResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	for _, world := range s.worlds {
		world.Checked(now, result)
	}
	s.nudge()
}

func (s *Sim) sleepUntil(ctx context.Context, next time.Time) {
	wait := time.Hour
	if !next.IsZero() {
		wait = s.clock.Until(next)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.wake:
	case <-ctx.Done():
	}
}

// exponential draws a number with mean 1.
func exponential() float64 { return rand.ExpFloat64() }
