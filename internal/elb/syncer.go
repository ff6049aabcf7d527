package elb

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// CallTimeout bounds a single call, so that one that hangs is tried again.
const CallTimeout = 10 * time.Second

// Syncer keeps one target group in line with what is planned for it. Step looks
// at the world and starts the calls that are due; it never waits for one. The
// calls run in the background, one at a time for each Op, and Wake tells when
// one has come back.
//
// A call first takes its token and only then asks for the plan, so one that had
// to wait carries all that changed meanwhile.
//
// A Syncer is safe for concurrent use.
type Syncer struct {
	cfg SyncerConfig

	mu      sync.Mutex
	mirror  *mirror
	lanes   [ops]lane
	done    plan.Outcome // what was accepted since the last Step
	planned map[target.Key]time.Time
	polls   int // lists since something last changed
	ripens  ripening
	sweepIn time.Duration
	turn    time.Duration // what one of many leaves to the others for each of them
	flights sync.WaitGroup
}

// SyncerConfig is what a Syncer works with. All fields up to Sweep are needed.
type SyncerConfig struct {
	Account *Account
	Group   target.ARN
	// Ours are the targets known to be registered by us in an earlier life.
	Ours target.Set
	// Plan makes the plan from the freshest facts; false means that too little
	// is known to decide anything. It is called with a lock held, so it must be
	// quick and must not call the Syncer.
	Plan func(plan.Observation) (plan.Plan, bool)
	// Wake asks for a Step soon. It must not block.
	Wake func()
	// Sweep is how often an unchanged group is looked at for drift.
	Sweep time.Duration
	// Accepted is told how long it took from when a change was first planned
	// until AWS accepted it.
	Accepted func(op Op, after time.Duration)
	// OneOfMany: as many programs as the group has targets list it, each for a target
	// of its own, so each leaves the others their turns. Nobody asks it for counts.
	OneOfMany bool
	// Ripens is how long after their registration targets can be expected to turn
	// healthy, until it is learned; zero if nothing is known.
	Ripens time.Duration
}

// Round is what a Step found.
type Round struct {
	// Known is false while the group was not listed or too little is known to
	// plan; Plan is empty then.
	Known bool
	// Busy: a call that may change the group is under way, or its reply was lost, or it
	// was made in an earlier life and may not show yet.
	Busy bool
	Plan plan.Plan
	Have plan.Observation
	// Outcome is what was accepted since the last Step, and the failures that stand.
	Outcome plan.Outcome
	// Next is when to Step again if nothing wakes it earlier.
	Next time.Time
}

// NewSyncer makes a Syncer; nothing happens until its first Step.
func NewSyncer(cfg SyncerConfig) *Syncer {
	return &Syncer{
		cfg:     cfg,
		mirror:  newMirror(cfg.Ours),
		planned: map[target.Key]time.Time{},
		ripens:  ripening{after: cfg.Ripens},
		sweepIn: jitter(cfg.Sweep),
		turn:    jitter(turn),
	}
}

// Step starts the calls that are due. When ctx ends, calls that wait for a token
// are given up, and those under way are finished.
func (s *Syncer) Step(ctx context.Context) Round {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var round Round
	if s.mirror.known() {
		round.Have = s.mirror.observation()
		round.Plan, round.Known = s.cfg.Plan(round.Have)
	}
	if round.Known {
		s.mirror.settle(round.Plan)
		round.Have.Ours = s.mirror.ours
		s.forgetUnplanned(round.Plan)
		s.notePlanned(round.Plan, now)
		s.noteRipe(round)
	}
	if ctx.Err() == nil {
		round.Next = s.start(ctx, round, now)
	}
	round.Busy = s.lanes[Register].running || s.lanes[Deregister].running || len(s.mirror.uncertain) > 0 ||
		s.mirror.unseen(round.Plan).Len() > 0
	round.Outcome = s.done
	s.done = plan.Outcome{}
	for op := range s.lanes {
		if failure := s.lanes[op].failure; failure != nil {
			round.Outcome.Failures = append(round.Outcome.Failures, *failure)
		}
	}
	return round
}

// Idle tells whether no call is under way or waits for its turn.
func (s *Syncer) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.lanes[:], func(l lane) bool { return l.running })
}

// Wait returns when no call is under way. The context of all Steps has ended.
func (s *Syncer) Wait() {
	s.mu.Lock() // a Step that has not seen the end may be starting calls
	flights := &s.flights
	s.mu.Unlock()
	flights.Wait()
}

