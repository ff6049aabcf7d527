// Package elb is the project's view of ELBv2: the few calls it makes, what can
// go wrong with them, and how a plan is carried out.
//
// The package holds no AWS types. Client is implemented by awselb (the AWS SDK)
// and by elbsim (the simulator); pace wraps either in the account's call budget.
// Every implementation passes the suite in elbtest.
package elb

import (
	"context"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Client makes single ELBv2 calls in one account and region.
//
// Every method is one request on the wire and is not retried: whoever calls decides whether and when to try again, so that each
// attempt is seen and paid for. Methods are safe for concurrent use, end
// promptly when ctx does, and return errors whose kind KindOf tells.
type Client interface {
	// RegisterTargets adds targets to a group. Registering a target that is
	// registered already changes nothing and succeeds. When the reply is lost
	// the targets may be registered all the same.
	RegisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error

	// DeregisterTargets takes targets out of a group. Deregistering a target
	// that is not registered changes nothing and succeeds.
	DeregisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error

	// TargetHealth lists every target of a group, those that drain included, in
	// one unpaginated call. The order is unspecified. The list may lag behind
	// the caller's own writes.
	TargetHealth(ctx context.Context, group target.ARN) ([]target.Observed, error)

	// TargetGroups describes the groups that query names. One that does not
	// exist makes the whole call fail with kind GroupNotFound.
	TargetGroups(ctx context.Context, query GroupQuery) ([]target.Group, error)

	// AllGroups lists the groups of the account and region, of all types, a page
	// at a call. The first page has the marker "", and each names the marker of the
	// next; the last names "". A group that comes or goes meanwhile may be missing.
	AllGroups(ctx context.Context, marker string) (groups []target.Group, next string, err error)

	// GroupTags tells the tags of the groups, MaxTagsPerCall at most. One group that
	// does not exist makes the whole call fail with kind GroupNotFound. Without
	// groups there is no call.
	GroupTags(ctx context.Context, groups []target.ARN) (map[target.ARN]map[string]string, error)

	// GroupAttributes tells the attributes of one group under AWS's own keys,
	// such as target.DelayAttribute.
	GroupAttributes(ctx context.Context, group target.ARN) (map[string]string, error)
}

// GroupQuery names groups by ARN or by name, not both. At most 20 of either. An
// empty query names no group, and is answered with none without a call.
type GroupQuery struct {
	ARNs  []target.ARN
	Names []string
}

// MaxTagsPerCall bounds the groups whose tags one call may ask for.
const MaxTagsPerCall = 20

// MaxTargetsPerCall bounds the targets of one register or deregister call.
// AWS documents no limit but now and then refuses large calls.
const MaxTargetsPerCall = 200
