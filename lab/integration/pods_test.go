package integration

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
)

func TestBehaviour01_ReadyPodsAndNoOthers(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.served(group, 3)
	e.controller()
	e.inStep(group, "web", 3)

	pod := e.list("web")[0]
	e.ready(&pod, false)
	e.inStep(group, "web", 2)
	e.event("web", string(target.Deregistered), string(target.PodNotReady))
	e.ready(&pod, true)
	e.inStep(group, "web", 3)
}

// gated gives pods a readiness gate of ours.
func gated(d *appsv1.Deployment) {
	d.Spec.Template.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: v1beta1.ReadinessGatePrefix + "web"}}
}

func TestBehaviour02_GatedPodIsATargetOnceItsContainersAreReady(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 2, gated, func(d *appsv1.Deployment) {
		d.Spec.Template.Annotations = map[string]string{app.ReadyAnnotation: "false"}
	})
	e.deployment("other", 1, func(d *appsv1.Deployment) {
		d.Spec.Template.Labels["app"], d.Spec.Selector.MatchLabels["app"] = "other", "other"
	})
	e.service("web")
	e.binding("web", "web", group)
	e.controller()
	e.eventually("two addresses", func() error { return e.addressed("web", 2) })

	pods := e.list("web")
	e.ready(&pods[0], true)
	want := []string{pods[0].Status.PodIP + ":8080"}
	e.inStepWith(group, want)
	e.event("web", string(target.Registered), string(target.GatePending))
	e.ready(&pods[1], true)
	e.inStepWith(group, append(want, pods[1].Status.PodIP+":8080"))
	// That the first registration carried one target shows that the other, whose
	// containers were not ready, was left out.
	if first := e.writes(group)[0]; len(first.Targets) != 1 {
		t.Errorf("the first call carried %v", first.Targets)
	}
}

// addressed tells whether n pods of a Deployment have an address.
func (e *env) addressed(name string, n int) error {
	pods := e.list(name)
	if len(pods) != n || slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Status.PodIP == "" }) {
		return fmt.Errorf("%d pods, not all with an address", len(pods))
	}
	return nil
}

// lingering pods go on serving for a while after they were told to end.
func lingering(d *appsv1.Deployment) {
	d.Spec.Template.Spec.Containers[0].Args = []string{"--linger=1h"}
	d.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(3600))
}

func TestBehaviour03_TerminatingPodIsNoTarget(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.served(group, 2, lingering)
	e.controller()
	e.inStep(group, "web", 2)
	e.health(group, target.Healthy, 2)

	leaver := e.list("web")[0]
	e.delete(&leaver)
	e.inStep(group, "web", 2)
	e.event("web", string(target.Deregistered), string(target.PodTerminating))
	if err := shared.API.Get(e.ctx, client.ObjectKeyFromObject(&leaver), &leaver); err != nil {
		t.Errorf("the pod should still have been serving when it was deregistered: %v", err)
	}
	e.delete(&leaver, client.GracePeriodSeconds(0))
}

// The only healthy target stays until its successor is healthy.
func TestBehaviour03_LastHealthyTargetWaitsForItsSuccessor(t *testing.T) {
	e := newEnv(t, func(s *elbsim.Settings) { s.ALBRegistration = elbsim.Duration(3 * time.Second) })
	group := e.group()
	web := e.deployment("web", 1, func(d *appsv1.Deployment) {
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(0))}
		spec := &d.Spec.Template.Spec
		spec.TerminationGracePeriodSeconds = new(int64(3600))
		spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 3000}}}
	})
	e.service("web")
	e.binding("web", "web", group)
	e.controller()
	e.inStep(group, "web", 1)
	e.health(group, target.Healthy, 1)
	e.eventually("the controller knows", func() error {
		if e.status("web").Healthy != 1 {
			return errors.New("the status counts no healthy target")
		}
		return nil
	})

	leaver := e.list("web")[0]
	update(e, web, func(d *appsv1.Deployment) { d.Spec.Template.Annotations = map[string]string{"roll": "1"} })
	e.event("web", string(target.Held), string(target.LastHealthyTarget))
	e.inStep(group, "web", 1)
	e.health(group, target.Healthy, 1)
	e.delete(&leaver, client.GracePeriodSeconds(0))
}

