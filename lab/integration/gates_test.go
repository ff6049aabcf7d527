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
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// gatedBy gives pods the gates of bindings.
func gatedBy(bindings ...string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		for _, binding := range bindings {
			d.Spec.Template.Spec.ReadinessGates = append(d.Spec.Template.Spec.ReadinessGates,
				corev1.PodReadinessGate{ConditionType: v1beta1.ReadinessGateOf(binding)})
		}
	}
}

func podCondition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
	if i < 0 {
		return corev1.PodCondition{}
	}
	return pod.Status.Conditions[i]
}

// gateOf waits until all n pods of app say the same at the gate of a binding, and
// gives the first one's condition.
func (e *env) gateOf(app, binding string, n int, status corev1.ConditionStatus, reason target.Reason) corev1.PodCondition {
	e.Helper()
	var found corev1.PodCondition
	e.eventually(fmt.Sprintf("gate %s of %s is %s (%s)", binding, app, status, reason), func() error {
		pods := e.list(app)
		if len(pods) != n {
			return fmt.Errorf("%d pods", len(pods))
		}
		for i := range slices.Backward(pods) {
			found = podCondition(&pods[i], v1beta1.ReadinessGateOf(binding))
			if found.Status != status || found.Reason != string(reason) {
				return fmt.Errorf("%s has %+v", pods[i].Name, pods[i].Status.Conditions)
			}
		}
		return nil
	})
	return found
}

// slowly registers targets, so that what comes before can be seen.
func slowly(s *elbsim.Settings) { s.ALBRegistration = elbsim.Duration(3 * time.Second) }

// surge rolls a Deployment by one pod more than it needs.
func surge(d *appsv1.Deployment) {
	d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(0))}
}

// A Deployment of two pods is rolled. With gates the group has two healthy targets
// all the time; without it would have none, or the test would prove nothing.
func TestGatedDeploymentRollsWithoutLackOfHealthyTargets(t *testing.T) {
	for _, c := range []struct {
		name  string
		gates []string
		least func(healthy int) bool
	}{
		{"with gates", []string{"web"}, func(healthy int) bool { return healthy >= 2 }},
		{"without", nil, func(healthy int) bool { return healthy < 2 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEnv(t, slowly)
			group := e.group()
			web := e.served(group, 2, surge, gatedBy(c.gates...))
			e.controller()
			e.inStep(group, "web", 2)
			e.health(group, target.Healthy, 2)
			before := e.registered(group)

			update(e, web, func(d *appsv1.Deployment) { d.Spec.Template.Annotations = map[string]string{"roll": "1"} })
			least := 2
			e.eventually("all pods replaced", func() error {
				least = min(least, e.healthy(group))
				return errors.Join(noneOf(e.registered(group), before), same(e.registered(group), e.pods("web"), 2))
			})
			if !c.least(least) {
				t.Errorf("at one time only %d targets were healthy", least)
			}
		})
	}
}

func (e *env) healthy(group target.ARN) int {
	n := 0
	for _, t := range e.targets(group) {
		if t.State == target.Healthy {
			n++
		}
	}
	return n
}

func TestBehaviour22_GateSaysWhatTheLoadBalancerSays(t *testing.T) {
	e := newEnv(t, slowly)
	group := e.group()
	e.deployment("web", 2, gatedBy("web"))
	e.deployment("plain", 1, func(d *appsv1.Deployment) { d.Spec.Template.Labels["service"] = "web" })
	e.service("web")
	e.binding("web", "web", group)
	p := e.controller("--sweep-interval=1s")
	c := e.gateOf("web", "web", 2, corev1.ConditionFalse, "Elb.RegistrationInProgress")
	e.contains(c.Message, "target 10.", "is initial", "registration is in progress")
	c = e.gateOf("web", "web", 2, corev1.ConditionTrue, target.TargetHealthy)
	e.contains(c.Message, "is healthy")
	e.inStep(group, "web", 2)
	e.metric(p, `tgc_gate_open_seconds_count{reason="TargetHealthy"} 2`)

	// Behaviour 24: open gates stay open. Behaviour 23: others have none.
	for _, pod := range e.list("web") {
		e.override(group, pod.Status.PodIP, target.Unhealthy)
	}
	e.looks(group, 2)
	e.gateOf("web", "web", 2, corev1.ConditionTrue, target.TargetHealthy)
	plain := e.list("plain")[0]
	for _, condition := range plain.Status.Conditions {
		if strings.Contains(string(condition.Type), v1beta1.GroupName) {
			t.Errorf("a pod without a gate got %+v", condition)
		}
	}
	e.kubeletUndisturbed("web")
}

