package losses

import (
	"reflect"
	"slices"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// The rig tells no protection from protection: a rolling update of two pods behind
// an Application Load Balancer, once with each strategy.
func TestRollingUpdate(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two control planes")
	}
	scenario := Scenarios()[0]
	scenario.Replicas, scenario.Ends = 2, 2
	var cases []Case
	for _, strategy := range Strategies() {
		cases = append(cases, Case{Strategy: strategy, Scenario: scenario, Profile: Profiles()[0], Speed: 20, Rate: 200, Seed: 1})
	}
	reports, err := Run(t.Context(), cases, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range reports {
		if !r.Load.Punctuality.Kept {
			t.Logf("%s: the load did not keep its schedule, which does not matter for what is lost: %+v", cases[i], r.Load.Punctuality)
		}
		if r.Load.Duplicates.Count != 0 || r.Load.Duplicates.Reached < r.Load.Answered || r.Load.Answered == 0 {
			t.Errorf("%s: %d answered, duplicates %+v", cases[i], r.Load.Answered, r.Load.Duplicates)
		}
		if r.LeastHealthy() < int(scenario.Replicas) {
			t.Logf("%s: a pod was told to end before its successor was healthy to every node, which loses nothing but capacity: %+v", cases[i], r.Terminations)
		}
		for _, p := range r.Terminations {
			if p.Deregistered == nil || p.Signalled == nil || p.Ended == nil || p.ExitCode != 0 || slices.Contains(p.Learned, nil) {
				t.Errorf("%s: something is missing of %+v", cases[i], p)
			}
		}
	}
	unprotected, protected := reports[0], reports[1]
	if unprotected.Load.Lost == 0 || unprotected.Load.Classes["status-502"] != unprotected.Load.Lost {
		t.Errorf("without protection: %d lost as %v, want some, all as 502", unprotected.Load.Lost, unprotected.Load.Classes)
	}
	for _, f := range unprotected.Fates {
		if !f.Explained || f.Outcome != dataplane.Refused && f.Outcome != dataplane.Reset {
			t.Errorf("without protection: %+v", f)
		}
	}
	if protected.Load.Lost != 0 {
		t.Errorf("with protection: %+v", protected.Fates)
	}
}

// A deployment of one strategy differs from that of another by its hook alone.
func TestStrategiesDifferByTheHookAlone(t *testing.T) {
	of := func(strategy Strategy) *stage {
		c := Case{Strategy: strategy, Scenario: Scenarios()[0], Profile: Profiles()[0], Speed: 10}
		return &stage{Case: c, timing: c.Profile.Timing(c.Speed)}
	}
	all := Strategies()
	none, sleep := of(all[0]).deployment(), of(all[1]).deployment()
	hook := sleep.Spec.Template.Spec.Containers[0].Lifecycle
	if hook == nil || hook.PreStop.Sleep.Seconds != of(all[1]).timing.Sleep {
		t.Fatalf("the hook is %v", hook)
	}
	sleep.Spec.Template.Spec.Containers[0].Lifecycle = nil
	if !reflect.DeepEqual(none, sleep) {
		t.Errorf("got\n%+v\nand\n%+v", none, sleep)
	}
}

func TestAgree(t *testing.T) {
	addresses := []string{oldPod, other}
	for name, test := range map[string]struct {
		known map[string]target.State
		good  bool
	}{
		"as it is":      {map[string]target.State{oldPod: target.Healthy, other: target.Healthy}, true},
		"one unknown":   {map[string]target.State{oldPod: target.Healthy}, false},
		"one unhealthy": {map[string]target.State{oldPod: target.Healthy, other: target.Unhealthy}, false},
		"one too many":  {map[string]target.State{oldPod: target.Healthy, other: target.Healthy, newPod: target.Draining}, false},
	} {
		if err := agree("somebody", addresses, test.known); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
