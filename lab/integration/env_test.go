package integration

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// patience bounds every wait for a condition. It is no expectation of speed: a
// test that needs it fails.
const patience = 10 * time.Minute

// env is a test's own corner of the rig: a namespace and a simulator.
type env struct {
	*testing.T
	ctx       context.Context
	namespace string
	sim       *elbsim.Running
}

var namespaces atomic.Int64

// newEnv makes an env whose test runs beside the others. The simulator is AWS as
// documented, without latency, unless change says otherwise.
func newEnv(t *testing.T, change ...func(*elbsim.Settings)) *env {
	t.Helper()
	t.Parallel()
	return newEnvAlone(t, change...)
}

// newEnvAlone makes an env whose test runs alone, for what would disturb others.
func newEnvAlone(t *testing.T, change ...func(*elbsim.Settings)) *env {
	t.Helper()
	settings := elbsim.DefaultSettings()
	for _, c := range change {
		c(&settings)
	}
	return newEnvWith(t, elbsim.Options{Settings: &settings})
}

// newEnvWith makes an env whose simulator is made from these options.
func newEnvWith(t *testing.T, options elbsim.Options) *env {
	t.Helper()
	sim, err := rig.StartSimulator(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Stop(); err != nil {
			t.Error(err)
		}
	})
	e := &env{T: t, ctx: t.Context(), namespace: fmt.Sprintf("test-%d", namespaces.Add(1)), sim: sim}
	if err := shared.Namespace(e.ctx, e.namespace); err != nil {
		t.Fatal(err)
	}
	return e
}

// configure changes how the simulator behaves from now on.
func (e *env) configure(change func(*elbsim.Settings)) {
	e.Helper()
	settings := e.sim.Settings()
	change(&settings)
	if err := e.sim.Configure(settings); err != nil {
		e.Fatal(err)
	}
}

// fault puts a fault in force and gives what ends it.
func (e *env) fault(fault elbsim.Fault) (end func()) {
	e.Helper()
	placed, err := e.sim.AddFault(fault)
	if err != nil {
		e.Fatal(err)
	}
	return func() { e.sim.RemoveFault(placed.ID) }
}

// group makes a target group behind a load balancer, with quick health checks.
func (e *env) group(change ...func(*elbsim.SeedGroup)) target.ARN {
	e.Helper()
	g := elbsim.SeedGroup{
		Name: e.namespace, Protocol: "HTTP", Port: 80, LoadBalancer: e.namespace,
		HealthCheck: elbsim.SeedCheck{Path: "/readyz", Interval: elbsim.Duration(5 * time.Second)},
	}
	for _, c := range change {
		c(&g)
	}
	arn, err := e.sim.PlantGroup(g)
	if err != nil {
		e.Fatal(err)
	}
	return arn
}

// controller starts tgc for the test's namespace. It is stopped with the test,
// and its log is shown if the test fails.
func (e *env) controller(args ...string) *rig.Process {
	e.Helper()
	return e.controllerWith(rig.ProcessOptions{Args: args})
}

func (e *env) controllerWith(options rig.ProcessOptions) *rig.Process {
	e.Helper()
	options.Args = append([]string{"--namespace=" + e.namespace, "--log-format=text"}, options.Args...)
	options.Env = append([]string{"AWS_ENDPOINT_URL=" + e.sim.Endpoint}, options.Env...)
	p, err := shared.Controller(context.WithoutCancel(e.ctx), options)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		p.Stop()
		if e.Failed() {
			e.Logf("log of tgc:\n%s", p.Log())
		}
		if strings.Contains(p.Log(), "DATA RACE") || strings.Contains(p.Log(), "panic:") {
			e.Errorf("tgc broke:\n%s", p.Log())
		}
	})
	return p
}

// deployment makes a Deployment of web servers; change may alter it.
func (e *env) deployment(name string, replicas int32, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	e.Helper()
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "web", Image: "lab.local/web",
					Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
					ReadinessProbe: &corev1.Probe{
						ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromString("http")}},
						PeriodSeconds: 1, TimeoutSeconds: 60, // it fails by an answer, however busy the machine is
					},
				}}},
			},
		},
	}
	for _, c := range change {
		c(d)
	}
	e.create(d)
	return d
}

// service makes a Service for the pods of a Deployment of the same name.
func (e *env) service(name string, ports ...corev1.ServicePort) *corev1.Service {
	e.Helper()
	if len(ports) == 0 {
		ports = []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}
	}
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: ports},
	}
	e.create(s)
	return s
}

// binding makes a TargetGroupBinding of a Service's port 80.
func (e *env) binding(name, service string, group target.ARN, change ...func(*v1beta1.TargetGroupBinding)) *v1beta1.TargetGroupBinding {
	e.Helper()
	b := &v1beta1.TargetGroupBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name},
		Spec: v1beta1.TargetGroupBindingSpec{
			TargetGroupARN: group.String(),
			ServiceRef:     v1beta1.ServiceReference{Name: service, Port: intstr.FromInt32(80)},
		},
	}
	for _, c := range change {
		c(b)
	}
	e.create(b)
	return b
}