// slice writes an EndpointSlice by hand, one endpoint for each address.
func (e *env) slice(service string, change func(*discoveryv1.EndpointSlice), addresses ...string) *discoveryv1.EndpointSlice {
	e.Helper()
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: e.namespace, GenerateName: service + "-",
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(9090))}},
	}
	for _, address := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	if change != nil {
		change(s)
	}
	e.create(s)
	return s
}

// selectorless makes a Service whose endpoints are written by hand.
func (e *env) selectorless(name string) {
	e.Helper()
	e.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(9090)}}},
	})
}

func TestBehaviour04_EndpointsWithoutPods(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.selectorless("web")
	// Ready is nil for the first two, which counts as ready.
	slice := e.slice("web", func(s *discoveryv1.EndpointSlice) {
		s.Endpoints[2].Conditions.Ready = new(false)
	}, "10.200.0.1", "10.200.0.2", "10.200.0.3")
	e.binding("web", "web", group)
	e.controller()
	e.inStepWith(group, []string{"10.200.0.1:9090", "10.200.0.2:9090"})

	update(e, slice, func(s *discoveryv1.EndpointSlice) { s.Endpoints = s.Endpoints[1:] })
	e.inStepWith(group, []string{"10.200.0.2:9090"})
}

// A pod that is in a slice and not in the cache counts by its slice; one that was
// seen to go does not.
func TestBehaviour04_EndpointWhosePodIsNotSeenYet(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.selectorless("web")
	e.slice("web", func(s *discoveryv1.EndpointSlice) {
		s.Endpoints[0].TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: e.namespace, Name: "web-1", UID: uuid.NewUUID()}
	}, "10.200.0.1")
	e.binding("web", "web", group)
	e.controller()
	e.inStepWith(group, []string{"10.200.0.1:9090"})
	e.event("web", string(target.Registered), string(target.PodNotSeenYet))
}

func TestBehaviour04_PodSeenToGoIsNoTargetWhateverItsSliceSays(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 1)
	e.eventually("one pod ready", func() error { return same(e.pods("web"), e.pods("web"), 1) })
	pod := e.list("web")[0]
	e.selectorless("by-hand")
	e.slice("by-hand", func(s *discoveryv1.EndpointSlice) {
		s.Endpoints[0].TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: e.namespace, Name: pod.Name, UID: pod.UID}
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.200.0.1"}})
	}, pod.Status.PodIP)
	e.binding("web", "by-hand", group)
	e.controller()
	e.inStepWith(group, []string{pod.Status.PodIP + ":9090", "10.200.0.1:9090"})

	e.delete(&pod, client.GracePeriodSeconds(0))
	e.inStepWith(group, []string{"10.200.0.1:9090"})
}

// ulaInside makes the lab's IPv6 addresses part of the VPC.
func ulaInside(s *elbsim.Settings) {
	s.VPCs[""] = append(s.VPCs[""], model.Subnet{CIDR: netip.MustParsePrefix("fd00::/8")})
}

func TestBehaviour06And21_EachGroupTakesItsFamily(t *testing.T) {
	e := newEnv(t, ulaInside)
	four := e.group(func(g *elbsim.SeedGroup) { g.Name = "four" })
	six := e.group(func(g *elbsim.SeedGroup) { g.Name, g.Family = "six", target.IPv6 })
	e.deployment("web", 2)
	e.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "web"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"}, IPFamilyPolicy: new(corev1.IPFamilyPolicyRequireDualStack),
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	})
	e.binding("four", "web", four)
	e.binding("six", "web", six)
	e.controller()
	e.inStep(four, "web", 2)
	e.inStepByIPv6(six, "web", 2)
	for _, binding := range []string{"four", "six"} {
		e.condition(binding, v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	}
}

