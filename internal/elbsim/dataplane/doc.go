// Package dataplane is the part of a simulated load balancer that carries
// traffic: its listeners accept connections on this machine and forward to the
// targets.
//
// A load balancer is made of nodes. Each has an address of its own and learns of
// registrations, deregistrations and health with delays of its own (package
// routing), so for a while nodes disagree with one another and with the API.
//
//	Update(State) ──▶ tables of each node ──▶ which target?  ──▶ pool or dial ──▶ target
//	    the model        package routing       node.pick          upstream
//
// An Application Load Balancer is an HTTP proxy that pools connections to
// targets and never sends a request twice. A Network Load Balancer splices TCP.
// docs/simulator.md tells the rules and where they come from.
package dataplane
