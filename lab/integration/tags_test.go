package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// tagged makes a binding name all groups with the tag team=shop.
func tagged(b *v1beta1.TargetGroupBinding) {
	b.Spec.TargetGroupARN, b.Spec.TargetGroupTags = "", map[string]string{"team": "shop"}
}

// shops makes a group with the tag team=shop.
func (e *env) shops(name string, change ...func(*elbsim.SeedGroup)) target.ARN {
	e.Helper()
	return e.group(append([]func(*elbsim.SeedGroup){func(g *elbsim.SeedGroup) {
		g.Name, g.LoadBalancer, g.Tags = name, e.namespace+"-"+name, map[string]string{"team": "shop", "stage": "live"}
	}}, change...)...)
}

// tag sets the tag team of a group, or removes it.
func (e *env) tag(group target.ARN, team string) {
	e.Helper()
	err := e.sim.With(elbsim.DefaultAccount, elbsim.DefaultRegion, func(w *model.World, now time.Time) error {
		if team == "" {
			return w.RemoveTags(now, []string{group.String()}, []string{"team"})
		}
		return w.AddTags(now, []string{group.String()}, map[string]string{"team": team})
	})
	if err != nil {
		e.Fatal(err)
	}
}

// readings waits until the tags of the account's groups were read n more times, so
// that the controller had every occasion to do what a test says it must not do.
func (e *env) readings(n int) {
	e.Helper()
	answered := func() int {
		return len(slices.DeleteFunc(e.sim.Calls(), func(c elbsim.Call) bool { return c.Action != "DescribeTags" || c.Answered.IsZero() }))
	}
	before := answered()
	e.eventually(fmt.Sprintf("%d more readings", n), func() error {
		if got := answered() - before; got < n {
			return fmt.Errorf("have %d", got)
		}
		return nil
	})
}

// groupsInStatus waits until the status of a binding tells of these groups and no others.
func (e *env) groupsInStatus(binding string, want ...string) v1beta1.TargetGroupBindingStatus {
	e.Helper()
	var status v1beta1.TargetGroupBindingStatus
	e.eventually(fmt.Sprintf("groups %v in the status", want), func() error {
		status = e.status(binding)
		if got := strings.Split(status.TargetGroupName, ","); len(want) == 0 && status.TargetGroupName != "" || len(want) > 0 && !slices.Equal(got, want) {
			return fmt.Errorf("have %+v", status)
		}
		return nil
	})
	return status
}

// inStepInAll waits until exactly the n ready pods of web are in each of the groups.
func (e *env) inStepInAll(n int, groups ...target.ARN) {
	e.Helper()
	for _, group := range groups {
		e.inStep(group, "web", n)
	}
}

func TestGroupsByTag(t *testing.T) {
	e := newEnv(t)
	one, two := e.shops("one"), e.shops("two")
	other := e.shops("other", func(g *elbsim.SeedGroup) { g.Tags = map[string]string{"team": "api"} })
	web := e.deployment("web", 2)
	e.service("web")
	e.binding("web", "web", one, tagged)
	e.controller("--sweep-interval=1s")
	e.inStepInAll(2, one, two)
	e.health(one, target.Healthy, 2)
	e.health(two, target.Healthy, 2)
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	status := e.groupsInStatus("web", "one", "two")
	if len(status.TargetGroups) != 2 || status.TargetGroups[0].ARN != one.String() || len(status.TargetGroups[1].Targets) != 2 ||
		status.TargetGroups[0].Reason != string(target.Synced) || status.Registered != 4 || status.TargetGroupARN != "" || status.Targets != nil {
		t.Errorf("the status says %+v", status)
	}

	// A group appears, and one gets the tag.
	three := e.shops("three")
	e.tag(other, "shop")
	e.inStepInAll(2, three, other)
	e.scale(web, 3)
	e.inStepInAll(3, one, two, three, other)

	// One loses the tag, and one is deleted.
	e.tag(other, "api")
	if err := e.sim.VanishGroup(two); err != nil {
		t.Fatal(err)
	}
	e.inStepWith(other, nil)
	e.event("web", string(target.Deregistered), string(target.GroupLeft))
	e.groupsInStatus("web", "one", "three")
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)

	// The finalizer sees the targets off, in all groups.
	e.unbind("web")
	e.inStepWith(one, nil)
	e.inStepWith(three, nil)
}

