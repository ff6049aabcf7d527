package elb

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const describeTags = "DescribeTags"

// perCall is how long a Catalog rests for each call that its last reading took, so
// that reading takes a twentieth of what the account may describe, however many
// groups there are.
const perCall = 2 * time.Second

// Catalog knows the target groups of type ip of one account and region with their
// tags. AWS does not search by tag, and so all groups are listed, 400 a call, and
// their tags read, 20 a call. Look never waits: reading goes on in the background
// while somebody looks, and wake tells when it came to something.
//
// What is known is always that of a whole reading: one that failed half-way changes
// nothing. A Catalog is safe for concurrent use.
type Catalog struct {
	account *Account
	fresh   time.Duration
	wake    func()

	inquiry
	age
	latest   map[target.ARN]tagged // of the last whole reading
	previous map[target.ARN]tagged // of the one before
	readings int                   // whole ones
}

// tagged is a group with its tags.
type tagged struct {
	target.Group
	tags map[string]string
}

// has tells whether the group has all these tags.
func (g tagged) has(tags map[string]string) bool {
	for key, value := range tags {
		if own, has := g.tags[key]; !has || own != value {
			return false
		}
	}
	return true
}

// NewCatalog makes a Catalog that reads again what is older than fresh, and calls
// wake, which must not block, after each reading.
func NewCatalog(account *Account, fresh time.Duration, wake func()) *Catalog {
	return &Catalog{account: account, fresh: fresh, wake: wake}
}

// Tagged is what a Catalog knows of the groups with some tags.
type Tagged struct {
	// Known is false until a reading has once come to an end, be it a failure.
	Known bool
	// Groups are those with all the tags, ordered by ARN; nil while no reading came to
	// its good end. A group that was among them is missing only if two readings, one
	// after the other, found it without them.
	Groups []target.Group
	// Read tells how many readings came to their good end, 2 at most. Before the
	// second it cannot be said that a group has lost its tags.
	Read int
	// Err is why the last reading failed; nil if it did not.
	Err *Error
	// Next is when the answer will have aged.
	Next time.Time
}

// Look gives the groups that have all of these tags.
func (c *Catalog) Look(ctx context.Context, tags map[string]string) Tagged {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look(ctx, &c.age, c.read)
	answer := Tagged{Known: c.known(), Read: min(c.readings, 2), Err: c.err, Next: c.due}
	for arn, g := range c.latest {
		if before, known := c.previous[arn]; g.has(tags) || known && before.has(tags) {
			answer.Groups = append(answer.Groups, g.Group)
		}
	}
	for arn, g := range c.previous {
		if _, still := c.latest[arn]; !still && g.has(tags) {
			answer.Groups = append(answer.Groups, g.Group)
		}
	}
	slices.SortFunc(answer.Groups, func(a, b target.Group) int { return cmp.Compare(a.ARN.String(), b.ARN.String()) })
	return answer
}

// Group gives a group as it was last read, and false if there is none of that ARN.
func (c *Catalog) Group(arn target.ARN) (target.Group, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, known := c.latest[arn]
	return g.Group, known
}

// Doubt makes the next Look read again, since a group proved not to exist. What was
// read just now is not doubted.
func (c *Catalog) Doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubt()
}

// read makes one reading. The first is waited for by pods that want to be registered;
// those that look for changes come last.
func (c *Catalog) read(ctx context.Context) {
	r := reader{account: c.account, urgency: pace.Register, groups: map[target.ARN]tagged{}}
	c.mu.Lock()
	if c.readings > 1 {
		r.urgency = pace.Sweep
	}
	c.mu.Unlock()
	err := r.all(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking = false
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		c.fail(asError(describeTags, err), time.Now(), 1)
	default:
		c.previous, c.latest = c.latest, r.groups
		c.readings++
		c.renew(time.Now(), max(jitter(c.fresh), time.Duration(r.calls)*perCall))
	}
	c.wake()
}

// reader is one reading.
type reader struct {
	account *Account
	urgency pace.Priority
	groups  map[target.ARN]tagged
	calls   int
}

func (r *reader) all(ctx context.Context) error {
	var arns []target.ARN
	for marker, more := "", true; more; more = marker != "" {
		var page []target.Group
		err := r.call(ctx, func(ctx context.Context) (err error) {
			page, marker, err = r.account.Client.AllGroups(ctx, marker)
			return err
		})
		if err != nil {
			return err
		}
		for _, g := range page {
			if g.Type == target.TypeIP { // pods can be targets of no other
				r.groups[g.ARN] = tagged{Group: g}
				arns = append(arns, g.ARN)
			}
		}
	}
	for batch := range slices.Chunk(arns, MaxTagsPerCall) {
		if err := r.tags(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// tags reads the tags of some groups. AWS fails the whole call for one that is gone
// meanwhile, without saying which: it is found by halving.
func (r *reader) tags(ctx context.Context, arns []target.ARN) error {
	var tags map[target.ARN]map[string]string
	err := r.call(ctx, func(ctx context.Context) (err error) {
		tags, err = r.account.Client.GroupTags(ctx, arns)
		return err
	})
	switch half := len(arns) / 2; {
	case KindOf(err) == GroupNotFound && half == 0:
		delete(r.groups, arns[0])
		return nil
	case KindOf(err) == GroupNotFound:
		if err := r.tags(ctx, arns[:half]); err != nil {
			return err
		}
		return r.tags(ctx, arns[half:])
	case err != nil:
		return err
	}
	for _, arn := range arns {
		g := r.groups[arn]
		g.tags = tags[arn]
		r.groups[arn] = g
	}
	return nil
}

// attempts is how often a call is made that is throttled, before its reading fails: to
// begin anew costs more.
const attempts = 5

// call makes one call within the budget, again when it was throttled.
func (r *reader) call(ctx context.Context, call func(context.Context) error) error {
	for n := 1; ; n++ {
		if err := r.account.Budget.Take(ctx, pace.Describe, r.urgency); err != nil {
			return err
		}
		r.calls++
		err := r.account.describe(ctx, call)
		if KindOf(err) != Throttled || n == attempts {
			return err
		}
	}
}
