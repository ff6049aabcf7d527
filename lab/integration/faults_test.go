package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// logs tells whether the log says words.
func logs(p *rig.Process, words string) bool { return strings.Contains(p.Log(), words) }

// applied waits until a call was applied, whether or not it was answered.
func (e *env) applied(group target.ARN, action string) {
	e.Helper()
	e.eventually(action+" applied", func() error {
		if len(carried(e.calls(group, action), action)) == 0 {
			return fmt.Errorf("have %+v", e.calls(group, action))
		}
		return nil
	})
}

func TestBehaviour15_LostReplies(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	for _, action := range []string{"RegisterTargets", "DeregisterTargets"} {
		e.fault(elbsim.Fault{Action: action, Count: 1, Kind: elbsim.FaultLose})
	}
	e.selectorless("web")
	slice := e.slice("web", nil, addresses(3)...)
	e.binding("web", "web", group)
	e.controller()
	all := withPort(addresses(3), "9090")
	e.applied(group, "RegisterTargets")
	e.inStepWith(group, all)
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)

	update(e, slice, func(s *discoveryv1.EndpointSlice) { s.Endpoints = s.Endpoints[:2] })
	e.applied(group, "DeregisterTargets")
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	e.inStepWith(group, all[:2])
	if err := same(slices.Compact(carried(e.writes(group), "DeregisterTargets")), all[2:], 1); err != nil {
		t.Errorf("deregistered: %v", err)
	}
}

// The reply to a registration is lost, and the endpoint goes before the controller
// has heard of it: the target must not be left behind.
func TestBehaviour15_LostReplyAndTheEndpointGoes(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	end := e.fault(elbsim.Fault{Action: "RegisterTargets", Kind: elbsim.FaultLose})
	e.selectorless("web")
	slice := e.slice("web", nil, addresses(2)...)
	e.binding("web", "web", group)
	e.controller()
	e.applied(group, "RegisterTargets")
	update(e, slice, func(s *discoveryv1.EndpointSlice) { s.Endpoints = s.Endpoints[:1] })
	end()
	e.inStepWith(group, withPort(addresses(1), "9090"))
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
}

// The controller is killed when a registration was applied and nothing is written
// down of it; meanwhile one of the pods goes.
func TestBehaviour15_CrashBetweenRegistrationAndStatus(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	end := e.fault(elbsim.Fault{Action: "RegisterTargets", Kind: elbsim.FaultLose})
	web := e.deployment("web", 3)
	e.service("web")
	e.eventually("three pods", func() error { return same(e.pods("web"), e.pods("web"), 3) })
	e.binding("web", "web", group)
	p := e.controller()
	e.applied(group, "RegisterTargets")
	p.Kill()
	if remembered := e.status("web").Targets; len(remembered) > 0 {
		t.Fatalf("the status remembers %v, so the test shows nothing", remembered)
	}
	end()
	e.scale(web, 2)
	e.eventually("two pods", func() error { return same(e.pods("web"), e.pods("web"), 2) })
	e.controllerWith(rig.ProcessOptions{Args: []string{"--sweep-interval=1s", "--leader-elect-lease=successor"}})
	e.inStep(group, "web", 2)
}

func TestBehaviour40_ThrottlingIsToldAndPasses(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	end := e.fault(elbsim.Fault{Action: "RegisterTargets", Kind: elbsim.FaultThrottle})
	e.served(group, 2)
	p := e.controller()
	c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.Throttled)
	e.contains(c.Message, "RegisterTargets", "Rate exceeded", "the call is repeated by itself")
	e.event("web", string(target.Throttled), "API budget is spent")
	e.metric(p, "tgc_aws_calls_total{", `operation="RegisterTargets"`, `outcome="Throttled"`)
	end()
	e.inStep(group, "web", 2)
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
}

func TestBehaviour41_DeniedGroupDoesNotHurtOthers(t *testing.T) {
	e := newEnv(t)
	denied := e.group(func(g *elbsim.SeedGroup) { g.Name = "denied" })
	fine := e.group(func(g *elbsim.SeedGroup) { g.Name = "fine" })
	allow := e.fault(elbsim.Fault{Group: "denied", Action: "RegisterTargets", Kind: elbsim.FaultFail, Code: "AccessDenied", Message: "User is not authorized to perform: elasticloadbalancing:RegisterTargets"})
	web := e.deployment("web", 1)
	e.service("web")
	e.binding("denied", "web", denied)
	e.binding("fine", "web", fine)
	p := e.controller()
	c := e.condition("denied", v1beta1.ConditionReady, metav1.ConditionFalse, target.AccessDenied)
	e.contains(c.Message, "RegisterTargets of 1 target failed", "is not authorized to perform", "allow the action on this target group in the IAM policy of that user or role")
	e.event("denied", string(target.AccessDenied), "IAM policy")
	e.metric(p, "tgc_aws_calls_total{", `outcome="AccessDenied"`)
	e.inStep(fine, "web", 1)
	e.scale(web, 2)
	e.inStep(fine, "web", 2)
	allow()
	e.inStep(denied, "web", 2)
}

func TestHangingGroupDoesNotDelayAnother(t *testing.T) {
	e := newEnv(t)
	hangs := e.group(func(g *elbsim.SeedGroup) { g.Name = "hangs" })
	fine := e.group(func(g *elbsim.SeedGroup) { g.Name = "fine" })
	end := e.fault(elbsim.Fault{Group: "hangs", Action: "RegisterTargets", Kind: elbsim.FaultHang})
	web := e.deployment("web", 1)
	e.service("web")
	e.binding("hangs", "web", hangs)
	e.binding("fine", "web", fine)
	e.controller()
	e.eventually("a call hangs", func() error { return e.underWay(hangs) })
	e.inStep(fine, "web", 1)
	e.scale(web, 2)
	e.inStep(fine, "web", 2)
	if call := e.calls(hangs, "RegisterTargets")[0]; call.Code != "" {
		t.Logf("the call was given up meanwhile: the machine is slow, and nothing is shown")
	}
	// Given up after its limit, the call is told of and made again.
	e.event("hangs", string(target.Unreachable), "check the network")
	end()
	e.inStep(hangs, "web", 2)
}

func TestFailuresOfAWSPass(t *testing.T) {
	t.Parallel()
	for kind, reason := range map[elbsim.FaultKind]target.Reason{elbsim.FaultFail: target.AWSUnavailable, elbsim.FaultDrop: target.Unreachable} {
		t.Run(string(kind), func(t *testing.T) {
			e := newEnv(t)
			group := e.group()
			end := e.fault(elbsim.Fault{Action: "DescribeTargetHealth", Kind: kind})
			e.served(group, 1)
			e.controller()
			c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, reason)
			e.contains(c.Message, "DescribeTargetHealth failed", "the call is repeated by itself")
			end()
			e.inStep(group, "web", 1)
			e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
		})
	}
}