// onNodes gives pods the network of their nodes, with a port of its own for each test
// and each run of it: the pods of an earlier one may still be there.
func onNodes() (port int32, change func(*appsv1.Deployment)) {
	port = int32(20000 + namespaces.Add(1))
	return port, func(d *appsv1.Deployment) {
		spec := &d.Spec.Template.Spec
		spec.HostNetwork = true
		spec.Containers[0].Ports[0].ContainerPort, spec.Containers[0].Ports[0].HostPort = port, port
	}
}

// healthyOnNodes waits until n pods of web are healthy at the addresses of their nodes.
func (e *env) healthyOnNodes(group target.ARN, port int32, n int) {
	e.Helper()
	e.eventually("node addresses", func() error {
		var want []string
		for _, pod := range e.list("web") {
			if pod.Spec.NodeName != "" {
				want = append(want, fmt.Sprintf("%s:%d", shared.Nodes.Node(pod.Spec.NodeName).Address(), port))
			}
		}
		return same(e.registered(group), want, n)
	})
	e.health(group, target.Healthy, n)
}

func TestBehaviour07_HostNetworkPodsRegisterTheirNode(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	port, network := onNodes()
	e.served(group, 2, network)
	e.controller()
	e.healthyOnNodes(group, port, 2)
}

// Two endpoints with one address and port, in two slices, of which one goes.
func TestBehaviour07_SameAddressIsOneTarget(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.selectorless("web")
	one := e.slice("web", nil, "10.200.0.1")
	e.slice("web", nil, "10.200.0.1", "10.200.0.2")
	e.binding("web", "web", group)
	e.controller()
	e.inStepWith(group, []string{"10.200.0.1:9090", "10.200.0.2:9090"})

	e.delete(one)
	e.slice("web", nil, "10.200.0.3") // what comes later shows that the former was seen
	e.inStepWith(group, []string{"10.200.0.1:9090", "10.200.0.2:9090", "10.200.0.3:9090"})
	if calls := e.calls(group, "DeregisterTargets"); len(calls) > 0 {
		t.Errorf("a target that is still wanted was deregistered: %+v", calls)
	}
}

func TestBehaviour08_MissingServiceHoldsTargets(t *testing.T) {
	e := newEnv(t)
	group := e.group(func(g *elbsim.SeedGroup) { g.Targets = []string{"10.200.0.9:80"} })
	e.deployment("web", 1)
	e.binding("web", "web", group)
	e.controller("--sweep-interval=1s")
	c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.ServiceNotFound)
	e.contains(c.Message, `Service "web" does not exist`, "create it", "no target is deregistered")
	e.event("web", string(target.ServiceNotFound), "create it")
	e.condition("web", v1beta1.ConditionTargetsHeld, metav1.ConditionTrue, target.ServiceNotFound)
	e.looks(group, 2)
	if writes := e.writes(group); len(writes) > 0 {
		t.Errorf("calls were made without a Service: %+v", writes)
	}
	e.service("web")
	e.inStep(group, "web", 1)
}

func TestBehaviour08_DeletedServiceTakesItsTargetsAlong(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 2)
	service := e.service("web")
	e.binding("web", "web", group)
	e.controller()
	e.inStep(group, "web", 2)

	e.delete(service)
	e.inStepWith(group, nil)
	c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.ServiceDeleted)
	e.contains(c.Message, "was deleted", "create it again, or delete the binding")
	e.event("web", string(target.ServiceDeleted), "was deleted")
	e.service("web")
	e.inStep(group, "web", 2)
}

