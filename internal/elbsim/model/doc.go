// Package model is ELBv2 of one account and region as a state machine: target
// groups of type ip, their targets, the load balancers and listeners that use
// them, quotas and the throttling buckets.
//
// The package is pure. Every method takes the present moment and nothing here
// reads a clock, sleeps, logs or does I/O; equal inputs give equal outputs. The
// caller serialises access to a World.
//
// # Inputs and outputs
//
// Requests are methods that answer with plain values or an *Error in AWS's own
// terms. Time is an input too: each method first carries out what fell due up to
// now, stamped with the moment it fell due, so it makes no difference how often
// or how late a World is asked.
//
// Health checks are made by somebody else. ChecksDue hands out the checks whose
// time has come, Checked takes a result back. A result that arrives after its
// target was deregistered, or registered anew, is ignored. Next tells when the
// World has something to do again:
//
//	for {
//		for _, check := range world.ChecksDue(now) {
//			go func() { results <- perform(check) }()
//		}
//		wait for world.Next(now), a request, or a result -> world.Checked(now, result)
//	}
//
// # The states of a target
//
//	                 group comes into use
//	  ┌────────────┐ ───────────────────▶ ┌──────────────────────────────┐
//	  │   unused   │                      │           initial            │
//	  │  NotInUse  │ ◀─────────────────── │    RegistrationInProgress    │
//	  └────────────┘  goes out of use     └──────────────┬───────────────┘
//	   ▲      │       (from any state                    │ registration time
//	   │      │        but draining)                     ▼
//	register, │                           ┌──────────────────────────────┐
//	not in    │                           │           initial            │
//	use       │                           │     InitialHealthChecking    │
//	          │                           └──────┬───────────────┬───────┘
//	          │             ALB: 1 passed check  │               │ unhealthy
//	          │       NLB: healthy threshold     │               │ threshold
//	          │                                  ▼               ▼
//	          │                            ┌───────────┐ ───▶ ┌─────────────┐
//	          │                            │  healthy  │      │  unhealthy  │
//	          │                            └───────────┘ ◀─── └─────────────┘
//	          │                                  healthy threshold
//	          │ deregister                       │ deregister (from any of these)
//	          ▼                                  ▼
//	        gone  ◀──────────────────────  ┌───────────┐
//	               deregistration delay    │ draining  │ ──▶ initial: registered
//	                                       └───────────┘     anew, if allowed
//
// Which of these rules AWS documents, which were seen in the field and which are
// not confirmed is told in docs/simulator.md.
package model