// kubeletUndisturbed fails unless all conditions of the kubelet are there and as a
// kubelet has them.
func (e *env) kubeletUndisturbed(app string) {
	e.Helper()
	for _, pod := range e.list(app) {
		for _, kind := range []corev1.PodConditionType{
			corev1.PodScheduled, corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady,
		} {
			if c := podCondition(&pod, kind); c.Status != corev1.ConditionTrue || c.LastTransitionTime.IsZero() {
				e.Errorf("%s: %s is %+v", pod.Name, kind, c)
			}
		}
		if n := len(pod.Status.ContainerStatuses); n != len(pod.Spec.Containers) || pod.Status.Phase != corev1.PodRunning {
			e.Errorf("%s has %d container statuses and phase %s", pod.Name, n, pod.Status.Phase)
		}
	}
}

// override forces the health of a target.
func (e *env) override(group target.ARN, ip string, state target.State) {
	e.Helper()
	key, err := target.ParseKey(ip + ":8080")
	if err == nil {
		err = e.sim.Override(group, key, state)
	}
	if err != nil {
		e.Fatal(err)
	}
}

func TestBehaviour22_GateOfAnUnhealthyPodStaysClosedAndSaysWhy(t *testing.T) {
	e := newEnv(t)
	group := e.group(func(g *elbsim.SeedGroup) { g.HealthCheck.Matcher = "404" })
	e.served(group, 1, gatedBy("web"))
	e.controller()
	c := e.gateOf("web", "web", 1, corev1.ConditionFalse, "Target.ResponseCodeMismatch")
	e.contains(c.Message, "is unhealthy", "Health checks failed with these codes: [200]")
	if ready := e.pods("web"); len(ready) > 0 {
		t.Errorf("%v is ready", ready)
	}
	if reason := e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced); !strings.Contains(reason.Message, "readiness gates closed: 1") {
		t.Errorf("the binding says %q", reason.Message)
	}
}

// One pod in two groups has a gate for each.
func TestBehaviour25_GatesOfTwoGroupsAreIndependent(t *testing.T) {
	e := newEnv(t)
	good := e.group(func(g *elbsim.SeedGroup) { g.Name = "good" })
	bad := e.group(func(g *elbsim.SeedGroup) { g.Name, g.HealthCheck.Matcher = "bad", "404" })
	e.deployment("web", 1, gatedBy("good", "bad"))
	e.service("web")
	e.binding("good", "web", good)
	e.binding("bad", "web", bad)
	e.controller()
	e.gateOf("web", "good", 1, corev1.ConditionTrue, target.TargetHealthy)
	e.gateOf("web", "bad", 1, corev1.ConditionFalse, "Target.ResponseCodeMismatch")
	e.gateOf("web", "good", 1, corev1.ConditionTrue, target.TargetHealthy)
	if ready := e.pods("web"); len(ready) > 0 {
		t.Errorf("%v is ready", ready)
	}
}

