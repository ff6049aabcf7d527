package realnode_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

// startFleet makes a fleet without nodes beside the shared one.
func startFleet(t *testing.T) (*realnode.Fleet, error) {
	t.Helper()
	return realnode.Start(t.Context(), realnode.Options{Config: shared.Config(), Dir: t.TempDir()})
}

func TestNodesAreReady(t *testing.T) { // alone: others add nodes
	needNodes(t)
	list, err := shared.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 2 {
		t.Errorf("there are %d nodes", len(list.Items))
	}
	for i, n := range list.Items {
		info := n.Status.NodeInfo
		t.Logf("%s: kubelet %s, %s", n.Name, info.KubeletVersion, info.ContainerRuntimeVersion)
		if !strings.HasPrefix(info.ContainerRuntimeVersion, "containerd://") || !strings.HasPrefix(info.KubeletVersion, "v1.") {
			t.Errorf("%s is no real node: %+v", n.Name, info)
		}
		zone := n.Labels[corev1.LabelTopologyZone]
		if zone != []string{"us-east-1a", "us-east-1b"}[i] || !strings.HasPrefix(n.Spec.ProviderID, "aws:///"+zone+"/i-") {
			t.Errorf("%s is in zone %q, provider id %q", n.Name, zone, n.Spec.ProviderID)
		}
		if want := vpc.Real().Node(byte(i + 1)).String(); n.Status.Addresses[0].Address != want || shared.Node(n.Name).Address().String() != want {
			t.Errorf("%s has addresses %v, want %s", n.Name, n.Status.Addresses, want)
		}
	}
}

// namespace makes one for a test.
func namespace(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	if err := shared.Namespace(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return name
}

// webPod is a pod with a web server that is probed.
func webPod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "web", Image: "lab.local/web" + realnode.Tag,
			Env: []corev1.EnvVar{{Name: "LAB_NODE", ValueFrom: &corev1.EnvVarSource{
				FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"},
			}}},
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			ReadinessProbe: &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromString("http")}},
				PeriodSeconds: 1, FailureThreshold: 1,
			},
		}}},
	}
}

func create(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	created, err := shared.Client().CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := shared.Client().CoreV1().Pods(pod.Namespace).Delete(context.Background(), pod.Name, *metav1.NewDeleteOptions(0))
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	return created
}

// until waits until a condition of a pod holds and returns the pod as it is then.
func until(t *testing.T, pod *corev1.Pod, what string, holds func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var now *corev1.Pod
	eventually(t, pod.Name+" "+what, func() (err error) {
		if now, err = shared.Client().CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		if !holds(now) {
			text, _ := json.Marshal(now.Status)
			return fmt.Errorf("have %s", text)
		}
		return nil
	})
	return now
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func ready(pod *corev1.Pod) bool   { return condition(pod, corev1.PodReady) }
func unready(pod *corev1.Pod) bool { return !ready(pod) }

// ask sends a request to a pod, on a connection of its own.
func ask(ctx context.Context, pod *corev1.Pod, method, path string) (app.Answer, error) {
	var answer app.Answer
	url := "http://" + net.JoinHostPort(pod.Status.PodIP, "8080") + path
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return answer, err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("%s %s: %s", method, url, response.Status)
	}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		err = json.NewDecoder(response.Body).Decode(&answer)
	}
	return answer, err
}

// endpoints of a Service: addresses that are ready, and addresses that serve while
// they terminate.
func endpoints(t *testing.T, namespace, service string) (ready, leaving []string) {
	t.Helper()
	list, err := shared.Client().DiscoveryV1().EndpointSlices(namespace).List(t.Context(), metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + service,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			if *e.Conditions.Ready {
				ready = append(ready, e.Addresses[0])
			}
			if *e.Conditions.Terminating && *e.Conditions.Serving {
				leaving = append(leaving, e.Addresses[0])
			}
		}
	}
	return ready, leaving
}

func service(t *testing.T, namespace, name string) {
	t.Helper()
	_, err := shared.Client().CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// A container answers at the pod's address as the pod that it is. Its readiness
// follows the probe, and the Service's endpoints follow its readiness.
func TestPodServesAndIsProbed(t *testing.T) {
	needNodes(t)
	t.Parallel()
	ns := namespace(t)
	service(t, ns, "web")
	pod := until(t, create(t, webPod(ns, "web")), "ready", ready)
	answer, err := ask(t.Context(), pod, http.MethodGet, "/x")
	if err != nil {
		t.Fatal(err)
	}
	// The namespace is read from the volume with the ServiceAccount's token.
	if answer.Pod != "web" || answer.Namespace != ns || answer.Node != pod.Spec.NodeName || answer.Path != "/x" {
		t.Errorf("got %+v", answer)
	}
	expect := func(want ...string) {
		t.Helper()
		eventually(t, "endpoints", func() error {
			if got, _ := endpoints(t, ns, "web"); fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Errorf("have %v, want %v", got, want)
			}
			return nil
		})
	}
	expect(pod.Status.PodIP)
	if _, err := ask(t.Context(), pod, http.MethodPost, "/lab/ready?to=false"); err != nil {
		t.Fatal(err)
	}
	until(t, pod, "not ready", unready)
	expect()
	if _, err := ask(t.Context(), pod, http.MethodPost, "/lab/ready?to=true"); err != nil {
		t.Fatal(err)
	}
	until(t, pod, "ready again", ready)
	expect(pod.Status.PodIP)
}

