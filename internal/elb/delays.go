package elb

import (
	"context"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const describeAttributes = "DescribeTargetGroupAttributes"

// Delays knows the deregistration delays of the groups of one account and region.
// AWS tells them in a call for each group, so they are asked for with the least
// urgency and believed for long. Look never waits: what is not known is asked for
// in the background, and wake tells when the answer has come.
//
// Delays is safe for concurrent use.
type Delays struct {
	account *Account
	fresh   time.Duration
	wake    func(target.ARN)

	inquiry
	known map[target.ARN]*delay
}

// Delay is what is known of a group's deregistration delay.
type Delay struct {
	// Known is false while AWS never told.
	Known bool
	// Value is what AWS last told.
	Value time.Duration
	// Err is why the last asking failed; nil if it did not.
	Err *Error
}

type delay struct {
	age
	told  bool
	value time.Duration
}

// patience is how many times longer than other failed calls these wait to be
// repeated: there is a good guess to go by meanwhile.
const patience = 10

// NewDelays makes Delays that ask again for what is older than fresh, and call
// wake, which must not block, for each group whose answer has come.
func NewDelays(account *Account, fresh time.Duration, wake func(target.ARN)) *Delays {
	return &Delays{account: account, fresh: fresh, wake: wake, known: map[target.ARN]*delay{}}
}

// Look gives what is known, and when to look again.
func (d *Delays) Look(ctx context.Context, group target.ARN) (Delay, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	of := d.known[group]
	if of == nil {
		of = &delay{}
		d.known[group] = of
	}
	d.look(ctx, &of.age, d.ask)
	return Delay{Known: of.told, Value: of.value, Err: of.err}, of.due
}

// ask asks for one group after the other until none is due.
func (d *Delays) ask(ctx context.Context) {
	for d.account.Budget.Take(ctx, pace.Describe, pace.Sweep) == nil {
		group, due := d.next()
		if !due {
			d.account.Budget.Return(pace.Describe)
			return
		}
		attributes, err := d.describe(ctx, group)
		d.file(group, attributes, err)
	}
	d.mu.Lock()
	d.asking = false
	d.mu.Unlock()
}

// next is a group that is due and was looked at since. When there is none, asking
// ends.
func (d *Delays) next() (target.ARN, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for group, of := range d.known {
		if of.wanted(now) {
			return group, true
		}
	}
	d.asking = false
	return target.ARN{}, false
}

func (d *Delays) describe(ctx context.Context, group target.ARN) (attributes map[string]string, err error) {
	err = d.account.describe(ctx, func(ctx context.Context) (err error) {
		attributes, err = d.account.Client.GroupAttributes(ctx, group)
		return err
	})
	return attributes, err
}

// file keeps an answer. A failure leaves what was known before beside the error.
func (d *Delays) file(group target.ARN, attributes map[string]string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	of, now := d.known[group], time.Now()
	if err != nil {
		of.fail(asError(describeAttributes, err), now, patience)
	} else {
		of.value, of.told = target.DelayOf(attributes)
		of.renew(now, jitter(d.fresh))
	}
	d.wake(group)
}
