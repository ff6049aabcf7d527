package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// choosing makes a binding choose pods by a label app of its own instead of a Service.
func choosing(name string) func(*v1beta1.TargetGroupBinding) {
	return func(b *v1beta1.TargetGroupBinding) {
		b.Spec.ServiceRef = v1beta1.ServiceReference{}
		b.Spec.PodSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
		b.Spec.PodPort = intstr.FromString("http")
	}
}

// atRunning makes a binding register pods before they are ready.
func atRunning(b *v1beta1.TargetGroupBinding) { b.Spec.RegisterAt = v1beta1.RegisterAtRunning }

// selection makes a binding that chooses the pods of a Deployment.
func (e *env) selection(name string, group target.ARN, change ...func(*v1beta1.TargetGroupBinding)) {
	e.Helper()
	e.binding(name, "", group, append([]func(*v1beta1.TargetGroupBinding){choosing(name)}, change...)...)
}

// selected makes an env with a group in which n pods of web are by a selector.
func selected(t *testing.T, n int) (*env, target.ARN) {
	t.Helper()
	e := newEnv(t)
	group := e.group()
	e.deployment("web", int32(n))
	e.selection("web", group)
	e.controller()
	e.inStep(group, "web", n)
	return e, group
}

func TestBehaviour37_SelectedPodsAreFollowed(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	web := e.deployment("web", 2, lingering)
	e.deployment("other", 1)
	e.selection("web", group)
	e.controller()
	e.inStep(group, "web", 2)
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	e.scale(web, 3)
	e.inStep(group, "web", 3)

	// At its deletion, while it serves on.
	leaver := e.list("web")[0]
	e.delete(&leaver)
	e.inStep(group, "web", 3)
	if err := shared.API.Get(e.ctx, client.ObjectKeyFromObject(&leaver), &leaver); err != nil {
		t.Errorf("the pod should still have been serving when it was deregistered: %v", err)
	}
	e.delete(&leaver, client.GracePeriodSeconds(0))
	e.event("web", string(target.Deregistered), string(target.PodTerminating))

	// By force, of which there is no word before the pod is gone.
	forced := e.list("web")[1]
	e.delete(&forced, client.GracePeriodSeconds(0))
	e.inStep(group, "web", 3)
}

// All forms of selectors, and labels that change in a pod's life.
func TestBehaviour37_LabelsThatChange(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 2)
	e.selection("web", group, func(b *v1beta1.TargetGroupBinding) {
		b.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{
			{Key: "track", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"canary"}},
			{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"web", "api"}},
			{Key: "app", Operator: metav1.LabelSelectorOpExists},
			{Key: "legacy", Operator: metav1.LabelSelectorOpDoesNotExist},
		}
	})
	e.controller()
	e.inStep(group, "web", 2)
	pods := e.list("web")
	for key, value := range map[string]string{"track": "canary", "legacy": "yes"} {
		update(e, &pods[0], func(p *corev1.Pod) { p.Labels[key] = value })
		e.inStepWith(group, []string{pods[1].Status.PodIP + ":8080"})
		update(e, &pods[0], func(p *corev1.Pod) { delete(p.Labels, key) })
		e.inStep(group, "web", 2)
	}
}

// A pod that comes to be and one that goes while nobody looks.
func TestBehaviour37_MissedEvents(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	web := e.deployment("web", 3)
	e.selection("web", group)
	first := e.controller()
	e.inStep(group, "web", 3)
	first.Stop()
	for _, pod := range e.list("web")[:2] {
		e.delete(&pod, client.GracePeriodSeconds(0))
	}
	e.scale(web, 4)
	e.eventually("new pods", func() error {
		if n := len(e.pods("web")); n != 4 {
			return fmt.Errorf("%d are ready", n)
		}
		return nil
	})
	e.controller()
	e.inStep(group, "web", 4)
}

