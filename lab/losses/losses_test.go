package losses

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
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

func pick[T any](t *testing.T, all []T, name string, nameOf func(T) string) T {
	t.Helper()
	i := slices.IndexFunc(all, func(one T) bool { return nameOf(one) == name })
	if i < 0 {
		t.Fatalf("there is no %q", name)
	}
	return all[i]
}

// caseOf has these names; fast, and with a seed of its own.
func caseOf(t *testing.T, strategy, scenario, profile, lateness string) Case {
	t.Helper()
	c := Case{
		Strategy: pick(t, Strategies(), strategy, func(s Strategy) string { return s.Name }),
		Scenario: pick(t, Scenarios(), scenario, func(s Scenario) string { return s.Name }),
		Profile:  pick(t, Profiles(), profile, func(p Profile) string { return p.Name }),
		Lateness: pick(t, Latenesses(), lateness, func(l Lateness) string { return l.Name }),
		Rate:     60, Seed: 1,
	}
	c.Speed = c.Profile.Speed
	if profile == "ALB" {
		c.Speed = 20
	}
	return c
}

// Each scenario with tgc's Hold, which loses nothing, and without any protection, which
// does where it must; and what lateness does to Sleep and Hold. All in one world.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	var cases []Case
	for _, scenario := range Scenarios() {
		profile := "ALB"
		if scenario.Name == "persistent" {
			profile = "NLB" // whose connections stay with their pod
		}
		for _, strategy := range []string{"none", "hold"} {
			if c := caseOf(t, strategy, scenario.Name, profile, "normal"); c.Shows() {
				cases = append(cases, c)
			}
		}
	}
	for _, strategy := range []string{"sleep", "hold"} {
		cases = append(cases, caseOf(t, strategy, "surge-all", "NLB", "60s"))
	}
	// The longest first.
	slices.SortStableFunc(cases, func(a, b Case) int { return cmp.Compare(b.Lateness.Of, a.Lateness.Of) })
	reports, err := Run(t.Context(), cases, Options{Parallel: 12, Progress: t.Output()})
	if err != nil {
		t.Error(err)
	}
	for _, c := range cases {
		t.Run(strings.Join([]string{c.Scenario.Name, c.Strategy.Name, c.Lateness.Name}, "/"), func(t *testing.T) {
			i := slices.IndexFunc(reports, func(r Report) bool {
				return byCell(r) == cell{c.Strategy.Name, c.Scenario.Name, c.Profile.Name, c.Lateness.Name}
			})
			if i < 0 {
				t.Fatal("there is no report")
			}
			checkReport(t, c, reports[i])
		})
	}
}

// checkReport fails if a report is not what its case claims, or lacks something.
func checkReport(t *testing.T, c Case, r Report) {
	t.Helper()
	if r.Wrong != "" {
		t.Error(r.Wrong)
	}
	if !r.Load.Punctuality.Kept {
		t.Logf("the load did not keep its schedule, which does not matter for what is lost: %+v", r.Load.Punctuality)
	}
	if d := r.Load.Duplicates; r.Load.Answered == 0 || !r.RealNodes && (d.Count != 0 || d.Reached < r.Load.Answered) {
		t.Errorf("%d answered, duplicates %+v", r.Load.Answered, d)
	}
	for _, p := range r.Terminations {
		if p.Deregistered == nil || p.Signalled == nil || p.Ended == nil || p.ExitCode != 0 || slices.Contains(p.Learned, nil) {
			t.Errorf("something is missing of %+v", p)
		}
		if late := *p.Deregistered - p.Told; c.Lateness.Of > 0 && late < c.Lateness.Of/2 {
			t.Errorf("a deregistration was %s late, want about %s: %+v", late, c.Lateness.Of, p)
		}
	}
	if c.Scenario.Probed && len(r.Restarts) != int(c.Scenario.Replicas) {
		t.Errorf("%d containers were restarted, want %d", len(r.Restarts), c.Scenario.Replicas)
	}
}

func TestRollingUpdateOnRealNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	if unsupported != nil {
		t.Skip(unsupported)
	}
	var cases []Case
	for _, strategy := range Strategies() {
		if strategy.selfRegistered {
			continue // see TestSidecarThroughARollingUpdate
		}
		c := caseOf(t, strategy.Name, "rolling-update", "ALB", "normal")
		if c.Claim() == Something {
			// A busy kubelet may take longer to end a pod than this fast load
			// balancer to learn of it: nothing would be lost then.
			c = caseOf(t, strategy.Name, "rolling-update", "ALB", "2s")
		}
		c.Scenario.Replicas = 2
		cases = append(cases, c)
	}
	reports, err := Run(t.Context(), cases, Options{RealNodes: true, Parallel: 2, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range reports {
		checkReport(t, cases[i], r)
	}
}

// bySidecar runs a scenario on loopback and on real nodes with two pods that register
// themselves, in either form of the sidecar, and checks what comes of it.
func bySidecar(t *testing.T, scenario string, check func(*testing.T, Case, Report)) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	for name, realNodes := range map[string]bool{"loopback nodes": false, "real nodes": true} {
		t.Run(name, func(t *testing.T) {
			if realNodes && unsupported != nil {
				t.Skip(unsupported)
			}
			var cases []Case
			for _, strategy := range []string{"sidecar-native", "sidecar-container"} {
				c := caseOf(t, strategy, scenario, "ALB", "normal")
				c.Scenario.Replicas = 2
				cases = append(cases, c)
			}
			reports, err := Run(t.Context(), cases, Options{RealNodes: realNodes, Parallel: 2, Progress: t.Output()})
			if err != nil {
				t.Error(err)
			}
			if len(reports) < len(cases) {
				t.Fatalf("%d reports on %d cases", len(reports), len(cases))
			}
			for i := range reports {
				check(t, cases[i], reports[i])
			}
		})
	}
}

