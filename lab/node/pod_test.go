package node_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
)

func TestDeploymentBehindService(t *testing.T) {
	const replicas = 10
	pod := webPod("deployed")
	client := shared.Client()
	size := int32(replicas)
	deployment, err := client.AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "deployed"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &size,
			Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.AppsV1().Deployments("default").Delete(t.Context(), deployment.Name, metav1.DeleteOptions{})
	_, err = client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "deployed"},
		Spec:       corev1.ServiceSpec{Selector: pod.Labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var addresses map[string]string
	eventually(t, func() string {
		addresses = endpoints(t, "deployed")
		return unless(len(addresses) == replicas, "%d addresses are ready", len(addresses))
	})
	for address, name := range addresses {
		p := &corev1.Pod{Status: corev1.PodStatus{PodIP: address}}
		if a := mustAsk(t, p, http.MethodGet, "/x"); a.Pod != name || a.Request != "r1" || a.Path != "/x" {
			t.Errorf("%s of pod %s answers %+v", address, name, a)
		}
	}
}

func unless(good bool, format string, args ...any) string {
	if good {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// endpoints maps the ready addresses of a Service to the pods behind them.
func endpoints(t *testing.T, service string) map[string]string {
	t.Helper()
	slices, err := shared.Client().DiscoveryV1().EndpointSlices("default").List(t.Context(), metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + service,
	})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				found[e.Addresses[0]] = e.TargetRef.Name
			}
		}
	}
	return found
}

func TestReadinessFollowsTheApp(t *testing.T) {
	p := untilReady(t, create(t, webPod("flips")))
	mustAsk(t, p, http.MethodPost, "/lab/ready?to=false")
	now := until(t, p, "unready", notReady)
	if c := condition(now, corev1.ContainersReady); c.Status != corev1.ConditionFalse || c.Reason != "ContainersNotReady" {
		t.Errorf("ContainersReady is %+v", c)
	}
	mustAsk(t, p, http.MethodPost, "/lab/ready?to=true")
	untilReady(t, p)
	annotate(t, p, "false")
	until(t, p, "unready", notReady)
	annotate(t, p, "true")
	if now := untilReady(t, p); now.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("restarted: %+v", now.Status.ContainerStatuses[0])
	}
}

func annotate(t *testing.T, p *corev1.Pod, value string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, app.ReadyAnnotation, value)
	_, err := shared.Client().CoreV1().Pods(p.Namespace).Patch(t.Context(), p.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadinessGate(t *testing.T) {
	const gate = "example.com/gate"
	p := webPod("gated")
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: gate}}
	p = create(t, p)
	now := until(t, p, "ready but for the gate", func(p *corev1.Pod) bool {
		return condition(p, corev1.ContainersReady).Status == corev1.ConditionTrue
	})
	if c := condition(now, corev1.PodReady); c.Status != corev1.ConditionFalse || c.Reason != "ReadinessGatesNotReady" {
		t.Errorf("Ready is %+v", c)
	}
	setGate := func(status string) {
		t.Helper()
		patch := fmt.Sprintf(`{"status":{"conditions":[{"type":%q,"status":%q}]}}`, gate, status)
		_, err := shared.Client().CoreV1().Pods(p.Namespace).Patch(t.Context(), p.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
		if err != nil {
			t.Fatal(err)
		}
	}
	setGate("True")
	if now := untilReady(t, p); condition(now, gate).Status != corev1.ConditionTrue {
		t.Error("the gate's condition was overwritten")
	}
	setGate("False")
	until(t, p, "unready", notReady)
}

func TestPreStopThenGraceful(t *testing.T) {
	begun, release := filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "release")
	p := webPod("leaves")
	p.Spec.Containers[0].Image = reporting
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{
		Command: []string{"sh", "-c", "touch " + begun + "; until [ -e " + release + " ]; do sleep 0.05; done"},
	}}}
	p = untilReady(t, create(t, p))
	slow := make(chan error, 1)
	remove(t, p, 600)
	eventually(t, func() string {
		_, err := os.Stat(begun)
		return unless(err == nil, "the hook has not begun")
	})
	go func() {
		_, err := ask(p, http.MethodGet, "/in-flight?latency=2500ms")
		slow <- err
	}()
	<-reached
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		_, err := ask(p, http.MethodGet, "/after-sigterm")
		return unless(err != nil, "the pod still listens")
	})
	if err := <-slow; err != nil {
		t.Errorf("the request in flight was lost: %v", err)
	}
	untilGone(t, p)
}

func TestKilledWhenGraceIsOver(t *testing.T) {
	p := untilReady(t, create(t, webPod("stays", "--on-term=ignore")))
	asked := remove(t, p, 3)
	if _, err := ask(p, http.MethodGet, "/cut?latency=1h"); err == nil || os.IsTimeout(err) {
		t.Errorf("a request outlived its server: %v", err)
	}
	if after := time.Since(asked); after < 3*time.Second {
		t.Errorf("killed after %s, want 3s at least", after)
	}
	untilGone(t, p)
}

func TestShorterGraceComesForward(t *testing.T) {
	p := untilReady(t, create(t, webPod("hurries", "--on-term=ignore")))
	remove(t, p, 300)
	remove(t, p, 2)
	untilGone(t, p)
}

