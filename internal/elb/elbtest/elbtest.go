// Package elbtest is the conformance suite that every elb.Client passes: the
// in-process simulator, the AWS client against the simulator's AWS-protocol
// server, and real AWS.
//
//	func TestConformance(t *testing.T) {
//		elbtest.Run(t, func(t *testing.T) elbtest.Harness {
//			return elbtest.Simulated(elbtest.Simulator(t))
//		})
//	}
//
// A Harness says what the suite may do. What it leaves out, such as scripted
// trouble on real AWS, is skipped and said so.
package elbtest

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Harness is a client under test, and the means to bring about what it should see.
type Harness struct {
	// Client is what is tested. Its account's call budget suffices for a test.
	Client elb.Client
	// NewGroup makes an empty group of type ip for one test.
	NewGroup func(t *testing.T, g Group) target.ARN
	// Inside gives addresses inside the groups' VPC, each the same at every call.
	Inside func(family target.Family, n int) netip.Addr
	// Outside is a private address outside the VPC.
	Outside netip.Addr

	// The rest may be nil or zero where it cannot be had.

	// SetHealth makes the load balancer find a registered target healthy or unhealthy.
	SetHealth func(t *testing.T, group target.ARN, key target.Key, state target.State)
	// DropGroup deletes a group, be it in use.
	DropGroup func(t *testing.T, group target.ARN)
	// Cause makes the next call of that action run into trouble.
	Cause func(t *testing.T, action string, trouble Trouble)
	// TargetsPerGroup is the quota, if it is small enough to be reached.
	TargetsPerGroup int
	// Patience is how long something may take to be seen; zero is a minute.
	Patience time.Duration
}

// Group is a group to be made.
type Group struct {
	Protocol string        // HTTP if empty
	Family   target.Family // ipv4 if empty
	Port     uint16        // 80 if zero
	InUse    bool          // by a listener of a load balancer
	// Drain is the deregistration delay.
	Drain time.Duration
	Tags  map[string]string
}

// Trouble is what a call can run into.
type Trouble string

// The kinds of trouble.
const (
	Throttle           Trouble = "throttled"
	Deny               Trouble = "access denied"
	ExpireCredentials  Trouble = "credentials expired"
	UnknownCredentials Trouble = "credentials unknown"
	FailServer         Trouble = "server fails"
	DropConnection     Trouble = "connection dropped before the call is applied"
	LoseReply          Trouble = "reply lost after the call was applied"
	Hang               Trouble = "no answer"
)

// Run runs the suite. newHarness is called anew for each test.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, test := range suite() {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, suiteHarness{newHarness(t)})
		})
	}
}

// conformance is one test of the suite.
type conformance struct {
	name string
	run  func(*testing.T, suiteHarness)
}

func suite() []conformance {
	return []conformance{
		{"registered targets are listed", registeredAreListed},
		{"registering again changes nothing", registerAgain},
		{"one address may serve several ports", severalPorts},
		{"a deregistered target drains, the others stay", deregisterDrains},
		{"without a delay a deregistered target goes", deregisterGoes},
		{"deregistering what is not registered succeeds", deregisterUnknown},
		{"a full call is taken", fullCall},
		{"calls may run at the same time", concurrentCalls},
		{"targets of a group in use begin as initial", inUseBegins},
		{"targets of a group not in use stay unused", notInUse},
		{"health is told with its reason", healthIsTold},
		{"IPv6 targets", ipv6Targets},
		{"the other family is refused", otherFamily},
		{"addresses that are never targets are refused", neverTargets},
		{"outside the VPC a zone is required", zoneRequired},
		{"the quota is told", quotaIsTold},
		{"groups are described by ARN and by name", groupsDescribed},
		{"one group that is missing fails the query", groupMissing},
		{"the deregistration delay is among the attributes", delayIsTold},
		{"an empty query names no group", emptyQuery},
		{"more groups than a query may name are refused", tooManyNamed},
		{"all groups are listed", allGroupsListed},
		{"groups have tags", groupsHaveTags},
		{"one group that is missing fails the call for tags", tagsOfMissing},
		{"tags of more groups than a call may name are refused", tagsOfTooMany},
		{"calls on a missing group say so", callsOnMissingGroup},
		{"a group can vanish", groupVanishes},
		{"trouble is told by its kind", troubleHasKind},
		{"a lost reply may hide a success", lostReply},
		{"a dropped call has no effect", droppedCall},
		{"a call ends with its context", endsWithContext},
		{"no call is made once the context has ended", contextEnded},
	}
}

// suiteHarness is a Harness with what the tests share.
type suiteHarness struct{ Harness }

func (h suiteHarness) target(n int) target.Target {
	return target.Target{Key: target.Key{Addr: h.Inside(target.IPv4, n), Port: 8080}}
}

func (h suiteHarness) targets(n int) []target.Target {
	all := make([]target.Target, 0, n)
	for i := range n {
		all = append(all, h.target(i))
	}
	return all
}

func (h suiteHarness) register(t *testing.T, group target.ARN, targets ...target.Target) {
	t.Helper()
	if err := h.Client.RegisterTargets(t.Context(), group, targets); err != nil {
		t.Fatal(err)
	}
}

func (h suiteHarness) deregister(t *testing.T, group target.ARN, targets ...target.Target) {
	t.Helper()
	if err := h.Client.DeregisterTargets(t.Context(), group, targets); err != nil {
		t.Fatal(err)
	}
}

// observed lists the targets of a group by key.
func (h suiteHarness) observed(t *testing.T, group target.ARN) map[target.Key]target.Observed {
	t.Helper()
	list, err := h.Client.TargetHealth(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	byKey := make(map[target.Key]target.Observed, len(list))
	for _, o := range list {
		byKey[o.Key] = o
	}
	if len(byKey) != len(list) {
		t.Errorf("a target is listed twice: %v", list)
	}
	return byKey
}

// eventually waits until the list of a group is as it should be; wrong says what
// is still wrong with it, or nothing.
func (h suiteHarness) eventually(t *testing.T, group target.ARN, wrong func(map[target.Key]target.Observed) string) {
	t.Helper()
	patience := h.Patience
	if patience == 0 {
		patience = time.Minute
	}
	deadline := time.Now().Add(patience)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		last := wrong(h.observed(t, group))
		if last == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", patience, last)
		}
		time.Sleep(pause)
	}
}

// lists waits until a group lists exactly these targets, in any state.
func (h suiteHarness) lists(t *testing.T, group target.ARN, want ...target.Target) {
	t.Helper()
	h.eventually(t, group, func(got map[target.Key]target.Observed) string {
		for _, w := range want {
			if _, listed := got[w.Key]; !listed {
				return fmt.Sprintf("%v is not listed", w.Key)
			}
		}
		if len(got) != len(want) {
			return fmt.Sprintf("%d targets are listed, want %d: %v", len(got), len(want), got)
		}
		return ""
	})
}

// turns waits until a target is in a state.
func (h suiteHarness) turns(t *testing.T, group target.ARN, key target.Key, want target.State) {
	t.Helper()
	h.eventually(t, group, func(got map[target.Key]target.Observed) string {
		if got[key].Health.State != want {
			return fmt.Sprintf("%v is %q, want %q", key, got[key].Health.State, want)
		}
		return ""
	})
}

// wantKind checks the kind of an error and that it says which call failed.
func wantKind(t *testing.T, err error, kinds ...elb.Kind) {
	t.Helper()
	got := elb.KindOf(err)
	for _, kind := range kinds {
		if got == kind {
			return
		}
	}
	t.Errorf("got %v of kind %q, want %q", err, got, kinds)
}