func TestBehaviour08_MissingPortHoldsTargets(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	web := e.deployment("web", 2)
	service := e.service("web")
	e.binding("web", "web", group)
	e.controller("--sweep-interval=1s")
	e.inStep(group, "web", 2)

	update(e, service, func(s *corev1.Service) { s.Spec.Ports[0].Port = 8000 })
	c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.PortNotFound)
	e.contains(c.Message, `no port "80"`, "8000 http", "correct the binding's port")
	e.event("web", string(target.PortNotFound), "correct the binding's port")
	e.condition("web", v1beta1.ConditionTargetsHeld, metav1.ConditionTrue, target.PortNotFound)
	e.looks(group, 2)
	if calls := e.calls(group, "DeregisterTargets"); len(calls) > 0 {
		t.Errorf("targets were deregistered although the port is only unknown: %+v", calls)
	}
	update(e, service, func(s *corev1.Service) { s.Spec.Ports[0].Port = 80 })
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	e.scale(web, 1)
	e.inStep(group, "web", 1)
}

func TestBehaviour09_NoPodReadyHoldsTargets(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	web := e.served(group, 2)
	e.controller()
	e.inStep(group, "web", 2)
	held := e.registered(group)

	// One after the other: the first goes as usual, the last stays.
	pods := e.list("web")
	e.ready(&pods[0], false)
	e.inStep(group, "web", 1)
	e.ready(&pods[1], false)
	e.condition("web", v1beta1.ConditionTargetsHeld, metav1.ConditionTrue, target.NoPodReady)
	e.event("web", string(target.Held), string(target.NoPodReady))
	if now := e.registered(group); len(now) != 1 || !slices.Contains(held, now[0]) {
		t.Errorf("have %v, want the last target held", now)
	}
	if status := e.status("web"); status.Held != 1 || status.Desired != 0 || status.Registered != 1 {
		t.Errorf("the status counts %+v", status)
	}
	e.scale(web, 0)
	e.inStepWith(group, nil)
	e.condition("web", v1beta1.ConditionTargetsHeld, metav1.ConditionFalse, target.Synced)
}

// A node loses its power. The pods on it are held or leave, as the bindings say;
// others stay in any case.
func TestBehaviour10_SilentNode(t *testing.T) {
	e := newEnv(t)
	// The scheduler must never see it free: pods of other tests would die on it.
	name := e.namespace + "-doomed"
	e.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Unschedulable: true}})
	doomed, err := shared.Nodes.Add(e.ctx, node.Spec{Name: name, Zone: "us-east-1a"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = doomed.Remove(context.WithoutCancel(e.ctx)) })
	groups := map[string]target.ARN{}
	for _, policy := range []v1beta1.NodeNotReady{v1beta1.NodeNotReadyHold, v1beta1.NodeNotReadyDeregister} {
		name := map[v1beta1.NodeNotReady]string{v1beta1.NodeNotReadyHold: "hold", v1beta1.NodeNotReadyDeregister: "leave"}[policy]
		groups[name] = e.group(func(g *elbsim.SeedGroup) { g.Name = name })
		shop := func(d *appsv1.Deployment) { d.Spec.Template.Labels["service"] = name }
		e.deployment(name+"-safe", 1, shop)
		e.deployment(name+"-doomed", 1, shop, func(d *appsv1.Deployment) { d.Spec.Template.Spec.NodeName = doomed.Name() })
		service := e.service(name)
		update(e, service, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"service": name} })
		e.binding(name, name, groups[name], func(b *v1beta1.TargetGroupBinding) { b.Spec.NodeNotReady = policy })
	}
	e.controller()
	both := map[string][]string{}
	for name, group := range groups {
		e.eventually("both pods of "+name, func() error {
			both[name] = append(e.pods(name+"-safe"), e.pods(name+"-doomed")...)
			return same(e.registered(group), both[name], 2)
		})
	}
	doomed.PowerOff()
	e.eventually("the dead pod leaves where it is to", func() error {
		return same(e.registered(groups["leave"]), e.pods("leave-safe"), 1)
	})
	e.condition("hold", v1beta1.ConditionTargetsHeld, metav1.ConditionTrue, target.NodeNotReady)
	if err := same(e.registered(groups["hold"]), both["hold"], 2); err != nil {
		t.Error(err)
	}
}