// All tags must be there, and vpcID and ipAddressType narrow the choice.
func TestGroupsByTagAreNarrowed(t *testing.T) {
	e := newEnv(t)
	live := e.shops("live")
	trial := e.shops("trial", func(g *elbsim.SeedGroup) { g.Tags["stage"] = "trial" })
	six := e.shops("six", func(g *elbsim.SeedGroup) { g.Family = target.IPv6 })
	e.deployment("web", 1)
	e.service("web")
	e.binding("web", "web", live, tagged, func(b *v1beta1.TargetGroupBinding) {
		b.Spec.TargetGroupTags["stage"], b.Spec.IPAddressType = "live", v1beta1.IPAddressTypeIPv4
	})
	e.controller("--sweep-interval=1s")
	e.inStep(live, "web", 1)
	e.groupsInStatus("web", "live")
	if calls := len(e.writes(trial)) + len(e.writes(six)); calls > 0 {
		t.Errorf("%d calls about groups that are not meant", calls)
	}
}

// A reading that fails, half-way or at once, takes no pod out of any group.
func TestBehaviour08_ReadingsThatFailHoldTargets(t *testing.T) {
	e := newEnv(t)
	one, two := e.shops("one"), e.shops("two")
	web := e.deployment("web", 2)
	e.service("web")
	e.binding("web", "web", one, tagged)
	e.controller("--sweep-interval=1s")
	e.inStepInAll(2, one, two)
	for _, action := range []string{"DescribeTags", "DescribeTargetGroups"} {
		end := e.fault(elbsim.Fault{Action: action, Kind: elbsim.FaultFail, Code: "InternalFailure", Message: "as scripted"})
		c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.AWSUnavailable)
		e.contains(c.Message, "target groups with the tags team=shop", action, "those known before stay")
		end()
		e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	}
	end := e.fault(elbsim.Fault{Action: "DescribeTags", Kind: elbsim.FaultFail, Code: "AccessDenied", Message: "as scripted"})
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.AccessDenied)
	e.scale(web, 3) // goes on in the groups that are known
	e.inStepInAll(3, one, two)
	end()
	for _, group := range []target.ARN{one, two} {
		if calls := e.calls(group, "DeregisterTargets"); len(calls) > 0 {
			t.Errorf("targets were deregistered: %+v", calls)
		}
	}
}

// The rights of this mode, of which one is missing.
func TestBehaviour41_NoRightToReadTags(t *testing.T) {
	e := newEnv(t, func(s *elbsim.Settings) { s.Deny = []string{"DescribeTags"} })
	one := e.shops("one")
	e.deployment("web", 1, gatedBy("web"))
	e.service("web")
	e.binding("web", "web", one, tagged)
	e.controller("--sweep-interval=1s")
	c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.AccessDenied)
	e.contains(c.Message, "team=shop", "DescribeTags", "allow the action")
	e.event("web", string(target.AccessDenied), "DescribeTags")
	e.gateOf("web", "web", 1, corev1.ConditionFalse, target.AccessDenied)
	e.configure(func(s *elbsim.Settings) { s.Deny = nil })
	e.inStep(one, "web", 1)
	e.gateOf("web", "web", 1, corev1.ConditionTrue, target.TargetHealthy)
}

func TestNoGroupHasTheTags(t *testing.T) {
	e := newEnv(t)
	e.deployment("web", 1, gatedBy("web"))
	e.service("web")
	e.binding("web", "web", target.ARN{}, tagged)
	e.controller("--sweep-interval=1s")
	c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.TargetGroupNotFound)
	e.contains(c.Message, "no target group of type ip has the tags team=shop", "tag the groups")
	e.event("web", string(target.TargetGroupNotFound), "team=shop")
	e.gateOf("web", "web", 1, corev1.ConditionTrue, target.TargetGroupNotFound)
	e.inStep(e.shops("late"), "web", 1)
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	e.unbind("web")
}

