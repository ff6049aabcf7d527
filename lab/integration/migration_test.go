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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/losses"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// The steps of docs/migrating.md, while requests go through the load balancer. The
// earlier programs are not run: the calls that they would make to AWS are made in
// their place.

// migration is an env whose load balancers carry requests.
type migration struct {
	*env
	profile losses.Profile
	timing  losses.Timing
}

func newMigration(t *testing.T) *migration {
	t.Helper()
	t.Parallel()
	p := losses.Profiles()[0]
	c := clock.New(p.Speed)
	settings := elbsim.DefaultSettings()
	settings.ALBRegistration = elbsim.Duration(p.Registration)
	e := newEnvWith(t, elbsim.Options{
		Settings: &settings, Speed: p.Speed,
		DataPlane: &dataplane.Options{
			ALB: &p.Delays, ALBIdle: c.Simulated(p.Idle), ConnectTimeout: c.Simulated(busy * time.Second),
		},
	})
	return &migration{env: e, profile: p, timing: p.Timing(p.Speed, 0)}
}

// busy is how much longer than they need pods are given, in seconds, for the sake of a
// machine that does other things, too.
const busy = 5

// balanced makes a target group behind a load balancer of its own.
func (m *migration) balanced(name string, port int) target.ARN {
	m.Helper()
	return m.group(func(g *elbsim.SeedGroup) {
		g.Name, g.LoadBalancer, g.Port = name, name, port
		g.Attributes = map[string]string{target.DelayAttribute: fmt.Sprint(m.profile.DeregistrationDelay.Seconds())}
	})
}

// careful makes a Deployment lose nothing with plain Kubernetes, as far as it can: what
// users of the earlier programs had to do.
func (m *migration) careful(d *appsv1.Deployment) {
	surge(d)
	d.Spec.MinReadySeconds = int32(m.timing.MinReady) + busy
	pod := &d.Spec.Template.Spec
	pod.TerminationGracePeriodSeconds = new(m.timing.Grace + busy)
	pod.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: m.timing.Sleep + busy}}}
}

// clients are who sends requests through a load balancer.
type clients struct {
	*migration
	*load.Generator
}

// under lets requests go through the load balancer of that name, once each of its nodes
// has learned of a pod.
func (m *migration) under(balancer string) clients {
	m.Helper()
	nodes := m.nodes(balancer)
	for _, node := range nodes {
		m.says(node, `"pod":`)
	}
	generator, err := load.Start(m.ctx, load.Options{
		Targets: nodes, Rate: 40, Mix: m.profile.Mix, Long: 500 * time.Millisecond,
		// Well below that of the load balancer, which must not close what is about to be used.
		Idle: m.profile.Idle / 3,
	})
	if err != nil {
		m.Fatal(err)
	}
	c := clients{m, generator}
	c.more(100)
	return c
}

// nodes are the URLs of a load balancer's nodes.
func (m *migration) nodes(balancer string) (urls []string) {
	m.Helper()
	balancers, err := m.sim.LoadBalancers()
	if err != nil {
		m.Fatal(err)
	}
	for _, b := range balancers {
		if b.Name == balancer {
			for _, address := range b.Listeners[0].Nodes {
				urls = append(urls, "http://"+address)
			}
		}
	}
	return urls
}

// more waits until so many more requests were answered.
func (c clients) more(n int) {
	c.Helper()
	before := c.Recent(1).Answered
	c.eventually(fmt.Sprintf("%d requests answered", n), func() error {
		if got := c.Recent(1).Answered - before; got < n {
			return fmt.Errorf("have %d", got)
		}
		return nil
	})
}

// lostNothing ends the requests, and fails if any was lost.
func (c clients) lostNothing() {
	c.Helper()
	result := c.Stop()
	c.Logf("%d requests, answered by %d pods", result.Sent, len(result.Pods))
	if result.Lost > 0 {
		c.Errorf("%d of %d requests were lost, the first: %+v", result.Lost, result.Sent, result.Losses[:min(3, len(result.Losses))])
	}
}

// inProcess is how the calls look that are made in the place of an earlier program.
const inProcess = "in-process"

// registers makes the call that an earlier program makes.
func (m *migration) registers(group target.ARN, targets ...string) {
	m.Helper()
	if err := m.sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion).RegisterTargets(m.ctx, group, keyed(m.T, targets)); err != nil {
		m.Fatal(err)
	}
}

