package elb

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// perQuery is how many groups one DescribeTargetGroups call may name.
const perQuery = 20

const describeGroups = "DescribeTargetGroups"

// Directory knows the target groups of one account and region. Look never
// waits: what is not known yet is asked for in the background, many groups in
// one call, and Wake tells when the answer has come.
//
// A Directory is safe for concurrent use.
type Directory struct {
	account *Account
	fresh   time.Duration
	wake    func(target.Ref)

	mu      sync.Mutex
	entries map[target.Ref]*entry
	asking  bool
	flights sync.WaitGroup
}

// entry is what is known of a group, or the error that asking for it gave.
type entry struct {
	group    target.Group
	err      *Error
	failures int
	asked    bool // an answer has come
	alone    bool // to be asked for alone, since a batch with it failed
	answered time.Time
	due      time.Time // when to ask again
	looked   time.Time // when somebody last wanted to know
}

// NewDirectory makes a Directory that asks again for what is older than fresh,
// and calls wake, which must not block, for each group whose answer has come.
func NewDirectory(account *Account, fresh time.Duration, wake func(target.Ref)) *Directory {
	return &Directory{account: account, fresh: fresh, wake: wake, entries: map[target.Ref]*entry{}}
}

// Look gives what is known of a group. While nothing is, and when the answer has
// aged, the group is asked for in the background.
func (d *Directory) Look(ctx context.Context, ref target.Ref) Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entries[ref]
	if e == nil {
		e = &entry{}
		d.entries[ref] = e
	}
	e.looked = time.Now()
	if !d.asking && ctx.Err() == nil && !e.looked.Before(e.due) {
		d.asking = true
		d.flights.Go(func() { d.ask(ctx) })
	}
	return Answer{Known: e.asked, Group: e.group, Err: e.err, Next: e.due}
}

// Answer is what a Directory knows of a group.
type Answer struct {
	// Known is false until asking has once come to something.
	Known bool
	// Group is what was last heard; zero if the group does not exist.
	Group target.Group
	// Err is why the last asking failed; nil if it did not.
	Err *Error
	// Next is when the answer will have aged.
	Next time.Time
}

// doubtAfter is how old an answer must be to be doubted.
const doubtAfter = 10 * time.Second

// Doubt makes the next Look ask again for a group that proved not to exist, since
// one of the same name may have taken its place. What was answered just now is
// not doubted.
func (d *Directory) Doubt(ref target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.entries[ref]; e != nil && e.err == nil && time.Since(e.answered) > doubtAfter {
		e.due = time.Time{}
	}
}

// Wait returns when no call is under way. The context of all Looks has ended.
func (d *Directory) Wait() {
	d.mu.Lock() // a Look that has not seen the end may be starting a call
	flights := &d.flights
	d.mu.Unlock()
	flights.Wait()
}

// ask describes groups, as many in a call as fit, until none is due.
func (d *Directory) ask(ctx context.Context) {
	for d.account.Budget.Take(ctx, pace.Describe, pace.Register) == nil {
		batch := d.batch()
		if len(batch) == 0 {
			d.account.Budget.Return(pace.Describe)
			return
		}
		groups, err := d.describe(ctx, batch)
		d.account.settle(pace.Describe, err)
		d.file(batch, groups, err)
	}
	d.mu.Lock()
	d.asking = false
	d.mu.Unlock()
}

// batch picks groups that are due and looked at since, either by ARN or by name.
// When there is none, asking ends.
func (d *Directory) batch() []target.Ref {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	var batch []target.Ref
	for ref, e := range d.entries {
		alike := len(batch) == 0 || (batch[0].Name == "") == (ref.Name == "")
		if now.Before(e.due) || e.looked.Before(e.due) || !alike || len(batch) == perQuery || e.alone && len(batch) > 0 {
			continue
		}
		batch = append(batch, ref)
		if e.alone {
			break
		}
	}
	d.asking = len(batch) > 0
	return batch
}

func (d *Directory) describe(ctx context.Context, batch []target.Ref) ([]target.Group, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
	defer cancel()
	var query GroupQuery
	for _, ref := range batch {
		if ref.Name != "" {
			query.Names = append(query.Names, ref.Name)
		} else {
			query.ARNs = append(query.ARNs, ref.ARN)
		}
	}
	return d.account.Client.TargetGroups(ctx, query)
}

// file keeps the answer to a batch. AWS fails a whole batch for one group that
// does not exist, without saying which; those of such a batch are asked for one
// by one.
func (d *Directory) file(batch []target.Ref, groups []target.Group, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for _, ref := range batch {
		e := d.entries[ref]
		i := slices.IndexFunc(groups, ref.Names)
		switch {
		case err == nil && i >= 0:
			*e = entry{group: groups[i], asked: true, looked: e.looked, answered: now, due: now.Add(jitter(d.fresh))}
		case err == nil:
			e.failed(&Error{Op: describeGroups, Kind: GroupNotFound, Message: "AWS did not list the group"}, now)
		case len(batch) > 1 && KindOf(err) == GroupNotFound:
			e.alone = true
			continue
		default:
			e.failed(asError(describeGroups, err), now)
		}
		d.wake(ref)
	}
}

// failed keeps the error beside what was known before; a group that does not
// exist any more is known no longer.
func (e *entry) failed(err *Error, now time.Time) {
	if err.Kind == GroupNotFound {
		e.group = target.Group{}
	}
	e.failures++
	e.err, e.asked = err, true
	e.due = now.Add(max(time.Second, pause(err.Kind, e.failures)))
}