// The one gate of a binding waits for all of its groups.
func TestBehaviour25_OneGateForAllGroupsOfABinding(t *testing.T) {
	e := newEnv(t)
	one, two := e.shops("one"), e.shops("two")
	end := e.fault(elbsim.Fault{Action: "RegisterTargets", Group: two.String(), Kind: elbsim.FaultFail, Code: "TooManyTargets", Message: "as scripted"})
	e.deployment("web", 1, gatedBy("web"))
	e.selection("web", one, tagged)
	e.controller("--sweep-interval=1s")
	e.health(one, target.Healthy, 1)
	e.gateOf("web", "web", 1, corev1.ConditionFalse, target.TooManyTargets)
	e.looks(one, 2)
	e.gateOf("web", "web", 1, corev1.ConditionFalse, target.TooManyTargets)
	end()
	// A group at its quota is tried again when a target leaves it, or after a minute.
	if err := e.sim.With(elbsim.DefaultAccount, elbsim.DefaultRegion, func(w *model.World, now time.Time) error {
		return w.RegisterTargets(now, two.String(), []model.TargetRef{{ID: "10.200.0.9", Port: 80}})
	}); err != nil {
		t.Fatal(err)
	}
	e.eventually("healthy in both", func() error {
		pods := e.list("web")
		if len(pods) != 1 || !podReady(&pods[0]) {
			return errors.New("the pod is not ready")
		}
		return nil
	})
	e.inStep(two, "web", 1)
	e.health(two, target.Healthy, 1)
}

// What the status remembers of groups that lost the tag while nobody looked.
func TestBehaviour38_GroupsByTagAfterARestart(t *testing.T) {
	e := newEnv(t)
	one, two, three := e.shops("one"), e.shops("two"), e.shops("three")
	e.deployment("web", 2)
	e.selection("web", one, tagged)
	first := e.controller("--sweep-interval=1s")
	e.inStepInAll(2, one, two, three)
	e.groupsInStatus("web", "one", "three", "two")
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	e.eventually("remembered", func() error {
		for _, group := range e.status("web").TargetGroups {
			if len(group.Targets) != 2 {
				return fmt.Errorf("have %+v", group)
			}
		}
		return nil
	})
	first.Stop()
	before := len(e.writes(one))
	e.tag(two, "")
	if err := e.sim.VanishGroup(three); err != nil {
		t.Fatal(err)
	}
	e.controller("--sweep-interval=1s")
	e.inStepWith(two, nil)
	e.groupsInStatus("web", "one")
	e.inStep(one, "web", 2)
	if after := len(e.writes(one)); after != before {
		t.Errorf("%d calls about the group in which nothing changed", after-before)
	}
}

// A pod that leaves is deregistered from all groups before it is stopped.
func TestDrain_SeveralGroupsByTag(t *testing.T) {
	if err := installPolicy(); err != nil {
		t.Fatal(err)
	}
	e := newEnv(t)
	e.deliver("policy")
	one := e.shops("one", delaying("1"))
	two := e.shops("two", delaying("1"))
	d := &draining{env: e, group: one, times: times{hold: 3, late: 100, shutdown: 2}}
	e.selection("web", one, tagged, d.times.of(v1beta1.DrainHold))
	d.process = e.controller("--sweep-interval=1s", "--drain-image="+rig.Image)
	e.injected("web")
	d.asked("web", 1)
	e.deployment("web", 2, func(w *appsv1.Deployment) { w.Spec.Template.Spec.Containers[0].Image = witnessed })
	e.inStepInAll(2, one, two)
	e.health(one, target.Healthy, 2)
	e.health(two, target.Healthy, 2)
	leaver := e.list("web")[0]
	end := d.refuse(two, "Throttling")
	e.delete(&leaver)
	d.deregistration(one, &leaver)
	d.says(&leaver, corev1.ConditionFalse, target.Throttled)
	end()
	at := d.deregistration(two, &leaver)
	d.says(&leaver, corev1.ConditionTrue, target.Deregistered)
	d.held(&leaver, at)
}

