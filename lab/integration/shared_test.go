package integration

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// sharing makes a binding share its group.
func sharing(b *v1beta1.TargetGroupBinding) { b.Spec.MultiClusterTargetGroup = true }

// neighbour is another cluster in the same account: a namespace of which the first
// controller sees nothing, as its own sees nothing of the first.
func (e *env) neighbour() *env {
	e.Helper()
	other := &env{T: e.T, ctx: e.ctx, namespace: fmt.Sprintf("test-%d", namespaces.Add(1)), sim: e.sim}
	if err := shared.Namespace(e.ctx, other.namespace); err != nil {
		e.Fatal(err)
	}
	return other
}

// web makes a Deployment with its Service and a binding that shares the group.
func (e *env) web(replicas int32, group target.ARN) *appsv1.Deployment {
	e.Helper()
	d := e.deployment("web", replicas)
	e.service("web")
	e.binding("web", "web", group, sharing)
	return d
}

// remembers waits until the status of the binding names the targets of n pods.
func (e *env) remembers(n int) {
	e.Helper()
	e.eventually(fmt.Sprintf("%d targets in the status", n), func() error {
		return same(e.status("web").Targets, e.pods("web"), n)
	})
}

func TestBehaviour33_TwoClustersShareAGroup(t *testing.T) {
	a := newEnv(t)
	b := a.neighbour()
	group := a.group()
	webA, webB := a.web(2, group), b.web(3, group)
	both := func(what string, n int) {
		t.Helper()
		a.eventually(what, func() error { return same(a.registered(group), slices.Concat(a.pods("web"), b.pods("web")), n) })
	}

	// Both start at once.
	controllerA := a.controller("--sweep-interval=1s")
	b.controller("--sweep-interval=1s")
	both("pods of both", 5)
	a.health(group, target.Healthy, 5)
	c := a.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	a.contains(c.Message, "2 targets registered, 2 healthy", "left alone: 3 targets of others")
	if status := b.status("web"); status.Registered != 3 || status.Held != 0 {
		t.Errorf("the status of the other cluster counts %+v", status)
	}
	a.scale(webA, 1)
	b.scale(webB, 2)
	both("pods that are left", 3)

	// While one is dead its pods are replaced, and the other goes on.
	controllerA.Kill()
	a.scale(webA, 0)
	a.eventually("no pod", func() error { return same(a.pods("web"), nil, 0) })
	a.scale(webA, 3)
	b.scale(webB, 4)
	b.eventually("pods of the other cluster", func() error {
		return missing(b.pods("web"), b.registered(group), 4)
	})
	controllerA = a.controller("--sweep-interval=1s")
	both("pods of both after a restart", 7)

	// The journal is deleted: what is there is taken for what it is.
	a.remembers(3)
	controllerA.Kill()
	a.forget()
	a.controller("--sweep-interval=1s")
	a.remembers(3)
	a.scale(webA, 2)
	both("pods of both after the journal was lost", 6)

	// One leaves for good.
	binding := &v1beta1.TargetGroupBinding{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: "web"}}
	a.delete(binding)
	a.eventually("the binding is gone", func() error { return gone(a, binding) })
	b.inStep(group, "web", 4)
	a.sparedAllOf(b, group)
}

// missing tells which of n pods are not registered.
func missing(pods, registered []string, n int) error {
	if len(pods) != n {
		return fmt.Errorf("pods: %v", pods)
	}
	for _, pod := range pods {
		if !slices.Contains(registered, pod) {
			return fmt.Errorf("%s is not in %v", pod, registered)
		}
	}
	return nil
}

// forget empties the journal of the binding.
func (e *env) forget() {
	e.Helper()
	object := &v1beta1.TargetGroupBinding{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "web"}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"targets":null}}`))
	if err := shared.API.Status().Patch(e.ctx, object, patch); err != nil {
		e.Fatal(err)
	}
}

// sparedAllOf checks that no call took out a pod of another cluster that is there.
func (e *env) sparedAllOf(other *env, group target.ARN) {
	e.Helper()
	for _, pod := range other.pods("web") {
		if slices.Contains(carried(e.writes(group), "DeregisterTargets"), pod) {
			e.Errorf("%s of the other cluster was deregistered", pod)
		}
	}
}

// A target is in the status before it is in the group.
func TestBehaviour33_NothingIsRegisteredBeforeItIsRemembered(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	held := e.fault(elbsim.Fault{Action: "RegisterTargets", Kind: elbsim.FaultFail, Code: "InternalFailure", Message: "as scripted"})
	e.web(2, group)
	e.controller("--sweep-interval=1s")
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.AWSUnavailable)
	e.remembers(2)
	if registered := e.registered(group); len(registered) > 0 {
		t.Errorf("registered are %v", registered)
	}
	held()
	e.inStep(group, "web", 2)
}

func TestBehaviour34_NewerBindingThatDisagreesIsRefused(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 2)
	e.service("web")
	// Times of creation are in seconds; within one second the name decides.
	older := e.binding("a-older", "web", group)
	e.controller("--sweep-interval=1s")
	e.inStep(group, "web", 2)
	e.deployment("api", 1)
	e.service("api")
	e.binding("z-newer", "api", group, sharing)
	c := e.condition("z-newer", v1beta1.ConditionReady, metav1.ConditionFalse, target.SharingConflict)
	e.contains(c.Message, "multiClusterTargetGroup is true", e.namespace+"/a-older", "set it to false, or in both")
	e.event("z-newer", string(target.SharingConflict), "a-older")
	e.condition("a-older", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	e.inStep(group, "web", 2)

	e.delete(older)
	e.condition("z-newer", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	e.inStep(group, "api", 1)
}
