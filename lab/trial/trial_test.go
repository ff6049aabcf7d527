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
	running.provoke(t)
}

// provoke takes out a target until the judge has seen it.
func (t *trial) provoke(test *testing.T) {
	test.Helper()
	ctx, cancel := context.WithTimeout(test.Context(), time.Minute)
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