func TestReadinessGateKeepsPodUnready(t *testing.T) {
	needNodes(t)
	t.Parallel()
	pod := webPod(namespace(t), "web")
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "lab/gate"}}
	pod = until(t, create(t, pod), "with ready containers", func(p *corev1.Pod) bool {
		return condition(p, corev1.ContainersReady)
	})
	if ready(pod) {
		t.Error("the pod is ready although its gate is closed")
	}
	patch := `{"status":{"conditions":[{"type":"lab/gate","status":"True"}]}}`
	_, err := shared.Client().CoreV1().Pods(pod.Namespace).Patch(t.Context(), pod.Name,
		"application/strategic-merge-patch+json", []byte(patch), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	until(t, pod, "ready", ready)
}

// line of a container's log, with the time at which containerd received it.
type line struct {
	at   time.Time
	text string
}

// logs follows the log of a container to its end; the lines come with the result.
func logs(t *testing.T, pod *corev1.Pod, container string) func() []line {
	t.Helper()
	stream, err := shared.Client().CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: container, Follow: true, Timestamps: true,
	}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan []line, 1)
	go func() {
		defer stream.Close()
		var lines []line
		for scanner := bufio.NewScanner(stream); scanner.Scan(); {
			stamp, text, _ := strings.Cut(scanner.Text(), " ")
			at, err := time.Parse(time.RFC3339Nano, stamp)
			if err != nil {
				t.Errorf("log line %q: %v", scanner.Text(), err)
			}
			lines = append(lines, line{at, text})
		}
		all <- lines
	}()
	return func() []line { return <-all }
}

// find gives the time of the line with some words.
func find(t *testing.T, lines []line, words string) time.Time {
	t.Helper()
	for _, l := range lines {
		if strings.Contains(l.text, words) {
			return l.at
		}
	}
	t.Fatalf("no line says %q: %v", words, lines)
	return time.Time{}
}

// A pod that is deleted goes on serving during its preStop sleep, then gets SIGTERM;
// its sidecar gets it only once the main container has ended.
func TestPodLeavesInOrder(t *testing.T) {
	needNodes(t)
	t.Parallel()
	const sleep = 2
	ns := namespace(t)
	service(t, ns, "web")
	pod := webPod(ns, "web")
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
		PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: sleep}},
	}
	always := corev1.ContainerRestartPolicyAlways
	pod.Spec.InitContainers = []corev1.Container{{
		Name: "sidecar", Image: "lab.local/pause" + realnode.Tag, RestartPolicy: &always,
	}}
	pod = until(t, create(t, pod), "ready", ready)
	mainLog, sidecarLog := logs(t, pod, "web"), logs(t, pod, "sidecar")
	deleted := time.Now()
	if err := shared.Client().CoreV1().Pods(ns).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the endpoint serves while it terminates", func() error {
		if ready, leaving := endpoints(t, ns, "web"); len(ready) != 0 || len(leaving) != 1 {
			return fmt.Errorf("ready %v, leaving %v", ready, leaving)
		}
		return nil
	})
	if _, err := ask(t.Context(), pod, http.MethodGet, "/"); err != nil {
		t.Errorf("during its preStop sleep: %v", err)
	}
	atMain, atSidecar := mainLog(), sidecarLog()
	term, exit := find(t, atMain, `"event":"SIGTERM"`), find(t, atMain, `"event":"exit","code":0`)
	last := find(t, atSidecar, `"event":"SIGTERM"`)
	if term.Sub(deleted) < sleep*time.Second || exit.Before(term) || last.Before(exit) {
		t.Errorf("deleted %v, SIGTERM %v, exit %v, SIGTERM of the sidecar %v", deleted, term, exit, last)
	}
	untilGone(t, pod)
}