func TestForcedDeletion(t *testing.T) {
	p := untilReady(t, create(t, webPod("forced")))
	remove(t, p, 0)
	eventually(t, func() string {
		_, err := ask(p, http.MethodGet, "/")
		return unless(err != nil, "the pod still answers")
	})
}

func TestCrashIsRestarted(t *testing.T) {
	p := untilReady(t, create(t, webPod("crashes")))
	for restarts := int32(1); restarts <= 2; restarts++ {
		mustAsk(t, p, http.MethodPost, "/lab/crash?code=7")
		now := until(t, p, "ready again", func(p *corev1.Pod) bool {
			return isReady(p) && p.Status.ContainerStatuses[0].RestartCount == restarts
		})
		last := now.Status.ContainerStatuses[0].LastTerminationState.Terminated
		if last == nil || last.ExitCode != 7 {
			t.Errorf("last state is %+v", last)
		}
		if now.Status.PodIP != p.Status.PodIP {
			t.Error("the address changed with a restart")
		}
	}
	crashing := create(t, webPod("loops", "--crash-after=10ms"))
	until(t, crashing, "in CrashLoopBackOff", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			p.Status.ContainerStatuses[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
}

func TestLivenessRestarts(t *testing.T) {
	p := webPod("lives")
	alive := &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: unhurried}
	alive.HTTPGet = &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt(8080)}
	p.Spec.Containers[0].LivenessProbe = alive
	p = untilReady(t, create(t, p))
	mustAsk(t, p, http.MethodPost, "/lab/live?to=false")
	until(t, p, "restarted", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount == 1 && isReady(p)
	})
	untilEvent(t, p, "Unhealthy", "liveness")
}

func TestStartupProbeHoldsOthersBack(t *testing.T) {
	p := webPod("starts", "--startup-delay=1500ms")
	up := &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1000}
	up.TCPSocket = &corev1.TCPSocketAction{Port: intstr.FromString("http")}
	alive := &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: unhurried}
	alive.HTTPGet = &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt(8080)}
	p.Spec.Containers[0].StartupProbe, p.Spec.Containers[0].LivenessProbe = up, alive
	p = create(t, p)
	until(t, p, "running but not started", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodRunning && !*p.Status.ContainerStatuses[0].Started
	})
	if now := untilReady(t, p); now.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("liveness was probed before startup had passed")
	}
}

func TestExecHookSeesThePod(t *testing.T) {
	file := t.TempDir() + "/hook"
	p := webPod("hooked")
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{
		Command: []string{"sh", "-c", `echo "$POD_NAME $POD_IP" > ` + file},
	}}}
	p = untilReady(t, create(t, p))
	remove(t, p, 10)
	untilGone(t, p)
	if got, want := read(t, file), "hooked "+p.Status.PodIP+"\n"; got != want {
		t.Errorf("the hook saw %q, want %q", got, want)
	}
}

func TestInitContainersAndSidecar(t *testing.T) {
	dir := t.TempDir()
	always := corev1.ContainerRestartPolicyAlways
	note := func(what string) string { return "echo " + what + " >> " + dir + "/order" }
	p := webPod("composed", "--linger=500ms")
	p.Spec.InitContainers = []corev1.Container{
		{Name: "first", Image: "lab.local/host", Command: []string{"sh", "-c", note("init")}},
		{Name: "side", Image: "lab.local/host", RestartPolicy: &always, Command: []string{
			"sh", "-c", note("side") + "; trap '" + note("side-ends") + "; exit 0' TERM; while :; do sleep 0.05; done",
		}},
	}
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
		PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", note("main")}}},
		PreStop:   &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "sleep 0.5; " + note("main-ends")}}},
	}
	p = untilReady(t, create(t, p))
	if len(p.Status.InitContainerStatuses) != 2 || !p.Status.InitContainerStatuses[0].Ready {
		t.Errorf("init containers: %+v", p.Status.InitContainerStatuses)
	}
	eventually(t, func() string {
		order := read(t, dir+"/order")
		return unless(order == "init\nside\nmain\n" || order == "init\nmain\nside\n", "started as %q", order)
	})
	remove(t, p, 20)
	untilGone(t, p)
	if order := read(t, dir+"/order"); order[len("init\nside\nmain\n"):] != "main-ends\nside-ends\n" {
		t.Errorf("order is %q", order)
	}
}

func TestJobCompletes(t *testing.T) {
	p := webPod("job", "--after=50ms", "--code=3")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.Containers[0].Image, p.Spec.Containers[0].ReadinessProbe = "lab.local/job", nil
	p = until(t, create(t, p), "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	if code := p.Status.ContainerStatuses[0].State.Terminated.ExitCode; code != 3 {
		t.Errorf("exit code is %d", code)
	}
}

func TestUnknownImageAndUnsupportedFields(t *testing.T) {
	p := webPod("odd")
	p.Spec.Containers[0].Image = "example.com/odd:1"
	memory := corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}
	p.Spec.Volumes = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &memory}}}
	p = create(t, p)
	until(t, p, "waiting for its image", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			p.Status.ContainerStatuses[0].State.Waiting.Reason == "ErrImagePull"
	})
	untilEvent(t, p, "LabUnsupported", "volume scratch")
}