func TestBehaviour27_GateOpensWhereNothingCanBecomeHealthy(t *testing.T) {
	t.Run("group not in use", func(t *testing.T) {
		e := newEnv(t)
		group := e.group(func(g *elbsim.SeedGroup) { g.LoadBalancer = "" })
		e.served(group, 1, gatedBy("web"))
		e.controller()
		c := e.gateOf("web", "web", 1, corev1.ConditionTrue, target.TargetGroupNotInUse)
		e.contains(c.Message, "no load balancer sends to target")
		e.event(e.list("web")[0].Name, string(target.TargetGroupNotInUse), "no load balancer sends")
		e.inStep(group, "web", 1)
	})
	t.Run("binding deleted while the pod waits", func(t *testing.T) {
		e := newEnv(t)
		group := e.group(func(g *elbsim.SeedGroup) { g.HealthCheck.Matcher = "404" })
		e.deployment("web", 1, gatedBy("web"))
		e.service("web")
		binding := e.binding("web", "web", group)
		e.controller()
		e.gateOf("web", "web", 1, corev1.ConditionFalse, "Target.ResponseCodeMismatch")
		e.delete(binding)
		e.gateOf("web", "web", 1, corev1.ConditionTrue, target.BindingDeleted)
		e.event(e.list("web")[0].Name, string(target.BindingDeleted), "is being deleted")
	})
	t.Run("no binding of that name", func(t *testing.T) {
		e := newEnv(t)
		e.deployment("web", 1, gatedBy("nosuch"))
		e.deployment("flags", 1, gatedBy("service/elsewhere"))
		e.controller()
		c := e.gateOf("web", "nosuch", 1, corev1.ConditionTrue, target.BindingNotFound)
		e.contains(c.Message, "there is no binding")
		e.eventually("the pod ready", func() error { return same(e.pods("web"), e.pods("web"), 1) })
		e.kubeletUndisturbed("web")
		// That gate is another controller's to answer.
		if pod := e.list("flags")[0]; podCondition(&pod, v1beta1.ReadinessGateOf("service/elsewhere")).Status != "" {
			t.Errorf("the gate of another controller's binding was answered: %+v", pod.Status.Conditions)
		}
	})
	t.Run("group does not exist", func(t *testing.T) {
		e := newEnv(t)
		group := e.group()
		e.deployment("web", 1, gatedBy("web"))
		e.service("web")
		e.binding("web", "web", group, func(b *v1beta1.TargetGroupBinding) {
			b.Spec.TargetGroupARN = strings.Replace(b.Spec.TargetGroupARN, ":targetgroup/", ":targetgroup/not-", 1)
		})
		e.controller()
		e.gateOf("web", "web", 1, corev1.ConditionTrue, target.TargetGroupNotFound)
	})
}

// What somebody can mend keeps the gate closed, with the reason: the pod would get
// no traffic.
func TestGateStaysClosedWhileItsBindingCannotBeCarriedOut(t *testing.T) {
	t.Run("port not found", func(t *testing.T) {
		e := newEnv(t)
		group := e.group()
		e.deployment("web", 1, gatedBy("web"))
		service := e.service("web", corev1.ServicePort{Name: "http", Port: 81, TargetPort: intstr.FromString("http")})
		e.binding("web", "web", group)
		e.controller()
		c := e.gateOf("web", "web", 1, corev1.ConditionFalse, target.PortNotFound)
		e.contains(c.Message, `no port "80"`)
		update(e, service, func(s *corev1.Service) { s.Spec.Ports[0].Port = 80 })
		e.gateOf("web", "web", 1, corev1.ConditionTrue, target.TargetHealthy)
	})
	for _, action := range []string{"DescribeTargetHealth", "RegisterTargets"} {
		t.Run("access denied to "+action, func(t *testing.T) {
			e := newEnv(t, func(s *elbsim.Settings) { s.Deny = []string{action} })
			e.served(e.group(), 1, gatedBy("web"))
			e.controller()
			e.gateOf("web", "web", 1, corev1.ConditionFalse, target.AccessDenied)
		})
	}
	t.Run("not selected by the Service", func(t *testing.T) {
		e := newEnv(t)
		group := e.group()
		e.deployment("web", 1, gatedBy("web"))
		service := e.service("web")
		update(e, service, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "other"} })
		e.binding("web", "web", group)
		e.controller()
		c := e.gateOf("web", "web", 1, corev1.ConditionFalse, target.NotAnEndpoint)
		e.contains(c.Message, "correct the Service's selector")
		update(e, service, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "web"} })
		e.gateOf("web", "web", 1, corev1.ConditionTrue, target.TargetHealthy)
	})
}

