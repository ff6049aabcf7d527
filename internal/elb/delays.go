package elb

import (
	"context"
	"sync"
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

	mu      sync.Mutex
	known   map[target.ARN]*delay
	asking  bool
	flights sync.WaitGroup
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
	Delay
	failures int
	due      time.Time // when to ask again
	looked   time.Time // when somebody last wanted to know
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
	of.looked = time.Now()
	if !d.asking && ctx.Err() == nil && !of.looked.Before(of.due) {
		d.asking = true
		d.flights.Go(func() { d.ask(ctx) })
	}
	return of.Delay, of.due
}

// Wait returns when no call is under way. The context of all Looks has ended.
func (d *Delays) Wait() {
	d.mu.Lock() // a Look that has not seen the end may be starting a call
	flights := &d.flights
	d.mu.Unlock()
	flights.Wait()
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
		d.account.settle(pace.Describe, err)
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
		if !now.Before(of.due) && !of.looked.Before(of.due) {
			return group, true
		}
	}
	d.asking = false
	return target.ARN{}, false
}

func (d *Delays) describe(ctx context.Context, group target.ARN) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
	defer cancel()
	return d.account.Client.GroupAttributes(ctx, group)
}

// file keeps an answer. A failure leaves what was known before beside the error.
func (d *Delays) file(group target.ARN, attributes map[string]string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	of, now := d.known[group], time.Now()
	if err != nil {
		of.failures++
		of.Err = asError(describeAttributes, err)
		of.due = now.Add(patience * max(time.Second, pause(of.Err.Kind, of.failures)))
	} else {
		value, told := target.DelayOf(attributes)
		*of = delay{Delay: Delay{Known: told, Value: value}, looked: of.looked, due: now.Add(jitter(d.fresh))}
	}
	d.wake(group)
}
