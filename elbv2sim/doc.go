// Package elbv2sim starts a simulator of AWS's ELBv2 API in a test, as
// net/http/httptest starts a web server. It simulates target groups of type ip,
// their targets with health checks and draining, load balancers, listeners, quotas
// and throttling, and speaks AWS's own protocol: the program under test uses any
// AWS SDK, in any language, and does not know the difference.
//
//	sim := elbv2sim.Start(t, elbv2sim.Options{
//		Seed: elbv2sim.Seed{Groups: []elbv2sim.Group{{Name: "web", LoadBalancer: "front"}}},
//	})
//	// Point the program at sim.URL, then for instance let the next registration
//	// be applied and its reply be lost:
//	_, err := sim.AddFault(ctx, elbv2sim.Fault{Action: "RegisterTargets", Kind: elbv2sim.Lose, Count: 1})
//
// A [Server] runs in this process. What can be done with a simulator is done
// through its admin API, by the methods of [Admin]; [Connect] gives the same to a
// simulator that runs elsewhere (the command tgc sim).
//
// What is simulated, how, and how that is known is told in docs/simulator.md of the
// module. The package does not depend on the AWS SDK.
package elbv2sim
