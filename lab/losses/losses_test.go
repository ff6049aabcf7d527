package losses

import (
	"context"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
)

// unsupported is why there are no real nodes here, nil where there are.
var unsupported error

func TestMain(m *testing.M) {
	flag.Parse()
	if !testing.Short() {
		var err error
		if unsupported, err = realnode.EnterForTests(context.Background(), os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func TestRollingUpdate(t *testing.T) { testRollingUpdate(t, false) }

func TestRollingUpdateOnRealNodes(t *testing.T) {
	if unsupported != nil {
		t.Skip(unsupported)
	}
	testRollingUpdate(t, true)
}

// The rig tells no protection from protection: a rolling update of two pods behind
// an Application Load Balancer, once with each strategy.
func testRollingUpdate(t *testing.T, realNodes bool) {
	if testing.Short() {
		t.Skip("starts two control planes")
	}
	scenario := Scenarios()[0]
	scenario.Replicas, scenario.Ends = 2, 2
	var cases []Case
	for _, strategy := range Strategies() {
		if strategy.Loopback && realNodes {
			continue
		}
		cases = append(cases, Case{Strategy: strategy, Scenario: scenario, Profile: Profiles()[0], Speed: 20, Rate: 200, Seed: 1, RealNodes: realNodes})
	}
	reports, err := Run(t.Context(), cases, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range reports {
		if !r.Load.Punctuality.Kept {
			t.Logf("%s: the load did not keep its schedule, which does not matter for what is lost: %+v", cases[i], r.Load.Punctuality)
		}
		if d := r.Load.Duplicates; r.Load.Answered == 0 || !realNodes && (d.Count != 0 || d.Reached < r.Load.Answered) {
			t.Errorf("%s: %d answered, duplicates %+v", cases[i], r.Load.Answered, d)
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
	classes, outcomes := []load.Class{"status-502"}, []dataplane.Outcome{dataplane.Refused, dataplane.Reset}
	if realNodes { // nobody refuses connections to a pod that is gone
		classes, outcomes = append(classes, "status-504"), append(outcomes, dataplane.ConnectTimeout)
	}
	for i, r := range reports {
		if cases[i].Strategy.Protects {
			if r.Load.Lost != 0 {
				t.Errorf("%s: %+v", cases[i], r.Fates)
			}
			continue
		}
		if r.Load.Lost == 0 {
			t.Errorf("%s: nothing was lost", cases[i])
		}
		for class, n := range r.Load.Classes {
			if !slices.Contains(classes, class) {
				t.Errorf("%s: %d lost as %s, want %v", cases[i], n, class, classes)
			}
		}
		for _, f := range r.Fates {
			if !f.Explained || !slices.Contains(outcomes, f.Outcome) {
				t.Errorf("%s: %+v", cases[i], f)
			}
		}
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
