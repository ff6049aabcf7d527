// Package losses measures how many requests are lost when pods leave. Real
// requests go through a simulated load balancer, whose nodes learn of
// registrations and deregistrations as late as those of AWS do, to pods that the
// real tgc registers, while something ends these pods.
//
// A [Case] is a [Strategy] that should protect the pods, in a [Scenario] that ends
// them, behind a [Profile] of load balancers. Each is data, in a list. A run takes
// a world of its own:
//
//	calm ─▶ load begins ─▶ scenario ─▶ calm ─▶ load ends ─▶ Report
//
// Calm means that the Deployment, the target group and every node of the load
// balancer agree. Then each lost request is looked up in the access log of the
// load balancer and has to be explained: by a pod that had been told to end, and
// a node that had not learned of it. A loss without that explanation is the lab's
// own and makes the run worthless.
//
// The load balancer's time runs faster than the clock, see [Profile.Speed];
// everything else is in real time.
package losses