// deregisters makes the call that an earlier program makes.
func (m *migration) deregisters(group target.ARN, targets ...string) {
	m.Helper()
	if err := m.sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion).DeregisterTargets(m.ctx, group, keyed(m.T, targets)); err != nil {
		m.Fatal(err)
	}
}

func keyed(t *testing.T, targets []string) []target.Target {
	t.Helper()
	var list []target.Target
	for _, text := range targets {
		key, err := target.ParseKey(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, target.Target{Key: key})
	}
	return list
}

// deregistered lists what tgc has taken out of a group so far.
func (m *migration) deregistered(group target.ARN) []string {
	var list []string
	for _, call := range m.calls(group, "DeregisterTargets") {
		if call.UserAgent != inProcess {
			list = append(list, call.Targets...)
		}
	}
	return list
}

// untouched fails if tgc took any of these targets out, or anybody did.
func (m *migration) untouched(group target.ARN, targets []string) {
	m.Helper()
	for _, t := range targets {
		if out := m.deregistered(group); slices.Contains(out, t) || !slices.Contains(m.registered(group), t) {
			m.Errorf("target %s was taken out of %s: registered %v, deregistered by tgc %v", t, group.Name, m.registered(group), out)
		}
	}
}

// available waits until the Deployment has as many pods as it wants, all of its newest
// template and for long enough, and no other pod is left. Meanwhile is called again and
// again with the pods that there are.
func (m *migration) available(d *appsv1.Deployment, meanwhile func([]corev1.Pod)) {
	m.Helper()
	m.eventually("the rollout of "+d.Name, func() error {
		pods := m.list(d.Name)
		if meanwhile != nil {
			meanwhile(pods)
		}
		if err := shared.API.Get(m.ctx, client.ObjectKeyFromObject(d), d); err != nil {
			return err
		}
		want, s := *d.Spec.Replicas, d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.AvailableReplicas != want || len(pods) != int(want) {
			return fmt.Errorf("the Deployment wants %d, and has %+v with %d pods", want, s, len(pods))
		}
		return nil
	})
}

// says waits until a page contains all words.
func (e *env) says(url string, words ...string) {
	e.Helper()
	e.eventually(url, func() error {
		page, err := rig.Get(e.ctx, url)
		if err != nil {
			return err
		}
		return has(page, words...)
	})
}

func TestMigrationFromTheControllerForOneService(t *testing.T) {
	m := newMigration(t)
	group, address := m.balanced(m.namespace, 80), m.anAddress()
	web := m.deployment("web", 2, listening(9000), m.careful)
	m.service("web", corev1.ServicePort{Name: "http", Port: 9000, TargetPort: intstr.FromInt32(9000)})
	m.available(web, nil)
	before := onPort(m.pods("web"), "9000")
	m.registers(group, before...)
	m.health(group, target.Healthy, 2)
	requests := m.under(group.Name)

	// 2. and 3. The rights, and tgc beside the earlier one.
	p := m.commandLine(oneService, address,
		"-region", "eu-central-1", "-targetgrouparn", group.String(), "-service", "web", "-port", "9000", "-http", address+":8080")
	of := func(state string, n int) string {
		return fmt.Sprintf(`tgc_targets{state=%q,target_group=%q} %d`, state, group.String(), n)
	}
	m.says("http://"+address+":8080/metrics", of("desired", 2), of("registered", 2), of("held", 0))
	if calls := m.writes(group); len(calls) != 1 {
		t.Errorf("nothing was to be changed, and there are the calls %+v", calls)
	}

	// Both work for a while: a pod comes, and goes again.
	m.scale(web, 3)
	m.inStepOn("9000", group, "web", 3)
	m.registers(group, onPort(m.pods("web"), "9000")...)
	m.available(web, nil)
	m.untouched(group, before)
	all := onPort(m.pods("web"), "9000")
	m.scale(web, 2)
	m.inStepOn("9000", group, "web", 2)
	stayed := onPort(m.pods("web"), "9000")
	m.deregisters(group, slices.DeleteFunc(all, func(t string) bool { return slices.Contains(stayed, t) })...)
	m.available(web, nil)

	// 4. The earlier one ends, and with that its calls.
	requests.more(50)
	m.untouched(group, stayed)

	// 5. Gates, by a rollout.
	update(m.env, web, gatedBy("service/web"))
	m.available(web, nil)
	m.gateOf("web", "service/web", 2, corev1.ConditionTrue, target.TargetHealthy)
	m.inStepOn("9000", group, "web", 2)

	// Back: without gates, the earlier one beside tgc, then without tgc.
	update(m.env, web, func(d *appsv1.Deployment) { d.Spec.Template.Spec.ReadinessGates = nil })
	m.available(web, nil)
	m.inStepOn("9000", group, "web", 2)
	m.registers(group, onPort(m.pods("web"), "9000")...)
	p.Stop()
	m.inStepOn("9000", group, "web", 2)
	requests.lostNothing()
}

