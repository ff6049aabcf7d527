package elb

import (
	"context"
	"slices"
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

	inquiry
	entries map[target.Ref]*entry
}

// entry is what is known of a group.
type entry struct {
	age
	group target.Group
	alone bool // to be asked for alone, since a batch with it failed
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
	d.look(ctx, &e.age, d.ask)
	return Answer{Known: e.known(), Group: e.group, Err: e.err, Next: e.due}
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

// Doubt makes the next Look ask again for a group that proved not to exist, since
// one of the same name may have taken its place. What was answered just now is
// not doubted.
func (d *Directory) Doubt(ref target.Ref) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.entries[ref]; e != nil {
		e.doubt()
	}
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
		if !e.wanted(now) || !alike || len(batch) == perQuery || e.alone && len(batch) > 0 {
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

func (d *Directory) describe(ctx context.Context, batch []target.Ref) (groups []target.Group, err error) {
	var query GroupQuery
	for _, ref := range batch {
		if ref.Name != "" {
			query.Names = append(query.Names, ref.Name)
		} else {
			query.ARNs = append(query.ARNs, ref.ARN)
		}
	}
	err = d.account.describe(ctx, func(ctx context.Context) (err error) {
		groups, err = d.account.Client.TargetGroups(ctx, query)
		return err
	})
	return groups, err
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
			e.group, e.alone = groups[i], false
			e.renew(now, jitter(d.fresh))
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
	e.fail(err, now, 1)
}
