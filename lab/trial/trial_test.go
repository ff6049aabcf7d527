package trial

import (
	"context"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// One round of a trial: its seed once found a fault, and etcd is restored in it.
// Afterwards somebody else takes out the target of a ready pod, and the judge, who
// cannot know that it was not the controller, must say so.
func TestTrial(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes the better part of a minute")
	}
	running, err := start(t.Context(), Options{}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.end)
	result, err := running.round(t.Context(), PlanFor(3, KillsPerRound), t.Output())
	t.Log(result)
	if err != nil {
		t.Fatal(err)
	}
	if result.Kills != KillsPerRound || result.Judged == 0 {
		t.Errorf("there were %d kills and %d targets were judged", result.Kills, result.Judged)
	}
	running.restartHalfBlind(t)
	running.provoke(t)
}

// restartHalfBlind starts the controller while AWS fails the first question for
// groups: those named by name are known a second before those named by ARN, or the
// other way round. The targets of the bindings that are not known yet must stay.
func (t *trial) restartHalfBlind(test *testing.T) {
	test.Helper()
	r := &round{trial: t, ctx: test.Context()}
	for range 3 {
		t.replicas.stop()
		if _, err := t.Sim.AddFault(elbsim.Fault{Action: "DescribeTargetGroups", Count: 1, Kind: elbsim.FaultFail}); err != nil {
			test.Fatal(err)
		}
		mark := r.latest()
		t.replicas.start(test.Context(), 1)
		if err := r.looks(test.Context(), mark); err != nil {
			test.Fatal(err)
		}
		for _, call := range t.Sim.Calls() {
			if call.Seq > mark && changes(call) {
				test.Errorf("nothing had changed, and yet: %+v", call)
			}
		}
	}
}

// provoke takes out a target until the judge has seen it.
func (t *trial) provoke(test *testing.T) {
	test.Helper()
	ctx, cancel := context.WithTimeout(test.Context(), settleLimit)
	defer cancel()
	arn, err := target.ParseARN(t.groups["pay"])
	if err != nil {
		test.Fatal(err)
	}
	var wanted []string
	t.history.read(func(o *objects) { wanted = o.wanted(t.groups)[arn.String()] })
	key, err := target.ParseKey(wanted[0])
	if err != nil {
		test.Fatal(err)
	}
	client := t.Sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion)
	for len(t.violations()) == 0 {
		if ctx.Err() != nil {
			test.Fatal("the judge did not see that the target of a ready pod was taken out")
		}
		if err := client.DeregisterTargets(ctx, arn, []target.Target{{Key: key}}); err != nil {
			test.Log(err)
		}
		idle(ctx, time.Second)
	}
	if v := t.violations()[0]; v.Target != wanted[0] {
		test.Errorf("the judge saw %v, want %s", v, wanted[0])
	}
}