func TestMigrationFromTheSidecar(t *testing.T) {
	m := newMigration(t)
	group := m.balanced(m.namespace, 8080)
	web := m.deployment("web", 2, m.careful)
	m.available(web, nil)
	old := m.list("web")
	m.registers(group, m.pods("web")...)
	m.health(group, target.Healthy, 2)
	requests := m.under(group.Name)

	// 2. and 3. The other sidecar, by a rollout.
	update(m.env, web, m.withSidecar(group))
	m.available(web, m.sidecarsOf(group, old))
	m.inStep(group, "web", 2)
	m.health(group, target.Healthy, 2)
	for _, call := range m.writes(group) {
		if call.UserAgent != inProcess && call.Action == "DeregisterTargets" {
			t.Errorf("a new sidecar took out %v", call.Targets)
		}
	}

	// From now on pods leave by it.
	update(m.env, web, func(d *appsv1.Deployment) { d.Spec.Template.Annotations = map[string]string{"roll": "1"} })
	m.available(web, nil)
	m.inStep(group, "web", 2)
	requests.lostNothing()
}

func TestMigrationFromTheSidecarToTheController(t *testing.T) {
	if err := installPolicy(); err != nil {
		t.Fatal(err)
	}
	m := newMigration(t)
	m.deliver("policy")
	group := m.balanced(m.namespace, 8080)
	web := m.deployment("web", 2, m.careful)
	m.service("web")
	m.available(web, nil)
	old := m.list("web")
	before := m.pods("web")
	m.registers(group, before...)
	m.health(group, target.Healthy, 2)
	requests := m.under(group.Name)

	// 2. The binding, beside the sidecars.
	m.controller("--drain-image=" + rig.Image)
	drain := &v1beta1.Drain{Mode: v1beta1.DrainHold, HoldSeconds: &m.timing.Hold, LateSeconds: &m.timing.Late, ShutdownSeconds: &m.timing.Shutdown}
	m.binding("web", "web", group, asking(drain))
	m.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	m.injected("web")
	m.untouched(group, before)
	if calls := m.writes(group); len(calls) != 1 {
		t.Errorf("nothing was to be changed, and there are the calls %+v", calls)
	}

	// 3. Without the sidecar, and with what the binding asks for.
	update(m.env, web, func(d *appsv1.Deployment) {
		d.Spec.Template.Annotations = map[string]string{"roll": "1"}
		d.Spec.Template.Spec.Containers[0].Lifecycle = nil
	})
	m.available(web, m.sidecarsOf(group, old))
	m.inStep(group, "web", 2)
	m.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool { return s.UngatedPods == 0 && s.UndrainedPods == 0 })

	// From now on pods leave by it.
	update(m.env, web, func(d *appsv1.Deployment) { d.Spec.Template.Annotations = map[string]string{"roll": "2"} })
	m.available(web, nil)
	m.inStep(group, "web", 2)
	requests.lostNothing()
}

// sidecarsOf makes the calls of the earlier sidecars of these pods, each at the deletion
// of its pod.
func (m *migration) sidecarsOf(group target.ARN, pods []corev1.Pod) func([]corev1.Pod) {
	left := map[string]bool{}
	return func(now []corev1.Pod) {
		for _, pod := range now {
			ours := slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.UID == pod.UID })
			if ours && pod.DeletionTimestamp != nil && !left[pod.Name] {
				left[pod.Name] = true
				m.deregisters(group, pod.Status.PodIP+":8080")
			}
		}
	}
}

