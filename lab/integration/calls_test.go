package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// addresses are n addresses of pods that nobody serves on.
func addresses(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("10.200.%d.%d", i/250, i%250+1)
	}
	return list
}

// withPort gives addresses as targets.
func withPort(addresses []string, port string) []string {
	targets := make([]string, len(addresses))
	for i, address := range addresses {
		targets[i] = address + ":" + port
	}
	return targets
}

// carried lists the targets of the calls that were applied.
func carried(calls []elbsim.Call, action string) []string {
	var targets []string
	for _, call := range calls {
		if call.Action == action && call.Applied {
			targets = append(targets, call.Targets...)
		}
	}
	return targets
}

// What is in step already gets no call.
func TestBehaviour11_OnlyTheDifferenceIsCalledFor(t *testing.T) {
	e := newEnv(t)
	wanted := withPort(addresses(3), "9090")
	group := e.group(func(g *elbsim.SeedGroup) { g.Targets = []string{wanted[0], wanted[1], "10.201.0.1:9090"} })
	e.selectorless("web")
	e.slice("web", nil, addresses(3)...)
	e.binding("web", "web", group)
	e.controller()
	e.inStepWith(group, wanted)
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	writes := e.writes(group)
	if err := same(carried(writes, "RegisterTargets"), wanted[2:], 1); err != nil {
		t.Errorf("registered: %v", err)
	}
	if err := same(carried(writes, "DeregisterTargets"), []string{"10.201.0.1:9090"}, 1); err != nil {
		t.Errorf("deregistered: %v", err)
	}
	e.event("web", string(target.Drift), "10.201.0.1:9090")
}

// A target that drains and is wanted again is registered again, when AWS takes it.
func TestBehaviour12_DrainingTargetComesBack(t *testing.T) {
	t.Parallel()
	for _, answer := range []model.Reregister{model.ReregisterRevives, model.ReregisterRefused} {
		t.Run(string(answer), func(t *testing.T) {
			e := newEnv(t, func(s *elbsim.Settings) {
				s.Reregister = answer
				s.DeregistrationDelay = elbsim.Duration(300 * time.Second)
				if answer == model.ReregisterRefused {
					s.DeregistrationDelay = elbsim.Duration(3 * time.Second)
				}
			})
			group := e.group()
			e.selectorless("web")
			slice := e.slice("web", nil, addresses(2)...)
			e.binding("web", "web", group)
			e.controller()
			both := withPort(addresses(2), "9090")
			e.inStepWith(group, both)
			update(e, slice, func(s *discoveryv1.EndpointSlice) { s.Endpoints = s.Endpoints[:1] })
			e.inStepWith(group, both[:1])
			update(e, slice, func(s *discoveryv1.EndpointSlice) {
				s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{addresses(2)[1]}})
			})
			e.inStepWith(group, both)
			e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
			if answer == model.ReregisterRefused {
				e.event("web", string(target.InvalidTarget), both[1])
			}
		})
	}
}

// Draining and unwanted: no second call, however often the group is listed.
func TestBehaviour12_DrainingTargetIsLeftAlone(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.selectorless("web")
	slice := e.slice("web", nil, addresses(2)...)
	e.binding("web", "web", group)
	e.controller("--sweep-interval=1s")
	e.inStepWith(group, withPort(addresses(2), "9090"))
	update(e, slice, func(s *discoveryv1.EndpointSlice) { s.Endpoints = s.Endpoints[:1] })
	e.inStepWith(group, withPort(addresses(1), "9090"))
	e.looks(group, 3)
	if calls := e.calls(group, "DeregisterTargets"); len(calls) != 1 {
		t.Errorf("there were %d calls to deregister one target", len(calls))
	}
}

func TestBehaviour13_ManyTargetsInChunksAndOneFails(t *testing.T) {
	const n, most = 450, 200
	e := newEnv(t)
	group := e.group()
	e.fault(elbsim.Fault{Action: "RegisterTargets", Nth: 2, Count: 1, Kind: elbsim.FaultFail, Code: "InternalFailure"})
	e.selectorless("web")
	e.slice("web", nil, addresses(n)...)
	e.binding("web", "web", group)
	e.controller()
	want := withPort(addresses(n), "9090")
	e.inStepWith(group, want)
	writes := e.writes(group)
	for _, call := range writes {
		if len(call.Targets) > most {
			t.Errorf("a call carried %d targets", len(call.Targets))
		}
	}
	if err := same(carried(writes, "RegisterTargets"), want, n); err != nil {
		t.Errorf("targets were called for again that were done: %d of them carried in %d calls", len(carried(writes, "RegisterTargets")), len(writes))
	}
	if !slices.ContainsFunc(writes, func(c elbsim.Call) bool { return c.Fault == elbsim.FaultFail }) {
		t.Error("no call failed, so the test has shown nothing")
	}
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
}