// The drain hook is as long as the slowest group asks for.
func TestDrainFollowsFromTheSlowestGroup(t *testing.T) {
	e := newEnv(t)
	one := e.shops("one", delaying("20"))
	e.shops("two", delaying("60"))
	e.shops("three", delaying("40"))
	e.service("web")
	e.controller("--sweep-interval=1s")
	e.binding("web", "web", one, tagged, asking(&v1beta1.Drain{Mode: v1beta1.DrainSleep}))
	e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool {
		return s.Drain != nil && s.Drain.HoldSeconds == 75 && *s.Drain.DeregistrationDelaySeconds == 60
	})
}

// Bindings that name a group by tag and by ARN are united, and who leaves takes only
// what is its own.
func TestBehaviour32_GroupByTagAndByARN(t *testing.T) {
	e := newEnv(t)
	group := e.shops("one")
	e.deployment("web", 2)
	e.deployment("api", 1)
	e.selection("web", group, tagged)
	e.selection("api", group)
	e.controller("--sweep-interval=1s")
	both := func() error {
		return same(e.registered(group), append(e.pods("web"), e.pods("api")...), 3)
	}
	e.eventually("the pods of both", both)
	e.tag(group, "")
	e.inStep(group, "api", 1)
	e.tag(group, "shop")
	e.eventually("the pods of both again", both)
}

// Groups that nobody tagged so are none of the binding's business, and cost few calls.
func TestGroupsByTagCostFewCalls(t *testing.T) {
	e := newEnv(t)
	one := e.shops("one")
	for i := range 60 {
		e.shops(fmt.Sprintf("other-%d", i), func(g *elbsim.SeedGroup) { g.LoadBalancer, g.Tags = "", map[string]string{"team": fmt.Sprint(i)} })
	}
	for i := range 5 {
		e.deployment(fmt.Sprintf("web-%d", i), 1)
		e.selection(fmt.Sprintf("web-%d", i), one, tagged)
	}
	e.controller()
	e.eventually("all are in", func() error {
		if n := len(e.registered(one)); n != 5 {
			return fmt.Errorf("%d targets", n)
		}
		return nil
	})
	counts := map[string]int{}
	for _, call := range e.sim.Calls() {
		counts[call.Action]++
	}
	if counts["DescribeTargetGroups"] != 1 || counts["DescribeTags"] != 4 {
		t.Errorf("the groups of five bindings were found with %v, want 1 call for 61 groups and 4 for their tags", counts)
	}
}

func TestGroupsByTagWithFlags(t *testing.T) {
	e := newEnv(t, slowly)
	one, two := e.shops("one"), e.shops("two")
	e.deployment("web", 1, gatedBy("pods/tagged"))
	e.controllerWith(rig.ProcessOptions{Config: e.account(onePodSelector, "tgc"), Args: []string{
		"--pod-selector=app=web", "--port=http", "--target-group-tag=team=shop", "--target-group-tag=stage=live", "--sweep-interval=1s",
	}})
	e.gateOf("web", "pods/tagged", 1, corev1.ConditionTrue, target.TargetHealthy)
	e.inStepInAll(1, one, two)
	e.tag(two, "")
	e.inStepWith(two, nil)
	e.readings(2)
	e.inStep(one, "web", 1)
}

func TestGroupsByTagWithOneService(t *testing.T) {
	e := newEnv(t)
	one, two := e.shops("one"), e.shops("two")
	e.deployment("web", 1)
	e.service("web", corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt32(8080)})
	e.controllerWith(rig.ProcessOptions{Config: e.account(oneService, "tgc"), Args: []string{"--service=web", "--target-group-tag=team=shop"}})
	e.inStepInAll(1, one, two)
}