// Pods that are not ready, in a group that takes them when they run and in one that
// waits.
func TestBehaviour37_RegisterAtRunningOrReady(t *testing.T) {
	e := newEnv(t)
	early := e.group(func(g *elbsim.SeedGroup) { g.Name = "early" })
	late := e.group(func(g *elbsim.SeedGroup) { g.Name = "late" })
	e.deployment("web", 2, func(d *appsv1.Deployment) {
		d.Spec.Template.Annotations = map[string]string{app.ReadyAnnotation: "false"}
	})
	e.selection("web", early, atRunning)
	e.binding("late", "", late, choosing("web"))
	e.controller()
	e.eventually("running pods registered", func() error {
		var want []string
		for _, pod := range e.list("web") {
			want = append(want, pod.Status.PodIP+":8080")
		}
		return same(e.registered(early), want, 2)
	})
	e.event("web", string(target.Registered), string(target.PodRunning))
	e.health(early, target.Unhealthy, 2)
	e.condition("late", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	if got := e.registered(late); len(got) > 0 {
		t.Errorf("%v are registered before they are ready", got)
	}
	for _, pod := range e.list("web") {
		e.ready(&pod, true)
	}
	e.inStep(late, "web", 2)
	e.health(early, target.Healthy, 2)

	pod := e.list("web")[0]
	e.ready(&pod, false)
	e.inStep(late, "web", 1)
	if got := e.registered(early); len(got) != 2 {
		t.Errorf("%v are registered, and the pod that is not ready should be", got)
	}
}

// placed gives a pod that nobody runs an address on a node, and a phase.
func (e *env) placed(name, ip string, phase corev1.PodPhase, change func(*corev1.Pod)) *corev1.Pod {
	e.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: name, Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{SchedulerName: "nobody", Containers: []corev1.Container{{
			Name: "web", Image: "lab.local/web", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		}}},
	}
	if change != nil {
		change(pod)
	}
	e.create(pod)
	e.phase(pod, phase, func(s *corev1.PodStatus) {
		s.PodIP, s.PodIPs, s.HostIP, s.HostIPs = ip, []corev1.PodIP{{IP: ip}}, "10.200.1.1", []corev1.HostIP{{IP: "10.200.1.1"}}
	})
	return pod
}

// phase writes the phase of a pod that nobody runs.
func (e *env) phase(pod *corev1.Pod, phase corev1.PodPhase, change func(*corev1.PodStatus)) {
	e.Helper()
	pod.Status.Phase = phase
	change(&pod.Status)
	if err := shared.API.Status().Update(e.ctx, pod); err != nil {
		e.Fatal(err)
	}
}

func TestBehaviour37_PhasesAndPortsOfTheNode(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.selection("web", group, atRunning)
	e.controller()
	e.placed("pending", "10.200.0.1", corev1.PodPending, nil)
	ends := e.placed("ends", "10.200.0.2", corev1.PodRunning, nil)
	fails := e.placed("fails", "10.200.0.3", corev1.PodRunning, nil)
	e.placed("exposed", "10.200.0.4", corev1.PodRunning, func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].HostPort = 80 })
	e.placed("private", "10.200.0.5", corev1.PodRunning, func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports[0].HostPort, p.Spec.Containers[0].Ports[0].HostIP = 80, "127.0.0.1"
	})
	stays := []string{"10.200.1.1:80", "10.200.0.5:8080"}
	e.inStepWith(group, append([]string{"10.200.0.2:8080", "10.200.0.3:8080"}, stays...))
	e.phase(ends, corev1.PodSucceeded, func(*corev1.PodStatus) {})
	e.phase(fails, corev1.PodFailed, func(*corev1.PodStatus) {})
	e.inStepWith(group, stays)
	e.event("web", string(target.Deregistered), string(target.PodFinished))
}

func TestBehaviour07_SelectedPodsOnTheNetworkOfTheirNode(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	port, network := onNodes()
	e.deployment("web", 2, network)
	e.selection("web", group)
	e.controller()
	e.healthyOnNodes(group, port, 2)
}

func TestBehaviour06_SelectedPodsOfBothFamilies(t *testing.T) {
	e := newEnv(t, ulaInside)
	four := e.group(func(g *elbsim.SeedGroup) { g.Name = "four" })
	six := e.group(func(g *elbsim.SeedGroup) { g.Name, g.Family = "six", target.IPv6 })
	e.deployment("web", 2)
	e.binding("four", "", four, choosing("web"))
	e.binding("six", "", six, choosing("web"))
	e.controller()
	e.inStep(four, "web", 2)
	e.inStepByIPv6(six, "web", 2)
}

func TestBehaviour09_NoSelectedPodReadyHoldsTargets(t *testing.T) {
	e, group := selected(t, 2)
	// One after the other: the first goes as usual, the last stays.
	pods := e.list("web")
	e.ready(&pods[0], false)
	e.inStep(group, "web", 1)
	held := e.registered(group)
	e.ready(&pods[1], false)
	e.condition("web", v1beta1.ConditionTargetsHeld, metav1.ConditionTrue, target.NoPodReady)
	e.inStepWith(group, held)
}