// untilGone waits, after a test, too, until an object is gone, which it leaves as it is.
func untilGone(t *testing.T, object client.Object) {
	t.Helper()
	now := object.DeepCopyObject().(client.Object)
	eventually(t, object.GetName()+" is gone", func() error {
		err := shared.API.Get(context.Background(), client.ObjectKeyFromObject(object), now)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is still there"), err)
	})
}

func TestExecRunsInTheContainer(t *testing.T) {
	needNodes(t)
	t.Parallel()
	pod := until(t, create(t, webPod(namespace(t), "web")), "ready", ready)
	said, err := execute(t, pod, "web", "/container", "job", "--code=3")
	if code, ok := errors.AsType[exec.CodeExitError](err); !ok || code.Code != 3 || !strings.Contains(said, `"event":"exit","code":3`) {
		t.Errorf("got %v, output %q", err, said)
	}
}

// execute runs a command that says something in a container, and gives what it said. On
// a busy machine the output of a program that ends at once was seen to be missing, with
// the right exit code: then it runs again.
func execute(t *testing.T, pod *corev1.Pod, container string, command ...string) (said string, err error) {
	t.Helper()
	url := shared.Client().CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).
		SubResource("exec").VersionedParams(&corev1.PodExecOptions{
		Container: container, Command: command, Stdout: true, Stderr: true,
	}, scheme.ParameterCodec).URL()
	executor, err := remotecommand.NewWebSocketExecutor(shared.Config(), http.MethodGet, url.String())
	if err != nil {
		t.Fatal(err)
	}
	for ended := true; said == "" && ended; {
		var output bytes.Buffer
		err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &output, Stderr: &output})
		said = output.String()
		_, failed := errors.AsType[exec.CodeExitError](err)
		ended = err == nil || failed
	}
	return said, err
}

// addNode adds a node that no other test's pods are scheduled to.
func addNode(t *testing.T, name string) *realnode.Node {
	t.Helper()
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Unschedulable: true}}
	if _, err := shared.Client().CoreV1().Nodes().Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	n, err := shared.Real.Add(t.Context(), node.Spec{Name: name, Zone: "us-east-1c"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Remove(context.Background()); err != nil {
			t.Error(err)
		}
		if left := processesOf(t, "/"+name+"/"); len(left) > 0 {
			t.Errorf("the node left processes: %v", left)
		}
	})
	return n
}

// A node without power is silent: its pods neither answer nor refuse, its Node
// becomes unready, its endpoints leave. With power the same pods come back.
func TestPowerOffAndOn(t *testing.T) {
	needNodes(t)
	t.Parallel()
	ns := namespace(t)
	service(t, ns, "web")
	n := addNode(t, "fragile")
	pod := webPod(ns, "web")
	pod.Spec.NodeName = n.Name()
	pod = until(t, create(t, pod), "ready", ready)
	kept, err := net.Dial("tcp", net.JoinHostPort(pod.Status.PodIP, "8080"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	n.PowerOff()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := ask(ctx, pod, http.MethodGet, "/"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a new connection: got %v, want silence", err)
	}
	kept.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := kept.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an open connection: got %v, want silence", err)
	}
	until(t, pod, "found to be lost", unready)
	if err := n.PowerOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	pod = until(t, pod, "ready again", func(p *corev1.Pod) bool { return ready(p) && p.Status.ContainerStatuses[0].RestartCount > 0 })
	if _, err := ask(t.Context(), pod, http.MethodGet, "/"); err != nil {
		t.Error(err)
	}
}

// A drain evicts all pods and returns when they are gone; each has ended in order.
func TestDrain(t *testing.T) {
	needNodes(t)
	t.Parallel()
	n := addNode(t, "leaving")
	pod := webPod(namespace(t), "web")
	pod.Spec.NodeName = n.Name()
	pod = until(t, create(t, pod), "ready", ready)
	log := logs(t, pod, "web")
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	find(t, log(), `"event":"exit","code":0`)
	list, err := shared.Client().CoreV1().Pods("").List(t.Context(), metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", n.Name()).String(),
	})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("%d pods are left, %v", len(list.Items), err)
	}
}

// The simulator finds pods of real nodes where their addresses say.
func TestSimulatorChecksRealPods(t *testing.T) {
	needNodes(t)
	t.Parallel()
	pod := until(t, create(t, webPod(namespace(t), "web")), "ready", ready)
	arn, err := shared.Sim.PlantGroup(elbsim.SeedGroup{
		Name: "checked", Protocol: "HTTP", LoadBalancer: "checked",
		HealthCheck: elbsim.SeedCheck{Path: "/readyz", Interval: elbsim.Duration(5 * time.Second)},
		Targets:     []string{net.JoinHostPort(pod.Status.PodIP, "8080")},
	})
	if err != nil {
		t.Fatal(err)
	}
	awaitHealthy(t, arn, 1)
}
