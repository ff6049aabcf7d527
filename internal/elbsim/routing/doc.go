// Package routing is what one node of a load balancer knows about the targets of
// a group, and which of them it would send to.
//
// The package is pure: what a node knows at a moment follows from the changes
// that happened and from the node's delays, which are drawn by a seed. It makes
// no difference how often or when a Table is asked, nor when it was told of a
// change, as long as that was before the change could have been learned.
//
// A later change that is learned earlier than one before it supersedes it: a node
// that hears of a registration first does not act on the older deregistration
// when that comes in at last.
package routing