// start starts the lanes that are due, and tells when the next one will be.
func (s *Syncer) start(ctx context.Context, round Round, now time.Time) time.Time {
	next := round.Plan.Recheck
	if round.Known {
		next = s.startWrite(ctx, Register, round.Plan.Register, next)
		next = s.startWrite(ctx, Deregister, round.Plan.Deregister, next)
	}
	lane := &s.lanes[Observe]
	due := s.observeAt(round.Plan)
	switch {
	case now.Before(due.at):
		next = earlier(next, due.at)
	case lane.running:
		lane.hurry(due.priority)
	default:
		lane.waiting = due.priority
		s.launch(lane, func() { s.observe(ctx) })
	}
	return next
}

// startWrite starts a lane that changes the group if it is due; if not, it tells
// when it will be, or next if that is earlier.
func (s *Syncer) startWrite(ctx context.Context, op Op, changes []plan.Change, next time.Time) time.Time {
	lane, now := &s.lanes[op], time.Now()
	due := s.due(op, changes, now)
	switch {
	case lane.running:
		lane.hurry(urgency(due))
	case len(changes) == 0:
		lane.succeed()
	case len(due) == 0: // until they may be tried again, or the opposite call lands
		next = earlier(next, s.mirror.refusedUntil(op, changes))
	case now.Before(lane.retryAt):
		next = earlier(next, lane.retryAt)
	default:
		s.launch(lane, func() { s.write(ctx, op) })
	}
	return next
}

// due is what a call can carry of the changes planned: not what the opposite call
// is just carrying, and not what AWS refused a moment ago.
func (s *Syncer) due(op Op, changes []plan.Change, now time.Time) []plan.Change {
	opposite := s.lanes[1-op].flying
	return slices.DeleteFunc(slices.Clone(changes), func(c plan.Change) bool {
		return opposite.Has(c.Key) || now.Before(s.mirror.refused[op][c.Key].Until)
	})
}

func (s *Syncer) launch(l *lane, run func()) {
	l.running = true
	s.flights.Go(func() {
		run()
		s.mu.Lock()
		l.running = false
		s.mu.Unlock()
		s.cfg.Wake()
	})
}

// write makes calls of one op until nothing is left to do or one fails.
func (s *Syncer) write(ctx context.Context, op Op) {
	for {
		if err := s.token(ctx, op); err != nil {
			return
		}
		changes := s.pick(op)
		if len(changes) == 0 {
			s.cfg.Account.Budget.Return(op.class())
			return
		}
		err := s.call(ctx, op, changes)
		s.cfg.Account.settle(op.class(), err)
		if !s.landed(op, changes, err) {
			return
		}
		s.cfg.Wake()
	}
}

// token waits for a token with the urgency of the most urgent change, also when
// that change comes up during the wait.
func (s *Syncer) token(ctx context.Context, op Op) error {
	for {
		waiting, stop := context.WithCancelCause(ctx)
		priority, due := s.enter(op, stop)
		if !due {
			stop(nil)
			return errNothingDue
		}
		err := s.cfg.Account.Budget.Take(waiting, op.class(), priority)
		upgraded := errors.Is(context.Cause(waiting), errUpgraded)
		stop(nil)
		if err == nil || !upgraded {
			return err
		}
	}
}

// enter notes with what urgency the lane begins to wait; false if nothing is due
// any more.
func (s *Syncer) enter(op Op, upgrade context.CancelCauseFunc) (pace.Priority, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lane := &s.lanes[op]
	lane.upgrade = upgrade
	if op == Observe {
		return lane.waiting, true
	}
	due := s.due(op, s.changes(op), time.Now())
	lane.waiting = urgency(due)
	return lane.waiting, len(due) > 0
}

// changes is what the freshest plan asks of an op.
func (s *Syncer) changes(op Op) []plan.Change {
	p, known := s.cfg.Plan(s.mirror.observation())
	if !known {
		return nil
	}
	if op == Register {
		return p.Register
	}
	return p.Deregister
}

// pick makes the plan anew and takes from it what is due and fits into one call.
func (s *Syncer) pick(op Op) []plan.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.lanes[op].upgrade = nil
	changes := s.due(op, s.changes(op), now)
	if fits := s.mirror.perCall[op]; len(changes) > fits {
		slices.SortStableFunc(changes, func(a, b plan.Change) int { return cmp.Compare(urgencyOf(b), urgencyOf(a)) })
		changes = changes[:fits]
	}
	s.lanes[op].flying = plan.Keys(changes)
	s.notePlanned(plan.Plan{Register: changes}, now)
	return changes
}