func TestBehaviour08_PortThatNoSelectedPodHas(t *testing.T) {
	e, group := selected(t, 2)
	update(e, e.bindingNamed("web"), func(b *v1beta1.TargetGroupBinding) { b.Spec.PodPort = intstr.FromString("htpt") })
	c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.PortNotFound)
	e.contains(c.Message, `no container of the 2 pods that "app=web" chooses has a port named "htpt"`, "correct the binding's port", "no target is deregistered")
	e.inStep(group, "web", 2)
}

func TestBehaviour31_SelectionDeleted(t *testing.T) {
	e, group := selected(t, 2)
	e.unbind("web")
	e.inStepWith(group, nil)
}

// From a Service to a selector of the same pods nothing is to be called.
func TestBehaviour38_FromAServiceToASelector(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 2)
	service := e.service("web")
	b := e.binding("web", "web", group)
	e.controller("--sweep-interval=1s")
	e.inStep(group, "web", 2)
	before := len(e.writes(group))
	update(e, b, choosing("web"))
	e.eventually("seen", func() error {
		if s := e.status("web"); s.ObservedGeneration != b.Generation {
			return fmt.Errorf("generation %d of %d", s.ObservedGeneration, b.Generation)
		}
		return nil
	})
	e.delete(service)
	e.looks(group, 2)
	e.inStep(group, "web", 2)
	if after := len(e.writes(group)); after != before {
		t.Errorf("%d calls were made", after-before)
	}
}

// The gate is injected for the selector of the binding, holds a pod until it is
// healthy, and opens.
func TestBehaviour22_GatesOfASelection(t *testing.T) {
	if err := installPolicy(); err != nil {
		t.Fatal(err)
	}
	e := newEnv(t, slowly)
	e.deliver("policy")
	group := e.group()
	web := e.deployment("web", 1)
	e.controller()
	e.selection("web", group, asking(nil))
	e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool {
		return s.UngatedPods == 1 && s.ReadinessGate == string(v1beta1.ReadinessGateOf("web")) && s.PodSelector == nil
	})
	e.injected("web")
	old := e.list("web")[0]
	e.scale(web, 2)
	e.delete(&old)
	e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool { return s.UngatedPods == 0 })
	e.gateOf("web", "web", 2, corev1.ConditionTrue, target.TargetHealthy)
	e.inStep(group, "web", 2)
}

// A pod with the gate of a binding that does not choose it is told so.
func TestBehaviour22_GateOfASelectionThatDoesNotChooseThePod(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 1, gatedBy("other"))
	e.selection("other", group)
	e.controller()
	e.contains(e.gateOf("web", "other", 1, corev1.ConditionFalse, target.NotAnEndpoint).Message, "the binding's selector does not choose the pod")
}

func TestDrain_HoldOfASelection(t *testing.T) {
	if err := installPolicy(); err != nil {
		t.Fatal(err)
	}
	e := newEnv(t)
	e.deliver("policy")
	d := &draining{env: e, group: e.group(delaying("1")), times: times{hold: 3, late: 600, shutdown: 2}} // nobody waits for its deadline
	e.selection("web", d.group, d.times.of(v1beta1.DrainHold))
	d.process = e.controller("--drain-image=" + rig.Image)
	e.injected("web")
	d.asked("web", 1)
	d.serve(2)
	leaver := e.list("web")[0]
	e.delete(&leaver)
	at := d.deregistration(d.group, &leaver)
	d.says(&leaver, corev1.ConditionTrue, target.Deregistered)
	d.held(&leaver, at)
}

const onePodSelector = "../../config/rbac/pod-selector.yaml"

