package elbsim

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// started makes a simulator with one group in use, and runs it till the test ends.
func started(t *testing.T, options Options) (*Sim, target.ARN, elb.Client) {
	t.Helper()
	sim, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	arn, err := sim.PlantGroup(SeedGroup{Name: "web", LoadBalancer: "front"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); sim.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	return sim, arn, sim.Client(DefaultAccount, DefaultRegion)
}

func at80(host string) target.Target {
	return target.Target{Key: target.Key{Addr: netip.MustParseAddr(host), Port: 80}}
}

// states spells out the targets of a group.
func states(t *testing.T, client elb.Client, arn target.ARN) string {
	t.Helper()
	observed, err := client.TargetHealth(t.Context(), arn)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, o := range observed {
		words = append(words, o.Key.String()+"="+string(o.Health.State))
	}
	return strings.Join(words, " ")
}

func TestTargetsLiveThroughTheirStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, arn, client := started(t, Options{Check: AlwaysPass})
		if err := client.RegisterTargets(t.Context(), arn, []target.Target{at80("10.0.0.1")}); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			wait time.Duration
			want string
		}{{0, "10.0.0.1:80=initial"}, {1001 * time.Millisecond, "10.0.0.1:80=healthy"}, {time.Hour, "10.0.0.1:80=healthy"}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if got := states(t, client, arn); got != step.want {
				t.Errorf("after %v: got %s, want %s", step.wait, got, step.want)
			}
		}
		if err := client.DeregisterTargets(t.Context(), arn, []target.Target{at80("10.0.0.1")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(299 * time.Second)
		if got := states(t, client, arn); got != "10.0.0.1:80=draining" {
			t.Errorf("got %s", got)
		}
		time.Sleep(time.Second)
		if got := states(t, client, arn); got != "" {
			t.Errorf("got %s", got)
		}
	})
}

func TestChecksAreMadeAtTheGroupsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var moments []time.Duration
		begin := time.Now()
		_, arn, client := started(t, Options{Check: func(_ context.Context, check model.Check) model.CheckResult {
			moments = append(moments, time.Since(begin))
			return model.CheckResult{ID: check.ID}
		}})
		if err := client.RegisterTargets(t.Context(), arn, []target.Target{at80("10.0.0.1")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(62 * time.Second)
		synctest.Wait()
		if got := fmt.Sprint(moments); got != "[1s 31s 1m1s]" {
			t.Errorf("checks at %s", got)
		}
	})
}

func TestWithoutChecksNothingSpins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, arn, client := started(t, Options{})
		if err := client.RegisterTargets(t.Context(), arn, []target.Target{at80("10.0.0.1")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := states(t, client, arn); got != "10.0.0.1:80=initial" {
			t.Errorf("got %s", got)
		}
		if err := sim.Override(arn, at80("10.0.0.1").Key, target.Unhealthy); err != nil {
			t.Fatal(err)
		}
		if got := states(t, client, arn); got != "10.0.0.1:80=unhealthy" {
			t.Errorf("got %s", got)
		}
	})
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name    string
		fault   Fault
		want    []elb.Kind // of successive registrations of 10.0.0.1, 10.0.0.2 ...
		applied string
	}{
		{"fail", Fault{Kind: FaultFail, Code: "HealthUnavailable", Count: 1}, []elb.Kind{elb.Unavailable, ""}, "2"},
		{"denied", Fault{Kind: FaultFail, Code: "AccessDenied"}, []elb.Kind{elb.AccessDenied, elb.AccessDenied}, ""},
		{"throttle", Fault{Kind: FaultThrottle, Count: 2}, []elb.Kind{elb.Throttled, elb.Throttled, ""}, "3"},
		{"drop", Fault{Kind: FaultDrop, Count: 1}, []elb.Kind{elb.Unreachable, ""}, "2"},
		{"lose", Fault{Kind: FaultLose, Count: 1}, []elb.Kind{elb.Unreachable, ""}, "1 2"},
		{"second call", Fault{Kind: FaultDrop, Nth: 2, Count: 1}, []elb.Kind{"", elb.Unreachable, ""}, "1 3"},
		{"by group", Fault{Kind: FaultDrop, Group: "web"}, []elb.Kind{elb.Unreachable}, ""},
		{"other group", Fault{Kind: FaultDrop, Group: "other"}, []elb.Kind{""}, "1"},
		{"other action", Fault{Kind: FaultDrop, Action: "DeregisterTargets"}, []elb.Kind{""}, "1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sim, arn, client := started(t, Options{})
			if _, err := sim.AddFault(test.fault); err != nil {
				t.Fatal(err)
			}
			for i, want := range test.want {
				err := client.RegisterTargets(t.Context(), arn, []target.Target{at80(fmt.Sprintf("10.0.0.%d", i+1))})
				if got := elb.KindOf(err); got != want {
					t.Errorf("call %d: got %v, want kind %q", i+1, err, want)
				}
			}
			sim.ClearFaults()
			var applied []string
			for _, o := range must(client.TargetHealth(t.Context(), arn))(t) {
				applied = append(applied, strings.TrimPrefix(o.Addr.String(), "10.0.0."))
			}
			if got := strings.Join(applied, " "); got != test.applied {
				t.Errorf("applied %q, want %q", got, test.applied)
			}
		})
	}
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	sim := must(New(Options{}))(t)
	for _, f := range []Fault{{}, {Kind: "explode"}, {Kind: FaultDrop, Nth: -1}, {Kind: FaultFail, Status: 200}} {
		if _, err := sim.AddFault(f); err == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
}

func TestHangEndsWithTheCallerOrItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, arn, client := started(t, Options{})
		fault := must(sim.AddFault(Fault{Kind: FaultHang}))(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		err := client.RegisterTargets(ctx, arn, []target.Target{at80("10.0.0.1")})
		if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
			t.Errorf("got %v after %v", err, took)
		}
		sim.RemoveFault(fault.ID)
		must(sim.AddFault(Fault{Kind: FaultHang, Duration: Duration(3 * time.Second), Count: 1}))(t)
		begin = time.Now()
		if got := states(t, client, arn); got != "" || time.Since(begin) != 3*time.Second {
			t.Errorf("got %q after %v", got, time.Since(begin))
		}
	})
}

func TestLatencyComesBeforeTheEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := DefaultSettings()
		settings.Latency = Latency{Fixed: Duration(80 * time.Millisecond)}
		_, arn, client := started(t, Options{Settings: &settings})
		ctx, cancel := context.WithTimeout(t.Context(), 79*time.Millisecond)
		defer cancel()
		if err := client.RegisterTargets(ctx, arn, []target.Target{at80("10.0.0.1")}); elb.KindOf(err) != elb.Unreachable {
			t.Errorf("got %v", err)
		}
		begin := time.Now()
		if got := states(t, client, arn); got != "" {
			t.Errorf("a call that was given up had an effect: %s", got)
		}
		if took := time.Since(begin); took != 80*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestLatencyHasAMeanAndAnEnd(t *testing.T) {
	l := Latency{Fixed: Duration(time.Second), Spread: Duration(time.Second)}
	for number, want := range map[float64]time.Duration{0: time.Second, 1: 2 * time.Second, 100: 11 * time.Second} {
		if got := l.draw(func() float64 { return number }); got != want {
			t.Errorf("%v: got %v, want %v", number, got, want)
		}
	}
}

func TestThrottlingIsByAccountAndRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, arn, client := started(t, Options{})
		for range 40 {
			states(t, client, arn)
		}
		if _, err := client.TargetHealth(t.Context(), arn); elb.KindOf(err) != elb.Throttled {
			t.Errorf("got %v", err)
		}
		for _, other := range []elb.Client{sim.Client("210987654321", DefaultRegion), sim.Client(DefaultAccount, "us-east-1")} {
			if _, err := other.TargetHealth(t.Context(), arn); elb.KindOf(err) != elb.GroupNotFound {
				t.Errorf("got %v", err)
			}
		}
		settings := sim.Settings()
		settings.Buckets = nil
		if err := sim.Configure(settings); err != nil {
			t.Fatal(err)
		}
		states(t, client, arn)
	})
}

func TestTheLogTellsOfEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, arn, client := started(t, Options{})
		must(sim.AddFault(Fault{Kind: FaultLose, Action: "DeregisterTargets", Count: 1}))(t)
		_ = client.RegisterTargets(t.Context(), arn, []target.Target{at80("10.0.0.1")})
		_ = client.DeregisterTargets(t.Context(), arn, []target.Target{at80("10.0.0.1")})
		_, _ = client.TargetGroups(t.Context(), elb.GroupQuery{Names: []string{"nope"}})
		var lines []string
		for _, call := range sim.Calls() {
			lines = append(lines, fmt.Sprintf("%d %s %s %v %s %v %s", call.Seq, call.Action, call.Group, call.Targets, call.Code, call.Applied, call.Fault))
		}
		want := []string{
			"1 RegisterTargets " + arn.String() + " [10.0.0.1:80] OK true ",
			"2 DeregisterTargets " + arn.String() + " [10.0.0.1:80] NoReply true lose",
			"3 DescribeTargetGroups nope [] TargetGroupNotFound false ",
		}
		if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("got\n%s", got)
		}
		if sim.ClearCalls(); len(sim.Calls()) != 0 {
			t.Error("the log is not empty")
		}
	})
}

func TestTheLogIsBounded(t *testing.T) {
	l := newCallLog(3)
	for range 10 {
		l.begin(Call{Action: "x"})
	}
	l.end(2, func(*Call) { t.Error("a call that left the log was completed") })
	calls, latest, _ := l.after(0)
	if len(calls) != 3 || calls[0].Seq != 8 || latest != 10 {
		t.Errorf("got %v, latest %d", calls, latest)
	}
	l.clear()
	l.begin(Call{})
	if calls, _, _ := l.after(0); len(calls) != 1 || calls[0].Seq != 11 {
		t.Errorf("got %v", calls)
	}
}

func TestWaitingForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newCallLog(10)
		first := l.begin(Call{})
		_, mark := l.await(t.Context(), 0)
		done := make(chan []Call)
		go func() {
			calls, _ := l.await(t.Context(), mark)
			done <- calls
		}()
		synctest.Wait()
		l.end(first, func(c *Call) { c.Code = CodeOK })
		if calls := <-done; len(calls) != 1 || calls[0].Code != CodeOK {
			t.Errorf("got %v", calls)
		}
	})
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	for _, spoil := range []func(*Settings){
		func(s *Settings) { s.ThrottleCode = "Slow" },
		func(s *Settings) { s.Reregister = "maybe" },
		func(s *Settings) { s.BadTarget = "maybe" },
		func(s *Settings) { s.DeregistrationDelay = -1 },
		func(s *Settings) { s.Buckets = map[model.Class]model.Bucket{"total": {}} },
	} {
		settings := DefaultSettings()
		spoil(&settings)
		if _, err := New(Options{Settings: &settings}); err == nil {
			t.Errorf("%+v was accepted", settings)
		}
	}
}

func TestSeedFile(t *testing.T) {
	const file = `
settings:
  latency: {fixed: 5ms}
  buckets: null
vpcs:
  vpc-1: [{cidr: 10.1.0.0/16, zone: eu-central-1a}]
loadBalancers:
- {name: front, type: application}
groups:
- name: web
  vpc: vpc-1
  loadBalancer: front
  healthCheck: {path: /healthz, interval: 10s}
  attributes: {deregistration_delay.timeout_seconds: "30"}
  tags: {team: blue}
  targets: ["10.1.0.1:8080"]
- {name: mail, protocol: TCP, port: 25, loadBalancer: back, region: us-east-1, account: "210987654321"}
`
	seed, settings, err := ReadSeed([]byte(file), DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	sim := must(New(Options{Seed: seed, Settings: &settings}))(t)
	groups := sim.Groups()
	if len(groups) != 2 || groups[0].Targets[0].Target != "10.1.0.1:8080" || groups[0].Tags["team"] != "blue" ||
		groups[0].Attributes[model.DeregistrationDelayKey] != "30" || len(groups[0].LoadBalancers) != 1 {
		t.Errorf("got %+v", groups)
	}
	if groups[1].Region != "us-east-1" || groups[1].Account != "210987654321" || len(groups[1].LoadBalancers) != 1 {
		t.Errorf("got %+v", groups[1])
	}
	if s := sim.Settings(); s.Latency.Fixed != Duration(5*time.Millisecond) || s.Buckets != nil {
		t.Errorf("got %+v", s)
	}
	for _, bad := range []string{"nonsense: 1", "settings: {nonsense: 1}", "groups: 7", ":"} {
		if _, _, err := ReadSeed([]byte(bad), DefaultSettings()); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestResetPutsEverythingBack(t *testing.T) {
	sim := must(New(Options{Seed: Seed{Groups: []SeedGroup{{Name: "web"}}}}))(t)
	before := sim.Groups()
	must(sim.PlantGroup(SeedGroup{Name: "more"}))(t)
	must(sim.AddFault(Fault{Kind: FaultDrop}))(t)
	settings := sim.Settings()
	settings.Deny = []string{"*"}
	if err := sim.Configure(settings); err != nil {
		t.Fatal(err)
	}
	if err := sim.Reset(); err != nil {
		t.Fatal(err)
	}
	after := sim.Groups()
	if len(after) != 1 || after[0].ARN != before[0].ARN || len(sim.Faults()) != 0 || len(sim.Settings().Deny) != 0 {
		t.Errorf("got %+v", after)
	}
}

func TestDialMap(t *testing.T) {
	m := must(ParseDialMap([]string{"10.0.0.0/8=127.0.0.0/8", "fd00::/120=127.9.9.0/24", "192.168.0.0/17=127.128.0.0/16"}))(t)
	for from, to := range map[string]string{
		"10.1.2.3": "127.1.2.3", "10.255.255.255": "127.255.255.255", "172.16.0.1": "172.16.0.1",
		"fd00::7": "127.9.9.7", "192.168.127.4": "127.128.127.4",
	} {
		if got := m.Resolve(netip.MustParseAddr(from)).String(); got != to {
			t.Errorf("%s: got %s, want %s", from, got, to)
		}
	}
	for _, bad := range []string{"", "10.0.0.0/8", "10.0.0.0/8=x", "10.0.0.0/8=127.0.0.0/16", "fd00::/8=127.0.0.0/8"} {
		if _, err := ParseDialMap([]string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
