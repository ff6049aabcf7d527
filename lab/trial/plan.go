package trial

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

// Act is one thing done to the world.
type Act struct {
	// After is the pause before it.
	After time.Duration
	Kind  Kind
	// Of is which Deployment, Service or binding it is about, by its index.
	Of int
	// N is a number of replicas, or which pod.
	N int
	// For is how long it lasts, such as how long a Service is gone.
	For time.Duration
	// Hard: a pod is deleted by force, a kill waits for a call to AWS, a restore
	// happens while no controller runs.
	Hard bool
	// Fault is what goes wrong with AWS.
	Fault elbsim.Fault
}

// Kind is what an act does.
type Kind string

// The kinds of acts.
const (
	Scale          Kind = "scale"
	Rollout        Kind = "rollout"
	DeletePod      Kind = "delete pod"
	Unready        Kind = "unready"
	RecreateSvc    Kind = "recreate Service"
	RecreateBind   Kind = "recreate binding"
	AWSFault       Kind = "AWS fault"
	SmallBudget    Kind = "small AWS budget"
	SlowAWS        Kind = "slow AWS"
	BreakWatches   Kind = "break watches"
	RestartServer  Kind = "restart API server"
	RestartEtcd    Kind = "restart etcd"
	TakeSnapshot   Kind = "snapshot etcd"
	RestoreEtcd    Kind = "restore etcd"
	KillController Kind = "kill controller"
)

// String is one line about the act.
func (a Act) String() string {
	words := []string{string(a.Kind), fmt.Sprintf("of=%d n=%d for=%s", a.Of, a.N, a.For)}
	if a.Hard {
		words = append(words, "hard")
	}
	if a.Kind == AWSFault {
		words = append(words, fmt.Sprintf("%s action=%q nth=%d count=%d hang=%s",
			a.Fault.Kind, a.Fault.Action, a.Fault.Nth, a.Fault.Count, time.Duration(a.Fault.Duration)))
	}
	return strings.Join(words, " ")
}

// Plan is what happens in a round: lanes of acts that run side by side, the acts of
// a lane one after the other.
type Plan struct {
	Seed uint64
	// Replicas is how many controllers run: one, or two that elect a leader.
	Replicas int
	// Lag is how far AWS's lists are behind.
	Lag time.Duration
	// World, AWS, Control and Kills are the lanes.
	World, AWS, Control, Kills []Act
}

// PlanFor draws the plan of a round with a number of kills. The same arguments
// always give the same plan.
func PlanFor(seed uint64, kills int) Plan {
	d := draw{rand.New(rand.NewPCG(seed, 0))}
	p := Plan{Seed: seed, Replicas: 1, Lag: d.between(0, 2000)}
	pause := 2200
	if d.oneIn(3) {
		p.Replicas = 2
		pause = 3 * pause // the lease of a leader that was killed lasts 5 s
	}
	var length time.Duration
	for range kills {
		act := Act{
			After: d.between(300, 300+pause), Kind: KillController, Hard: d.oneIn(2),
			Of: d.IntN(2), N: d.IntN(4), For: d.between(0, 600),
		}
		length += act.After + act.For
		p.Kills = append(p.Kills, act)
	}
	p.World = d.lane(length, 50, 500, d.world)
	p.AWS = d.lane(length, 200, 1500, d.aws)
	p.Control = d.control(length)
	return p
}

// draw draws acts.
type draw struct{ *rand.Rand }

func (d draw) oneIn(n int) bool { return d.IntN(n) == 0 }

func (d draw) between(low, high int) time.Duration {
	return time.Duration(low+d.IntN(high-low)) * time.Millisecond
}

// lane draws acts until their pauses and durations fill a length of time.
func (d draw) lane(length time.Duration, low, high int, act func() Act) []Act {
	var acts []Act
	for passed := time.Duration(0); ; {
		a := act()
		a.After = d.between(low, high)
		if passed += a.After + a.For; passed > length {
			return acts
		}
		acts = append(acts, a)
	}
}

func (d draw) world() Act {
	a := Act{Of: d.IntN(len(apps)), N: d.IntN(6)}
	switch d.IntN(12) {
	case 0, 1, 2:
		a.Kind, a.N = Scale, 1+d.IntN(6)
	case 3:
		a.Kind = Rollout
	case 4, 5, 6:
		a.Kind, a.Hard = DeletePod, d.oneIn(3)
	case 7, 8, 9:
		a.Kind, a.For = Unready, d.between(0, 1500)
	case 10:
		a.Kind, a.For = RecreateSvc, d.between(0, 1500)
	default:
		a.Kind, a.For, a.Of = RecreateBind, d.between(0, 1500), d.IntN(len(bindings)+1)
	}
	return a
}

func (d draw) aws() Act {
	switch d.IntN(6) {
	case 0:
		return Act{Kind: SmallBudget, N: 1 + d.IntN(2), For: d.between(500, 4000)}
	case 1:
		return Act{Kind: SlowAWS, N: d.IntN(400), For: d.between(500, 4000)}
	}
	actions := []string{"RegisterTargets", "DeregisterTargets", "DescribeTargetHealth", "DescribeTargetGroups", ""}
	kinds := []elbsim.FaultKind{elbsim.FaultFail, elbsim.FaultThrottle, elbsim.FaultHang, elbsim.FaultDrop, elbsim.FaultLose, elbsim.FaultLose}
	fault := elbsim.Fault{
		Action: actions[d.IntN(len(actions))], Kind: kinds[d.IntN(len(kinds))],
		Nth: d.IntN(3), Count: 1 + d.IntN(4),
	}
	switch fault.Kind {
	case elbsim.FaultHang:
		fault.Duration = elbsim.Duration(d.between(100, 5000))
	case elbsim.FaultFail:
		fault.Code = []string{"InternalFailure", "ServiceUnavailable"}[d.IntN(2)]
	}
	return Act{Kind: AWSFault, Fault: fault, For: d.between(200, 3000)}
}

// control draws what befalls the control plane. In one round of three etcd is
// restored.
func (d draw) control(length time.Duration) []Act {
	acts := d.lane(length, 1000, 5000, func() Act {
		switch d.IntN(6) {
		case 0:
			return Act{Kind: RestartServer, For: d.between(0, 3000)}
		case 1:
			return Act{Kind: RestartEtcd, For: d.between(0, 2000)}
		}
		return Act{Kind: BreakWatches}
	})
	if d.oneIn(3) {
		restore := Act{Kind: RestoreEtcd, After: d.between(1000, 6000), Hard: d.oneIn(3)}
		acts = append([]Act{{Kind: TakeSnapshot, After: d.between(0, 3000)}}, append(acts, restore)...)
	}
	return acts
}
