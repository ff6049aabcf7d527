package trial

import (
	"reflect"
	"testing"
)

func TestPlanFollowsFromTheSeed(t *testing.T) {
	seen := map[Kind]int{}
	for seed := range uint64(50) {
		one, two := PlanFor(seed, 8), PlanFor(seed, 8)
		if !reflect.DeepEqual(one, two) {
			t.Fatalf("seed %d gives two plans", seed)
		}
		if len(one.Kills) != 8 {
			t.Errorf("seed %d: %d kills, want 8", seed, len(one.Kills))
		}
		for _, lane := range [][]Act{one.World, one.AWS, one.Control, one.Kills} {
			for _, act := range lane {
				seen[act.Kind]++
			}
		}
	}
	for _, kind := range []Kind{
		Scale, Rollout, DeletePod, Unready, RecreateSvc, RecreateBind, AWSFault, SmallBudget,
		SlowAWS, BreakWatches, RestartServer, RestartEtcd, TakeSnapshot, RestoreEtcd, KillController,
	} {
		if seen[kind] == 0 {
			t.Errorf("no seed ever plans %q", kind)
		}
	}
}