// withSidecar translates the earlier sidecar's flags, as its users wrote them, and adds
// what docs/migrating.md says: grace period, hook, probe.
func (m *migration) withSidecar(group target.ARN) func(*appsv1.Deployment) {
	grace := int64(m.timing.Late + m.timing.Hold + m.timing.Shutdown)
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: 5, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("tgc")},
		}}
	}
	sidecar := corev1.Container{
		Name: "tgc", Image: rig.Image, RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
		Args: []string{
			"sidecar", "-target-group-name", group.Name, "-target-id", "$(POD_IP)", "-wait-in-service", "-wait-in-service-timeout", "5m",
			"-pre-register-command", "/bin/true", "-pre-register-timeout", "5s", "-post-register-command", "/bin/true", "-post-register-timeout", "5s",
			"-post-deregister-command", "/bin/true", "-post-deregister-timeout", "5s",
			// Pods of loopback nodes share one network, whose address LAB_BIND is.
			"--wait-for=http://$(LAB_BIND):8080/readyz", "--bind-address=$(LAB_BIND):9480",
			// The load balancer's time runs faster than tgc knows.
			fmt.Sprintf("--hold=%ds", m.timing.Hold), fmt.Sprintf("--grace-period=%ds", grace), fmt.Sprintf("--shutdown-period=%ds", m.timing.Shutdown),
			"--state-dir", "/state",
		},
		Env: []corev1.EnvVar{{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"},
		}}},
		Ports:          []corev1.ContainerPort{{Name: "tgc", ContainerPort: 9480}},
		LivenessProbe:  probe("/healthz"),
		ReadinessProbe: probe("/in-service"),
		VolumeMounts:   []corev1.VolumeMount{{Name: "tgc", MountPath: "/state"}},
	}
	for _, entry := range rig.AWSEnv(m.sim.Endpoint) {
		name, value, _ := strings.Cut(entry, "=")
		sidecar.Env = append(sidecar.Env, corev1.EnvVar{Name: name, Value: value})
	}
	return func(d *appsv1.Deployment) {
		pod := &d.Spec.Template.Spec
		pod.InitContainers = []corev1.Container{sidecar}
		pod.TerminationGracePeriodSeconds = &grace
		pod.Volumes = []corev1.Volume{{Name: "tgc", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		pod.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/drain", Port: intstr.FromInt32(9480)},
		}}
	}
}

func TestMigrationFromTheCNIMode(t *testing.T) {
	m := newMigration(t)
	// Names of groups are those of a whole account, which is this test's own.
	stack, own := m.balanced("stack", 9999), m.balanced("own", 9999)
	web := m.deployment("skipper", 2, listening(9999), m.careful)
	m.available(web, nil)
	before := onPort(m.pods("skipper"), "9999")
	m.registers(stack, before...)
	m.health(stack, target.Healthy, 2)
	onStack := m.under("stack")

	// 2. tgc for the group of one's own; pods are in both.
	m.commandLine(onePodSelector, m.anAddress(),
		"-region", "eu-central-1", "-namespace", m.namespace, "-pod-selector", "app=skipper", "-port", "9999", "-register-at", "Running",
		"-target-group-arn", own.String(), "-metrics-bind-address", "0")
	m.inStepOn("9999", own, "skipper", 2)
	m.health(own, target.Healthy, 2)
	if calls := m.writes(stack); len(calls) != 1 {
		t.Errorf("nobody was to touch the other group, and there are the calls %+v", calls)
	}

	// 3. Names are resolved to the other load balancer, by one client after the other.
	onOwn := m.under("own")
	onStack.more(100)
	m.untouched(stack, before)
	onStack.lostNothing()

	// 4. The earlier one ends, and its load balancer and groups with it.
	if err := m.sim.VanishGroup(stack); err != nil {
		t.Fatal(err)
	}
	onOwn.more(100)
	update(m.env, web, func(d *appsv1.Deployment) { d.Spec.Template.Annotations = map[string]string{"roll": "1"} })
	m.available(web, nil)
	m.inStepOn("9999", own, "skipper", 2)
	m.eventually("no pod of before is left", func() error { return errors.Join(noneOf(m.registered(own), before)) })
	onOwn.lostNothing()
}