func TestBehaviour29_GateOfALongBindingName(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	name := "long." + strings.Repeat(strings.Repeat("a", 60)+".", 4) + "z"
	e.deployment("web", 1, gatedBy(name))
	e.service("web")
	e.binding(name, "web", group)
	e.controller()
	e.gateOf("web", name, 1, corev1.ConditionTrue, target.TargetHealthy)
	e.inStep(group, "web", 1)
}

func TestGateOfAnAnnotatedService(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 1, gatedBy("service-web"))
	service := e.service("web")
	update(e, service, func(s *corev1.Service) {
		s.Annotations = map[string]string{v1beta1.AnnotationTargetGroupARN: group.String()}
	})
	e.controller()
	e.gateOf("web", "service-web", 1, corev1.ConditionTrue, target.TargetHealthy)
}

func TestGateOfABindingMadeOfFlags(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 1, gatedBy("service/web"))
	e.deployment("other", 1, gatedBy("other"))
	e.service("web")
	e.controller("--service=web", "--target-group-arn="+group.String(), "--leader-elect-namespace="+e.namespace)
	e.gateOf("web", "service/web", 1, corev1.ConditionTrue, target.TargetHealthy)
	e.inStep(group, "web", 1)
	if other := e.list("other")[0]; podCondition(&other, v1beta1.ReadinessGateOf("other")).Status != "" {
		t.Errorf("a gate that is not the flags' was answered: %+v", other.Status.Conditions)
	}
}

// byHand makes a pod that no node runs, with an address that a test chooses.
func (e *env) byHand(name, ip string, kind corev1.PodConditionType) *corev1.Pod {
	e.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name, Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			SchedulerName: "nobody", Containers: []corev1.Container{{Name: "web", Image: "lab.local/web", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}},
			ReadinessGates: []corev1.PodReadinessGate{{ConditionType: kind}},
		},
	}
	e.create(pod)
	now := metav1.Now()
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		Conditions: []corev1.PodCondition{
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: now},
		},
	}
	if err := shared.API.Status().Update(e.ctx, pod); err != nil {
		e.Fatal(err)
	}
	return pod
}

// endpoint makes a pod an endpoint of the Service web.
func (e *env) endpoint(pod *corev1.Pod) *discoveryv1.EndpointSlice {
	e.Helper()
	return e.slice("web", func(s *discoveryv1.EndpointSlice) {
		s.Ports[0].Port = new(int32(8080))
		s.Endpoints[0].TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: e.namespace, Name: pod.Name, UID: pod.UID}
	}, pod.Status.PodIP)
}

// healthyByHand makes a binding web of a Service with one pod by hand, whose target is
// healthy and whose gate is open.
func (e *env) healthyByHand(ip string) (target.ARN, *corev1.Pod, *discoveryv1.EndpointSlice) {
	e.Helper()
	group := e.group()
	e.selectorless("web")
	e.binding("web", "web", group)
	e.controller()
	pod := e.byHand("old", ip, v1beta1.ReadinessGateOf("web"))
	listed := e.endpoint(pod)
	e.inStepWith(group, []string{ip + ":8080"})
	e.override(group, ip, target.Healthy)
	e.gateOf("web", "web", 1, corev1.ConditionTrue, target.TargetHealthy)
	return group, pod, listed
}

// A pod gets the address of one whose target could not be deregistered, and which the
// load balancer goes on to call healthy.
func TestBehaviour28_GateOnAReusedAddressWaitsForItsOwnHealth(t *testing.T) {
	e := newEnv(t)
	gate := v1beta1.ReadinessGateOf("web")
	group, old, listed := e.healthyByHand("10.200.0.1")
	e.configure(func(s *elbsim.Settings) { s.Deny = []string{"DeregisterTargets"} })
	e.delete(old, client.GracePeriodSeconds(0))
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.AccessDenied)
	e.endpoint(e.byHand("new", "10.200.0.1", gate))
	e.delete(listed)
	e.gateOf("web", "web", 1, corev1.ConditionFalse, target.HealthUnconfirmed)
	e.health(group, target.Healthy, 1)
	e.gateOf("web", "web", 1, corev1.ConditionTrue, target.TargetHealthy)
	pod := e.list("web")[0]
	ready, open := podCondition(&pod, corev1.ContainersReady).LastTransitionTime, podCondition(&pod, gate).LastTransitionTime
	// Two checks, 5 s apart, of 4 s at most, and 10 s for which lists may lag.
	if waited := open.Sub(ready.Time); waited < 23*time.Second {
		t.Errorf("the gate was opened %v after the pod could serve, by the health of the pod before it", waited)
	}
}