// served makes pods of web, their Service, and a binding by which they are to be in a
// group; change may alter the Deployment.
func (e *env) served(group target.ARN, replicas int32, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	e.Helper()
	web := e.deployment("web", replicas, change...)
	e.service("web")
	e.binding("web", "web", group)
	return web
}

// bindingNamed is a binding to be read, or to be deleted.
func (e *env) bindingNamed(name string) *v1beta1.TargetGroupBinding {
	return &v1beta1.TargetGroupBinding{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name}}
}

// unbind deletes a binding and waits until it is gone.
func (e *env) unbind(name string) {
	e.Helper()
	binding := e.bindingNamed(name)
	e.delete(binding)
	e.eventually("the binding is gone", func() error { return gone(e, binding) })
}

func (e *env) create(object client.Object) {
	e.Helper()
	if err := shared.API.Create(e.ctx, object); err != nil {
		e.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}

func (e *env) delete(object client.Object, options ...client.DeleteOption) {
	e.Helper()
	if err := shared.API.Delete(e.ctx, object, options...); err != nil {
		e.Fatalf("delete %T %s: %v", object, object.GetName(), err)
	}
}

// update reads an object, changes it and writes it, again if it was changed meanwhile.
func update[T client.Object](e *env, object T, change func(T)) {
	e.Helper()
	e.eventually("update "+object.GetName(), func() error {
		if err := shared.API.Get(e.ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return shared.API.Update(e.ctx, object)
	})
}

func (e *env) scale(d *appsv1.Deployment, replicas int32) {
	e.Helper()
	update(e, d, func(d *appsv1.Deployment) { d.Spec.Replicas = &replicas })
}

// eventually waits until a condition holds, and fails with its last error.
func (e *env) eventually(what string, holds func() error) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			e.Fatalf("%s: %v", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// registered lists the addresses with ports that are in a group and do not drain.
func (e *env) registered(group target.ARN) []string {
	var list []string
	for _, t := range e.targets(group) {
		if t.State != target.Draining {
			list = append(list, t.Target)
		}
	}
	slices.Sort(list)
	return list
}

func (e *env) targets(group target.ARN) []elbsim.TargetState {
	for _, g := range e.sim.Groups() {
		if g.ARN == group.String() {
			return g.Targets
		}
	}
	return nil
}

// list gives all pods with a label app.
func (e *env) list(name string) []corev1.Pod {
	e.Helper()
	var list corev1.PodList
	if err := shared.API.List(e.ctx, &list, client.InNamespace(e.namespace), client.MatchingLabels{"app": name}); err != nil {
		e.Fatal(err)
	}
	return list.Items
}

// pods lists the ready, staying pods with a label app, as address:8080.
func (e *env) pods(name string) []string {
	e.Helper()
	var addresses []string
	for _, pod := range e.list(name) {
		if pod.DeletionTimestamp == nil && podReady(&pod) {
			addresses = append(addresses, pod.Status.PodIP+":8080")
		}
	}
	slices.Sort(addresses)
	return addresses
}

func podReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// inStep waits until exactly n pods of app are ready, and exactly these registered.
func (e *env) inStep(group target.ARN, name string, n int) {
	e.Helper()
	e.eventually(fmt.Sprintf("%d pods of %s registered", n, name), func() error {
		pods, targets := e.pods(name), e.registered(group)
		if len(pods) != n || !slices.Equal(pods, targets) {
			return fmt.Errorf("ready pods %v, registered targets %v", pods, targets)
		}
		return nil
	})
}

// inStepByIPv6 waits until n pods of app are registered by their IPv6 addresses, and
// nothing else is.
func (e *env) inStepByIPv6(group target.ARN, name string, n int) {
	e.Helper()
	e.eventually("IPv6 targets", func() error {
		var want []string
		for _, pod := range e.list(name) {
			for _, ip := range pod.Status.PodIPs {
				if addr := netip.MustParseAddr(ip.IP); addr.Is6() {
					want = append(want, netip.AddrPortFrom(addr, 8080).String())
				}
			}
		}
		return same(e.registered(group), want, n)
	})
}

// condition waits until a binding's condition has a status and a reason, and gives it.
func (e *env) condition(binding, kind string, status metav1.ConditionStatus, reason target.Reason) metav1.Condition {
	e.Helper()
	var found metav1.Condition
	e.eventually(fmt.Sprintf("condition %s=%s (%s) of %s", kind, status, reason, binding), func() error {
		var b v1beta1.TargetGroupBinding
		if err := shared.API.Get(e.ctx, client.ObjectKey{Namespace: e.namespace, Name: binding}, &b); err != nil {
			return err
		}
		c := meta.FindStatusCondition(b.Status.Conditions, kind)
		if c == nil || c.Status != status || c.Reason != string(reason) {
			return fmt.Errorf("have %+v", b.Status.Conditions)
		}
		found = *c
		return nil
	})
	return found
}

// event waits for an event on an object with a reason whose note contains words.
func (e *env) event(object, reason, words string) eventsv1.Event {
	e.Helper()
	var found eventsv1.Event
	e.eventually(fmt.Sprintf("event %s on %s with %q", reason, object, words), func() error {
		var list eventsv1.EventList
		if err := shared.API.List(e.ctx, &list, client.InNamespace(e.namespace)); err != nil {
			return err
		}
		var notes []string
		for _, event := range list.Items {
			if event.Regarding.Name == object && event.Reason == reason && strings.Contains(event.Note, words) {
				found = event
				return nil
			}
			notes = append(notes, event.Regarding.Name+": "+event.Reason+": "+event.Note)
		}
		return fmt.Errorf("have %s", strings.Join(notes, "\n"))
	})
	return found
}

// calls lists the calls about a group with one of the actions.
func (e *env) calls(group target.ARN, actions ...string) []elbsim.Call {
	return slices.DeleteFunc(e.sim.Calls(), func(c elbsim.Call) bool {
		return c.Group != group.String() || !slices.Contains(actions, c.Action)
	})
}

// writes lists the calls that change a group.
func (e *env) writes(group target.ARN) []elbsim.Call {
	return e.calls(group, "RegisterTargets", "DeregisterTargets")
}

// looks waits until the group was listed n more times from now on, so that the
// controller had every occasion to do what a test says it must not do.
func (e *env) looks(group target.ARN, n int) {
	e.Helper()
	answered := func() int {
		return len(slices.DeleteFunc(e.calls(group, "DescribeTargetHealth"), func(c elbsim.Call) bool { return c.Code != elbsim.CodeOK }))
	}
	before := answered()
	e.eventually(fmt.Sprintf("%d more looks at the group", n), func() error {
		if got := answered() - before; got < n {
			return fmt.Errorf("have %d", got)
		}
		return nil
	})
}

// health waits until all targets that do not drain are in a state, n of them.
func (e *env) health(group target.ARN, state target.State, n int) {
	e.Helper()
	e.eventually(fmt.Sprintf("%d targets %s", n, state), func() error {
		var states []target.State
		for _, t := range e.targets(group) {
			if t.State != target.Draining {
				states = append(states, t.State)
			}
		}
		if len(states) != n || slices.ContainsFunc(states, func(s target.State) bool { return s != state }) {
			return fmt.Errorf("have %v", states)
		}
		return nil
	})
}

// inStepWith waits until exactly these targets are registered.
func (e *env) inStepWith(group target.ARN, want []string) {
	e.Helper()
	e.eventually(fmt.Sprintf("targets %v", want), func() error { return same(e.registered(group), want, len(want)) })
}

// same tells whether two lists hold the same n strings, in any order.
func same(got, want []string, n int) error {
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if len(got) != n || !slices.Equal(got, want) {
		return fmt.Errorf("have %v, want %v, %d of them", got, want, n)
	}
	return nil
}

// noneOf tells whether no string of old is left in now, and now is not empty.
func noneOf(now, old []string) error {
	if len(now) == 0 || slices.ContainsFunc(now, func(s string) bool { return slices.Contains(old, s) }) {
		return fmt.Errorf("have %v, and %v should be gone", now, old)
	}
	return nil
}

// gone tells whether an object exists no more.
func gone(e *env, object client.Object) error {
	err := shared.API.Get(e.ctx, client.ObjectKeyFromObject(object), object)
	if err == nil {
		return fmt.Errorf("%s still exists", object.GetName())
	}
	return client.IgnoreNotFound(err)
}

// ready makes a pod's web server ready or not; the kubelet finds out by its probe.
func (e *env) ready(pod *corev1.Pod, ready bool) {
	e.Helper()
	update(e, pod, func(p *corev1.Pod) {
		if p.Annotations == nil {
			p.Annotations = map[string]string{}
		}
		p.Annotations[app.ReadyAnnotation] = fmt.Sprint(ready)
	})
}

// status reads a binding's status.
func (e *env) status(binding string) v1beta1.TargetGroupBindingStatus {
	e.Helper()
	var b v1beta1.TargetGroupBinding
	if err := shared.API.Get(e.ctx, client.ObjectKey{Namespace: e.namespace, Name: binding}, &b); err != nil {
		e.Fatal(err)
	}
	return b.Status
}

// metric waits until a line of the metrics page begins with the words and its
// value is above zero.
func (e *env) metric(p *rig.Process, words ...string) {
	e.Helper()
	e.eventually(fmt.Sprintf("metric %q", words), func() error {
		page, err := p.Metrics(e.ctx)
		if err != nil {
			return err
		}
		for line := range strings.Lines(page) {
			all := !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) })
			if all && !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, " 0\n") {
				return nil
			}
		}
		return errors.New("no such line above zero")
	})
}

// contains fails unless text contains all words.
func (e *env) contains(text string, words ...string) {
	e.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			e.Errorf("%q does not say %q", text, word)
		}
	}
}

// has gives an error unless text contains all words.
func has(text string, words ...string) error {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return fmt.Errorf("no %q in\n%s", word, text)
		}
	}
	return nil
}