func TestBehaviour16_QuotaTakesWhatFits(t *testing.T) {
	e := newEnv(t, func(s *elbsim.Settings) { s.Quotas.TargetsPerGroup = 3 })
	group := e.group()
	e.selectorless("web")
	slice := e.slice("web", nil, addresses(5)...)
	e.binding("web", "web", group)
	p := e.controller()
	c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.TooManyTargets)
	e.eventually("what fits is registered", func() error {
		if got := e.registered(group); len(got) != 3 {
			return fmt.Errorf("have %v", got)
		}
		c = e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.TooManyTargets)
		if !strings.Contains(c.Message, "2 targets left out") {
			return fmt.Errorf("the condition says %q", c.Message)
		}
		return nil
	})
	e.event("web", string(target.TooManyTargets), "left out")
	e.metric(p, `tgc_targets{state="left_out"`)

	// One leaves, so one more fits: deregistering comes first and makes room.
	in := e.registered(group)[0]
	update(e, slice, func(s *discoveryv1.EndpointSlice) {
		s.Endpoints = slices.DeleteFunc(s.Endpoints, func(p discoveryv1.Endpoint) bool { return p.Addresses[0]+":9090" == in })
	})
	e.eventually("another takes its place", func() error {
		got := e.registered(group)
		if len(got) != 3 || slices.Contains(got, in) {
			return fmt.Errorf("have %v, and %s should be gone", got, in)
		}
		return nil
	})
}

func TestBehaviour17_DriftIsRepaired(t *testing.T) {
	e := newEnv(t)
	// Without a delay nothing tells a target that someone else took out from one
	// that never was in, except that it was ours.
	group := e.group(func(g *elbsim.SeedGroup) {
		g.Attributes = map[string]string{"deregistration_delay.timeout_seconds": "0"}
	})
	e.served(group, 3)
	e.controller("--sweep-interval=1s")
	e.inStep(group, "web", 3)
	e.health(group, target.Healthy, 3)

	someone := e.sim.Client(group.Account, group.Region)
	ours, err := target.ParseKey(e.registered(group)[0])
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := target.ParseKey("10.201.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	if err := someone.DeregisterTargets(e.ctx, group, []target.Target{{Key: ours}}); err != nil {
		t.Fatal(err)
	}
	e.inStep(group, "web", 3)
	e.event("web", string(target.Drift), "Someone else removed, and the controller registered again, 1 target: "+ours.String())

	if err := someone.RegisterTargets(e.ctx, group, []target.Target{{Key: stranger}}); err != nil {
		t.Fatal(err)
	}
	e.inStep(group, "web", 3)
	e.event("web", string(target.Drift), "Deregistered what nothing of this cluster explains: 1 target: "+stranger.String())
}

func TestBehaviour18_DeletedGroupComesBackByName(t *testing.T) {
	e := newEnv(t)
	group := e.group(func(g *elbsim.SeedGroup) { g.Name = "lost" })
	other := e.group(func(g *elbsim.SeedGroup) { g.Name = "other" })
	web := e.deployment("web", 2)
	e.service("web")
	e.binding("lost", "web", group, named)
	e.binding("other", "web", other)
	e.controller("--sweep-interval=1s")
	e.inStep(group, "web", 2)
	e.inStep(other, "web", 2)

	if err := e.sim.VanishGroup(group); err != nil {
		t.Fatal(err)
	}
	c := e.condition("lost", v1beta1.ConditionReady, metav1.ConditionFalse, target.TargetGroupNotFound)
	e.contains(c.Message, "create the target group, or correct its ARN or name")
	e.event("lost", string(target.TargetGroupNotFound), "create the target group")
	e.scale(web, 3)
	e.inStep(other, "web", 3)

	again := e.group(func(g *elbsim.SeedGroup) { g.Name = "lost" })
	if again == group {
		t.Fatal("the new group has the ARN of the old one, so the test shows nothing")
	}
	e.inStep(again, "web", 3)
	e.condition("lost", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
}

func TestBehaviour31_BindingOfAGroupThatIsGoneDisappears(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.served(group, 1)
	e.controller()
	e.inStep(group, "web", 1)
	if err := e.sim.VanishGroup(group); err != nil {
		t.Fatal(err)
	}
	e.unbind("web")
}

func TestBehaviour31_FailureKeepsTheFinalizer(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.served(group, 1)
	e.controller()
	e.inStep(group, "web", 1)

	binding := e.bindingNamed("web")
	allow := e.fault(elbsim.Fault{Action: "DeregisterTargets", Kind: elbsim.FaultFail, Code: "AccessDenied", Message: "not authorized"})
	e.delete(binding)
	c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.AccessDenied)
	e.contains(c.Message, "DeregisterTargets of 1 target failed", "not authorized", "IAM policy")
	allow()
	e.eventually("binding gone", func() error { return gone(e, binding) })
	if left := e.registered(group); len(left) > 0 {
		t.Errorf("targets %v are left", left)
	}
}
