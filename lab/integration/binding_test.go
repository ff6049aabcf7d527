package integration

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func TestReadyPodsAreRegisteredAndTurnHealthy(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	web := e.served(group, 3)
	e.controller()
	e.inStep(group, "web", 3)
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	e.event("web", string(target.Registered), "target")

	e.scale(web, 5)
	e.inStep(group, "web", 5)
	e.scale(web, 2)
	e.inStep(group, "web", 2)

	update(e, web, func(d *appsv1.Deployment) { d.Spec.Template.Annotations = map[string]string{"roll": "1"} })
	before := e.pods("web")
	e.eventually("all pods replaced", func() error { return noneOf(e.pods("web"), before) })
	e.inStep(group, "web", 2)
}

func TestBehaviour31_DeletedBindingTakesItsTargetsAlong(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.served(group, 2)
	e.controller()
	e.inStep(group, "web", 2)

	e.unbind("web")
	if left := e.registered(group); len(left) > 0 {
		t.Errorf("targets %v are left in the group after the binding is gone", left)
	}
}

func TestBehaviour32_TwoBindingsOfOneGroupAreUnited(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	for _, name := range []string{"one", "two"} {
		e.deployment(name, 2)
		e.service(name)
	}
	e.binding("one", "one", group)
	two := e.binding("two", "two", group)
	e.controller()
	both := func() error { return same(e.registered(group), slices.Concat(e.pods("one"), e.pods("two")), 4) }
	e.eventually("targets of both bindings", both)

	e.delete(two)
	e.eventually("binding gone", func() error { return gone(e, two) })
	e.inStep(group, "one", 2)
}

func TestBehaviour36_AnnotatedService(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 2)
	service := e.service("web")
	e.controller()
	update(e, service, func(s *corev1.Service) {
		s.Annotations = map[string]string{v1beta1.AnnotationTargetGroupARN: group.String()}
	})
	e.inStep(group, "web", 2)
	e.event("web", string(target.Registered), "targets")

	update(e, service, func(s *corev1.Service) { s.Annotations = nil })
	e.inStepWith(group, nil)
}
