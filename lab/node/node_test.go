package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

// shared is the world of all tests of this package: a start takes seconds.
var shared *world.World

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	w, err := world.Start(ctx, world.Options{
		Nodes: 2, NodeGrace: 4 * time.Second,
		Fleet: node.Options{Apps: map[string]app.App{reporting: app.WebReporting(note)}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer w.Stop()
	unhook := context.AfterFunc(ctx, func() {
		w.Stop()
		os.Exit(130)
	})
	defer unhook()
	shared = w
	return m.Run()
}

// reporting is the image of the web server that tells when a request has reached it.
const reporting = "lab.local/reporting"

// reached tells that a request has reached a reporting web server.
var reached = make(chan struct{}, 1)

func note(_, _ string) {
	select {
	case reached <- struct{}{}:
	default:
	}
}

// patience is only for tests that would hang otherwise.
const patience = 5 * time.Minute

// eventually waits for a condition; check says what is still missing, or "".
func eventually(t *testing.T, check func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		missing := check()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still: %s", missing)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// unhurried is the timeout of probes that fail by an answer, never for want of one: the
// machine may be busy.
const unhurried = 60

// webPod is a pod with one web server; the test changes what it needs.
func webPod(name string, args ...string) *corev1.Pod {
	ready := &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: unhurried}
	ready.HTTPGet = &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromString("http")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name:           "web",
			Image:          "lab.local/web:1",
			Args:           args,
			Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
			ReadinessProbe: ready,
		}}},
	}
}

func create(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := shared.Client().CoreV1().Pods(p.Namespace).Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := int64(0)
		err := shared.Client().CoreV1().Pods(p.Namespace).Delete(context.Background(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	return made
}

func get(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	now, err := shared.Client().CoreV1().Pods(p.Namespace).Get(t.Context(), p.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

// until waits until the pod's state passes a check.
func until(t *testing.T, p *corev1.Pod, what string, check func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var now *corev1.Pod
	eventually(t, func() string {
		if now = get(t, p); check(now) {
			return ""
		}
		status, _ := json.Marshal(now.Status)
		return fmt.Sprintf("pod %s is not %s: %s", p.Name, what, status)
	})
	return now
}

func isReady(p *corev1.Pod) bool { return condition(p, corev1.PodReady).Status == corev1.ConditionTrue }

func notReady(p *corev1.Pod) bool {
	return condition(p, corev1.PodReady).Status == corev1.ConditionFalse
}

func untilReady(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	return until(t, p, "ready", isReady)
}

func untilGone(t *testing.T, p *corev1.Pod) {
	t.Helper()
	eventually(t, func() string {
		_, err := shared.Client().CoreV1().Pods(p.Namespace).Get(t.Context(), p.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprintf("pod %s exists (%v)", p.Name, err)
	})
}

// remove deletes a pod, and tells a moment before that.
func remove(t *testing.T, p *corev1.Pod, grace int64) time.Time {
	t.Helper()
	before := time.Now()
	options := metav1.DeleteOptions{GracePeriodSeconds: &grace}
	if err := shared.Client().CoreV1().Pods(p.Namespace).Delete(t.Context(), p.Name, options); err != nil {
		t.Fatal(err)
	}
	return before
}

// ask sends one request to a pod on a connection of its own.
func ask(p *corev1.Pod, method, path string) (app.Answer, error) {
	var answer app.Answer
	client := http.Client{
		Timeout:   patience,
		Transport: &http.Transport{DialContext: vpc.DialContext, DisableKeepAlives: true},
	}
	request, err := http.NewRequest(method, "http://"+net.JoinHostPort(p.Status.PodIP, "8080")+path, nil)
	if err != nil {
		return answer, err
	}
	request.Header.Set("X-Request-Id", "r1")
	response, err := client.Do(request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && method == http.MethodGet {
		err = json.Unmarshal(body, &answer)
	}
	return answer, err
}

func mustAsk(t *testing.T, p *corev1.Pod, method, path string) app.Answer {
	t.Helper()
	answer, err := ask(p, method, path)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func events(t *testing.T, p *corev1.Pod, reason string) (messages []string) {
	t.Helper()
	list, err := shared.Client().CoreV1().Events(p.Namespace).List(t.Context(), metav1.ListOptions{
		FieldSelector: "involvedObject.uid=" + string(p.UID) + ",reason=" + reason,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		messages = append(messages, e.Message)
	}
	return messages
}

func untilEvent(t *testing.T, p *corev1.Pod, reason, part string) {
	t.Helper()
	eventually(t, func() string {
		all := strings.Join(events(t, p, reason), "\n")
		if strings.Contains(all, part) {
			return ""
		}
		return fmt.Sprintf("no event %s with %q, only %q", reason, part, all)
	})
}
