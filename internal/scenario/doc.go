// Package scenario is a test language: readable files that say what happens to a
// cluster and to AWS, and what the controller does about it.
//
// The real flow runs underneath, in one process and on a virtual clock: facts,
// plan, an elb.Syncer, and the simulator of ELBv2. Nothing is mocked. A file is a
// list of blocks: commands, a line of four hyphens, and what came of them up to the
// next empty line. Lines that begin with # are comments.
//
//	pod web-1 10.0.0.1 ready
//	----
//	3.1s RegisterTargets 10.0.0.1:80
//	3.1s event Normal Registered: Registered 1 target: 10.0.0.1:80 (PodReady)
//
// A command that changes the cluster takes a second, in which the controller can
// act; those about AWS and those that only look take no time.
//
// Output tells every call that changes the group when it is answered, with the
// time since the beginning of the file, every event, and every readiness gate that is
// answered, which the kubelet heeds at once. Calls that only read are
// not told. The test compares it; go test ./internal/scenario -update rewrites
// it. What a file is about should besides be said with expect, which fails
// whatever the file says.
//
// The cluster:
//
//	service NAME [port=NAME:NUMBER]...      create a Service, or change its ports
//	delete service NAME                     delete it, and see it go
//	binding NAME [service=NAME] [port=NAME] [takeover=Confirmed] [nodes=Deregister]
//	binding NAME pods=NAME [port=NAME] [at=Running]   choose the pods by itself that are said to be of that service
//	delete binding NAME
//	pod NAME ADDRESS [service=NAME] [port=NUMBER] [sleep=DURATION] [gate=BINDING]... [running] [ready]
//	run NAME...                             the containers of pods that did not run are started
//	finish NAME...                          they end for good
//	ready NAME...                           the containers pass their probes
//	unready NAME...                         they fail them
//	break NAME...                           they answer the kubelet, but not the load balancer
//	mend NAME...                            they answer it again
//	silent NAME...                          the control plane loses sight of the node
//	terminate NAME...                       the pod is deleted and shuts down
//	gone NAME...                            the pod and its endpoint have disappeared
//	mute NAME..., unmute NAME...            the controller cannot write to the pods; it can again
//	blind, seeing                           no facts can be read; they can again
//
// AWS:
//
//	group [delay=DURATION] [targets=ADDRESS:PORT,...] [unused]     comes first
//	aws quota=N, reregister=refuse|revive, lag=DURATION, registration=DURATION, inside=CIDR
//	aws fail ACTION CODE [count=N]          answer with an error
//	aws lose-reply ACTION [count=N]         apply the call, and tell nobody
//	aws drop ACTION [count=N]               neither apply the call nor answer
//	aws hang ACTION DURATION                answer late
//	aws well                                end all of that
//	aws add ADDRESS:PORT, aws remove ADDRESS:PORT    somebody else changes the group
//	aws vanish                              the group is deleted
//
// The program, and what to look at:
//
//	restart [journal]                       a new process, with or without what the status remembers
//	advance DURATION [untimed]              time passes; untimed leaves out when
//	targets                                 what the load balancer lists
//	plan                                    what is left to do, and what a guard holds
//	status                                  what people see of each binding
//	expect in|out ADDRESS...                these are registered, or are not
//	expect open|closed NAME...              so are all readiness gates of these pods
//	expect synced                           nothing is left to do, and nothing is in doubt
package scenario
