// Package trial kills the controller again and again while everything else goes
// wrong too, and judges what became of it.
//
// A trial is a number of rounds. Each begins and ends in the same world; in between
// four lanes of acts run side by side, all drawn from the round's seed (see [Plan]):
// pods, Services and bindings come and go; AWS throttles, fails, hangs and loses
// replies; watches break, the API server and etcd are killed, and etcd is restored
// to an older snapshot; and the controller is killed, at a random moment or in the
// midst of a call to AWS.
//
// Two things are judged. While it lasts: no target of a pod that was ready all the
// time is deregistered. Afterwards: the groups hold exactly the ready pods, all
// healthy, the bindings say so, and nothing is written any more that no further
// change asked for. docs/trial.md tells how the judge knows and what it cannot see.
package trial