// A new leader opens what the old one left closed, and registers nothing again.
func TestBehaviour39_RestartWhileAPodWaitsAtItsGate(t *testing.T) {
	e := newEnv(t)
	group := e.group(func(g *elbsim.SeedGroup) { g.HealthCheck.Matcher = "404" })
	e.served(group, 2, gatedBy("web"))
	p := e.controller()
	e.gateOf("web", "web", 2, corev1.ConditionFalse, "Target.ResponseCodeMismatch")
	p.Kill()
	registrations := len(e.writes(group))
	for _, pod := range e.list("web") {
		e.override(group, pod.Status.PodIP, target.Healthy)
	}
	e.controllerWith(rig.ProcessOptions{Args: []string{"--leader-elect=false"}})
	e.gateOf("web", "web", 2, corev1.ConditionTrue, target.TargetHealthy)
	e.inStep(group, "web", 2)
	if writes := e.writes(group); len(writes) != registrations {
		t.Errorf("the new leader called %+v", writes[registrations:])
	}
}

// How the API server takes the writes of gates.
func TestWritesOfGates(t *testing.T) {
	e := newEnv(t)
	kind := v1beta1.ReadinessGateOf("web")
	gate := func(open bool, reason target.Reason) []report.Gate {
		return []report.Gate{{Type: string(kind), Condition: report.Condition{True: open, Reason: reason, Message: "as told"}}}
	}
	write := func(pod *corev1.Pod, gates []report.Gate) error {
		return kube.WriteGates(e.ctx, shared.API, pod, gates, time.Now())
	}
	first := e.byHand("web", "10.200.0.1", kind)
	if err := write(first, gate(false, "Elb.InitialHealthChecking")); err != nil {
		t.Fatal(err)
	}
	closed := e.list("web")[0]
	if got := podCondition(&closed, kind); got.Status != corev1.ConditionFalse || got.Reason != "Elb.InitialHealthChecking" || len(closed.Status.Conditions) != 3 {
		t.Errorf("got %+v", closed.Status.Conditions)
	}
	// Somebody else, such as the kubelet, writes meanwhile.
	touch := client.RawPatch(types.StrategicMergePatchType, []byte(`{"status":{"conditions":[{"type":"Ready","status":"False","reason":"Touched"}]}}`))
	if err := shared.API.Status().Patch(e.ctx, closed.DeepCopy(), touch); err != nil {
		t.Fatal(err)
	}
	if err := write(&closed, gate(false, "Target.Timeout")); !apierrors.IsConflict(err) {
		t.Errorf("a gate was closed that may have been opened meanwhile: %v", err)
	}
	if err := write(&closed, gate(true, target.TargetHealthy)); err != nil {
		t.Errorf("a gate could not be opened: %v", err)
	}
	open := e.list("web")[0]
	if podCondition(&open, kind).Status != corev1.ConditionTrue || podCondition(&open, corev1.PodReady).Reason != "Touched" {
		t.Errorf("got %+v", open.Status.Conditions)
	}
	// Another pod has the name by now, or none.
	e.delete(&open, client.GracePeriodSeconds(0))
	if err := write(&open, gate(true, target.TargetHealthy)); !apierrors.IsNotFound(err) {
		t.Errorf("vanished pod: got %v", err)
	}
	second := e.byHand("web", "10.200.0.2", kind)
	if err := write(&open, gate(true, target.TargetHealthy)); !apierrors.IsNotFound(err) {
		t.Errorf("another pod of the name: got %v", err)
	}
	if now := e.list("web")[0]; now.UID != second.UID || podCondition(&now, kind).Status != "" {
		t.Errorf("the other pod got %+v", now.Status.Conditions)
	}
}
