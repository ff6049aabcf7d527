package plan

import "github.com/targetgroupcontroller/targetgroupcontroller/internal/target"

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