func (s *Syncer) call(ctx context.Context, op Op, changes []plan.Change) error {
	// A call is finished even when the program stops: its outcome matters.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
	defer cancel()
	targets := make([]target.Target, len(changes))
	for i, change := range changes {
		targets[i] = change.Target
	}
	if op == Register {
		return s.cfg.Account.Client.RegisterTargets(ctx, s.cfg.Group, targets)
	}
	return s.cfg.Account.Client.DeregisterTargets(ctx, s.cfg.Group, targets)
}

// landed takes in what became of a call, and tells whether to go on with the next.
func (s *Syncer) landed(op Op, changes []plan.Change, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	lane := &s.lanes[op]
	lane.flying = target.Set{}
	if err != nil {
		return s.failed(op, changes, asError(op.String(), err), now)
	}
	lane.succeed()
	s.polls = 0
	if op == Register {
		s.mirror.registered(changes, now)
		s.done.Registered = append(s.done.Registered, changes...)
	} else {
		s.mirror.deregistered(changes, now)
		s.done.Deregistered = append(s.done.Deregistered, changes...)
	}
	s.noteAccepted(op, changes, now)
	return true
}

// failed takes in a failed call. It goes on where the next call will differ, or
// where the budget paces it.
func (s *Syncer) failed(op Op, changes []plan.Change, err *Error, now time.Time) bool {
	failure := plan.Failure{Op: op.String(), Changes: changes, Reason: err.Kind.Reason(), Message: err.Message}
	if err.Kind == GroupNotFound {
		s.lost(failure, now)
		return false
	}
	lane := &s.lanes[op]
	if op == Register && err.Kind.forTargets() {
		lane.refused(err.Kind, now)
	} else {
		lane.fail(failure, err.Kind, now)
	}
	s.mirror.failed(op, changes, err, now)
	return !lane.retryAt.After(now)
}

// lost takes in that the group does not exist. Whether it is there (again) is
// found out by listing it, so the failure is that lane's, whichever call met it.
func (s *Syncer) lost(failure plan.Failure, now time.Time) {
	s.mirror = newMirror(target.Set{})
	s.lanes[Register].succeed()
	s.lanes[Deregister].succeed()
	s.lanes[Observe].fail(failure, GroupNotFound, now)
}

// observe lists the group.
func (s *Syncer) observe(ctx context.Context) {
	if s.token(ctx, Observe) != nil {
		return
	}
	asked := time.Now() // calls that land from here on may be missing in the list
	list, err := s.cfg.Account.health(ctx, s.cfg.Group)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.unlisted(asError(Observe.String(), err), time.Now())
		return
	}
	s.lanes[Observe].succeed()
	s.polls++
	s.sweepIn, s.turn = jitter(s.cfg.Sweep), jitter(turn)
	s.mirror.depart(list, time.Now())
	s.mirror.observe(list, asked)
}

// unlisted takes in that the group could not be listed.
func (s *Syncer) unlisted(err *Error, now time.Time) {
	if err.Kind == GroupNotFound {
		s.lost(err.Failure(), now)
		return
	}
	s.lanes[Observe].fail(err.Failure(), err.Kind, now)
}

// notePlanned remembers when a change first turned up in a plan.
func (s *Syncer) notePlanned(p plan.Plan, now time.Time) {
	for _, change := range slices.Concat(p.Register, p.Announce, p.Deregister) {
		if _, known := s.planned[change.Key]; !known {
			s.planned[change.Key] = now
		}
	}
}

// forgetUnplanned drops the times of changes that came to nothing. A call under
// way may still come to something.
func (s *Syncer) forgetUnplanned(p plan.Plan) {
	still := plan.Keys(p.Register, p.Announce, p.Deregister)
	still = still.Union(s.lanes[Register].flying).Union(s.lanes[Deregister].flying)
	maps.DeleteFunc(s.planned, func(key target.Key, _ time.Time) bool { return !still.Has(key) })
}

func (s *Syncer) noteAccepted(op Op, changes []plan.Change, now time.Time) {
	for _, change := range changes {
		if s.cfg.Accepted != nil {
			s.cfg.Accepted(op, now.Sub(s.planned[change.Key]))
		}
		delete(s.planned, change.Key)
	}
}

// urgency is the priority of the most urgent change.
func urgency(changes []plan.Change) pace.Priority {
	most := pace.Register
	for _, change := range changes {
		most = max(most, urgencyOf(change))
	}
	return most
}

func urgencyOf(change plan.Change) pace.Priority {
	switch change.Reason {
	case target.PodTerminating, target.PodGone, target.PodFinished:
		return pace.Terminating
	case target.GatePending:
		return pace.Rollout
	}
	return pace.Register
}

func asError(op string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Op: op, Kind: KindOf(err), Message: err.Error(), Err: err}
}

// earlier is the earlier of two times, of which a zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// jitter spreads sweeps so that groups do not come due all at once.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}