// Pods that register themselves by the sidecar, in either form, lose nothing, though
// there is neither a controller nor a binding.
func TestSidecarThroughARollingUpdate(t *testing.T) {
	bySidecar(t, "rolling-update", func(t *testing.T, c Case, r Report) {
		checkReport(t, c, r)
		if r.LeastHealthy() < int(c.Scenario.Replicas) {
			t.Errorf("%s: a pod was told to end while %d were healthy", r.Strategy, r.LeastHealthy())
		}
	})
}

// A sidecar that is killed amid the drain of its pod is not restarted, and nothing is lost
// for all that.
func TestSidecarsAreKilled(t *testing.T) { bySidecar(t, "sidecar-crash", checkReport) }

func TestShows(t *testing.T) {
	for _, test := range []struct {
		strategy, scenario, lateness string
		want                         bool
	}{
		{"hold", "rolling-update", "60s", true},
		{"hold", "new-leader", "normal", true},
		{"hold", "restart-storm", "normal", true},
		{"hold", "restart-storm", "2s", false},
		{"sidecar-native", "rolling-update", "60s", true},
		{"sidecar-native", "new-leader", "normal", false},
		{"sidecar-container", "restart-storm", "normal", false},
		{"sidecar-container", "sidecar-crash", "normal", true},
		{"hold", "sidecar-crash", "normal", false},
	} {
		if got := caseOf(t, test.strategy, test.scenario, "ALB", test.lateness).Shows(); got != test.want {
			t.Errorf("%s, %s, %s: got %t", test.strategy, test.scenario, test.lateness, got)
		}
	}
}

// What nobody protects loses, and what is protected does not, unless deregistrations are
// later than it covers.
func TestClaims(t *testing.T) {
	for _, test := range []struct {
		scenario, strategy string
		normal, two, sixty Claim
	}{
		{"rolling-update", "none", Something, Something, Something},
		{"rolling-update", "gate", Something, Something, Something},
		{"rolling-update", "plain-sleep", Nothing, Anything, Something},
		{"rolling-update", "sleep", Nothing, Nothing, Something},
		{"rolling-update", "hold", Nothing, Nothing, Nothing},
		{"new-leader", "none", Something, Something, Something},
		{"new-leader", "plain-sleep", Anything, Anything, Something},
		{"new-leader", "sleep", Nothing, Nothing, Something},
		{"new-leader", "hold", Nothing, Nothing, Nothing},
		{"single-eviction", "plain-sleep", Anything, Anything, Anything},
		{"single-eviction", "hold", Nothing, Nothing, Nothing},
		{"restart-storm", "none", Anything, Anything, Anything},
		{"sidecar-crash", "sidecar-native", Nothing, Nothing, Nothing},
		{"sidecar-crash", "sidecar-httpget", Anything, Anything, Anything},
	} {
		for lateness, want := range map[string]Claim{"normal": test.normal, "2s": test.two, "60s": test.sixty} {
			if got := caseOf(t, test.strategy, test.scenario, "ALB", lateness).Claim(); got != want {
				t.Errorf("%s, %s, %s: got %s, want %s", test.scenario, test.strategy, lateness, got, want)
			}
		}
	}
}

// A deployment of one strategy differs from that of another by its hook alone.
func TestStrategiesDifferByTheHookAlone(t *testing.T) {
	of := func(strategy string) *stage {
		c := caseOf(t, strategy, "rolling-update", "ALB", "normal")
		return &stage{Case: c, timing: c.Timing(), traffic: c.traffic(), namespace: "any", replicas: 4}
	}
	none, sleep := of("none").deployment(), of("plain-sleep").deployment()
	hook := sleep.Spec.Template.Spec.Containers[0].Lifecycle
	if hook == nil || hook.PreStop.Sleep.Seconds != of("plain-sleep").timing.Sleep {
		t.Fatalf("the hook is %v", hook)
	}
	sleep.Spec.Template.Spec.Containers[0].Lifecycle = nil
	if !reflect.DeepEqual(none, sleep) {
		t.Errorf("got\n%+v\nand\n%+v", none, sleep)
	}
}

// Kubernetes takes at most 63 characters, for namespaces as for nodes.
func TestNamesAreValid(t *testing.T) {
	names := map[string]bool{}
	for _, strategy := range Strategies() {
		for _, scenario := range Scenarios() {
			for _, profile := range Profiles() {
				for _, lateness := range Latenesses() {
					c := caseOf(t, strategy.Name, scenario.Name, profile.Name, lateness.Name)
					c.Seed = 1_000_000
					if wrong := validation.IsDNS1123Label(c.name() + "-2"); wrong != nil || names[c.name()] {
						t.Errorf("%q, known %t: %v", c.name(), names[c.name()], wrong)
					}
					names[c.name()] = true
				}
			}
		}
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
