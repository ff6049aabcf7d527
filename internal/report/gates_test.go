package report_test

import (
	"strings"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// answer is one to pod uid-1 of binding web.
func answer(open bool, reason target.Reason) plan.Gate {
	return plan.Gate{
		Gated: desired.Gated{Pod: desired.PodRef{Namespace: "shop", Name: "pod-1", UID: "uid-1"}, Binding: web, Gate: desired.Gate{Type: "gate"}},
		Open:  open, Reason: reason, Target: key(1),
	}
}

func TestBehaviour22_WordsOfGates(t *testing.T) {
	aws := answer(false, "")
	aws.Health = target.Health{State: target.Unhealthy, Reason: "Target.Timeout", Description: "Request timed out"}
	problem := answer(false, target.PortNotFound)
	problem.Message = "no port 81"
	unused := answer(true, target.TargetGroupNotInUse)
	unused.Health.Description = "the zone is not enabled"
	failed := plan.Outcome{Failures: []plan.Failure{
		{Op: "DescribeTargetHealth", Reason: target.Unreachable}, {Op: "RegisterTargets", Reason: target.AccessDenied, Message: "no"},
	}}
	for _, c := range []struct {
		name    string
		answer  plan.Gate
		outcome plan.Outcome
		reason  target.Reason
		says    string
	}{
		{"healthy", answer(true, target.TargetHealthy), plan.Outcome{}, target.TargetHealthy, "target 10.0.0.1:80 of web is healthy"},
		{"in AWS's words", aws, failed, "Target.Timeout", "target 10.0.0.1:80 of web is unhealthy: Request timed out"},
		{"in words of the binding's problem", problem, plan.Outcome{}, target.PortNotFound, "no port 81"},
		{"not in use", unused, plan.Outcome{}, target.TargetGroupNotInUse, "no load balancer sends to target 10.0.0.1:80 of web: the zone is not enabled"},
		{"being registered", answer(false, target.Syncing), plan.Outcome{}, target.Syncing, "the pod is being registered in web"},
		{"registration failed", answer(false, target.Syncing), failed, target.AccessDenied, "RegisterTargets failed: no: allow the action"},
		{"another call failed", answer(false, target.Syncing), plan.Outcome{Failures: failed.Failures[:1]}, target.Syncing, "being registered"},
		{"refused", answer(false, target.InvalidTarget), failed, target.InvalidTarget, "AWS would not register the pod in web"},
		{"no endpoint", answer(false, target.NotAnEndpoint), failed, target.NotAnEndpoint, "correct the Service's selector"},
		{"binding deleted", answer(true, target.BindingDeleted), failed, target.BindingDeleted, "opened without health checks: the binding to web"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := report.Gates(report.Input{
				Group: target.Group{ARN: target.ARN{Name: "web"}}, Plan: plan.Plan{Gates: []plan.Gate{c.answer}}, Outcome: c.outcome,
			})
			if len(got) != 1 || got[0].True != c.answer.Open || got[0].Reason != c.reason || !strings.Contains(got[0].Message, c.says) ||
				got[0].Type != "gate" || got[0].Pod != c.answer.Pod || strings.Contains(got[0].Message, "%!") {
				t.Errorf("got %+v, want %s with %q", got, c.reason, c.says)
			}
		})
	}
}

// Two bindings may share a gate; then both must open it.
func TestGateOfTwoBindingsIsClosedWhileOneSaysSo(t *testing.T) {
	for _, gates := range [][]plan.Gate{
		{answer(true, target.TargetHealthy), answer(false, target.Syncing)},
		{answer(false, target.Syncing), answer(true, target.TargetHealthy)},
	} {
		got := report.Gates(report.Input{Plan: plan.Plan{Gates: gates}})
		if len(got) != 1 || got[0].True {
			t.Errorf("got %+v", got)
		}
	}
}

func TestBehaviour27_GatesWithoutAPlan(t *testing.T) {
	for _, c := range []struct {
		ready report.Condition
		want  string
	}{
		{report.Condition{}, ""},
		{report.Condition{True: true, Reason: target.Synced}, ""},
		{report.Condition{Reason: target.Syncing}, ""},
		{report.Condition{Reason: target.TargetGroupNotFound}, "open TargetGroupNotFound"},
		{report.Condition{Reason: target.InvalidBinding}, "closed InvalidBinding"},
		{report.Condition{Reason: target.AccessDenied}, "closed AccessDenied"},
		{report.Condition{Reason: target.TargetTypeMismatch}, "closed TargetTypeMismatch"},
	} {
		got, known := report.Unplanned(c.ready)
		word := map[bool]string{true: "open ", false: "closed "}[got.True] + string(got.Reason)
		if !known {
			word = ""
		}
		if word != c.want {
			t.Errorf("%s: got %q, want %q", c.ready.Reason, word, c.want)
		}
	}
	if gate := report.NoBinding(); !gate.True || gate.Reason != target.BindingNotFound {
		t.Errorf("got %+v", gate)
	}
}

func TestBehaviour42_ReadySaysHowManyGatesAreClosed(t *testing.T) {
	in := world()
	in.Plan.Gates = []plan.Gate{answer(false, target.Syncing), answer(true, target.TargetHealthy)}
	got := report.Of(in)
	if !strings.Contains(got[0].Ready.Message, "readiness gates closed: 1") || strings.Contains(got[1].Ready.Message, "gates") {
		t.Errorf("got %q and %q", got[0].Ready.Message, got[1].Ready.Message)
	}
}
