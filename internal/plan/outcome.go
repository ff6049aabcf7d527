package plan

import (
	"fmt"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Outcome is what came of carrying out a plan.
type Outcome struct {
	// Registered and Deregistered are the changes that AWS accepted.
	Registered   []Change
	Deregistered []Change
	// Failures are the calls that failed, in order.
	Failures []Failure
}

// Failure is a call that failed.
type Failure struct {
	// Op is the action, such as RegisterTargets.
	Op string
	// Changes are those the call carried; none for a call that reads.
	Changes []Change
	Reason  target.Reason
	// Message is AWS's or the network's words.
	Message string
}

// String says what failed, in AWS's words, and what the user can do about it.
func (f Failure) String() string {
	call := f.Op
	switch n := len(f.Changes); n {
	case 0:
	case 1:
		call += " of 1 target"
	default:
		call = fmt.Sprintf("%s of %d targets", f.Op, n)
	}
	message := call + " failed: " + f.Message
	if remedy := remedies[f.Reason]; remedy != "" {
		message += ": " + remedy
	}
	return message
}

// remedies say what the user can do about a call that failed.
var remedies = map[target.Reason]string{
	target.AccessDenied:        "allow the action on this target group in the IAM policy of that user or role",
	target.CredentialsInvalid:  "check the AWS credentials of the pod, its ServiceAccount's role and the clock",
	target.TargetGroupNotFound: "create the target group, or correct its ARN or name",
	target.Throttled:           "the account's API budget is spent; the call is repeated by itself",
	target.Unreachable:         "check the network, the region and the endpoint; the call is repeated by itself",
	target.AWSUnavailable:      "the call is repeated by itself",
}