// Two target groups by flags, with no right to read anything but pods. No other pod than
// those of the selector comes over the wire.
func TestBehaviour37_SelectorByFlags(t *testing.T) {
	e := newEnv(t)
	one := e.group(func(g *elbsim.SeedGroup) { g.Name = "one" })
	two := e.group(func(g *elbsim.SeedGroup) { g.Name = "two" })
	web := e.deployment("web", 2)
	e.deployment("other", 1)
	heard, config := e.overheard(e.account(onePodSelector, "tgc"))
	p := e.controllerWith(rig.ProcessOptions{Config: config, Args: []string{
		"--pod-selector=app=web,track notin (canary)", "--port=http", "--register-at=Ready",
		"--target-group-arn=" + one.String(), "--target-group-name=two",
	}})
	e.inStepInAll(2, one, two)
	pods := e.list("web")
	update(e, &pods[0], func(p *corev1.Pod) { p.Labels["track"] = "canary" })
	e.inStepWith(one, []string{pods[1].Status.PodIP + ":8080"})
	e.inStepWith(two, []string{pods[1].Status.PodIP + ":8080"})
	e.scale(web, 0)
	e.inStepWith(one, nil)
	e.inStepWith(two, nil)
	if strings.Contains(p.Log(), "forbidden") || strings.Contains(p.Log(), "level=ERROR") {
		t.Error("the log complains")
	}
	lists := 0
	for _, u := range heard.asked() {
		switch {
		case strings.HasSuffix(u.Path, "/pods"):
			lists++
			if got := u.Query().Get("labelSelector"); got != "app=web,track notin (canary)" {
				t.Errorf("pods were asked for with the selector %q", got)
			}
		case strings.HasSuffix(u.Path, "/services"), strings.HasSuffix(u.Path, "/endpointslices"):
			t.Errorf("%s was asked for", u.Path)
		}
	}
	if lists == 0 {
		t.Error("no pods were asked for, so that nothing was shown")
	}
	if !heard.answered(pods[1].Name) {
		t.Errorf("nothing was heard of %s, so that nothing was shown", pods[1].Name)
	}
	for _, other := range e.list("other") {
		if heard.answered(other.Name) {
			t.Errorf("the API server has sent %s", other.Name)
		}
	}
}

// With one Service, no other is asked for, nor the slices of another.
func TestOneServiceAsksForNoOther(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 1)
	e.service("web")
	heard, config := e.overheard(e.account(oneService, "tgc"))
	e.controllerWith(rig.ProcessOptions{Config: config, Args: []string{"--service=web", "--target-group-arn=" + group.String()}})
	e.inStep(group, "web", 1)
	for suffix, want := range map[string]string{"/services": "metadata.name=web", "/endpointslices": "kubernetes.io/service-name=web"} {
		n := 0
		for _, u := range heard.asked() {
			if strings.HasSuffix(u.Path, suffix) {
				n++
				if got := u.Query().Get("fieldSelector") + u.Query().Get("labelSelector"); got != want {
					t.Errorf("%s with the selector %q, want %q", suffix, got, want)
				}
			}
		}
		if n == 0 {
			t.Errorf("nobody asked for %s", suffix)
		}
	}
}

// A gate of a binding made of flags bears the name of the group.
func TestBehaviour22_GateOfASelectorByFlags(t *testing.T) {
	e := newEnv(t, slowly)
	group := e.group()
	e.deployment("web", 1, gatedBy("pods/"+group.Name))
	e.controllerWith(rig.ProcessOptions{Config: e.account(onePodSelector, "tgc"), Args: []string{
		"--pod-selector=app=web", "--port=8080", "--register-at=Running", "--target-group-arn=" + group.String(),
	}})
	e.gateOf("web", "pods/"+group.Name, 1, corev1.ConditionTrue, target.TargetHealthy)
}

// overheard is what went between a program and the API server.
type overheard struct {
	mu      sync.Mutex
	urls    []*url.URL
	answers bytes.Buffer
}

// overheard puts a proxy before the API server, and gives what it hears and the access by
// way of it.
func (e *env) overheard(config *rest.Config) (heard *overheard, through *rest.Config) {
	e.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		e.Fatal(err)
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		e.Fatal(err)
	}
	heard = &overheard{}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(server)
			r.Out.Header.Set("Accept-Encoding", "identity") // what is heard is to be read
			heard.mu.Lock()
			defer heard.mu.Unlock()
			heard.urls = append(heard.urls, r.In.URL)
		},
		ModifyResponse: func(r *http.Response) error {
			r.Body = tapped{r.Body, heard}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, errors.Join(errors.New("the proxy of the test"), err).Error(), http.StatusBadGateway)
		},
	})
	e.Cleanup(front.CloseClientConnections)
	return heard, &rest.Config{Host: front.URL}
}

// tapped is the body of an answer that is overheard.
type tapped struct {
	io.ReadCloser
	by *overheard
}

func (t tapped) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	t.by.mu.Lock()
	defer t.by.mu.Unlock()
	t.by.answers.Write(b[:n])
	return n, err
}

// asked is what the API server was asked so far.
func (o *overheard) asked() []*url.URL {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.urls)
}

// answered tells whether the API server has sent some words so far.
func (o *overheard) answered(words string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Contains(o.answers.Bytes(), []byte(words))
}
