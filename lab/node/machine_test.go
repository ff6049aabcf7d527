package node_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

func addNode(t *testing.T, name string) *node.Node {
	t.Helper()
	n, err := shared.Nodes.Add(t.Context(), node.Spec{Name: name, Zone: "us-east-1a"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestPowerOffAndOn(t *testing.T) {
	n := addNode(t, "fragile")
	p := webPod("unlucky")
	p.Spec.NodeName = n.Name()
	p = untilReady(t, create(t, p))
	n.PowerOff()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	conn, err := vpc.DialContext(ctx, "tcp", net.JoinHostPort(p.Status.PodIP, "8080"))
	if err == nil {
		conn.Close()
		t.Error("a pod without power takes connections")
	} else if !errors.Is(err, context.DeadlineExceeded) && !os.IsTimeout(err) {
		t.Errorf("got %v, want silence", err)
	}
	until(t, p, "found to be lost", notReady)
	if err := n.PowerOn(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := until(t, p, "ready again", func(p *corev1.Pod) bool {
		return isReady(p) && p.Status.ContainerStatuses[0].RestartCount == 1
	})
	mustAsk(t, now, http.MethodGet, "/")
}

// A node that the control plane took for lost while it worked is Ready again by itself.
func TestNodeTakenForLostComesBack(t *testing.T) {
	n := addNode(t, "late")
	nodes := shared.Client().CoreV1().Nodes()
	ready := func(change func(*corev1.NodeCondition)) *corev1.Node {
		object, err := nodes.Get(t.Context(), n.Name(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range object.Status.Conditions {
			if c := &object.Status.Conditions[i]; c.Type == corev1.NodeReady {
				change(c)
			}
		}
		return object
	}
	eventually(t, func() string {
		lost := ready(func(c *corev1.NodeCondition) { c.Status, c.Reason = corev1.ConditionUnknown, "NodeStatusUnknown" })
		_, err := nodes.UpdateStatus(t.Context(), lost, metav1.UpdateOptions{})
		return unless(err == nil, "the node cannot be made lost: %v", err)
	})
	eventually(t, func() string {
		var now corev1.NodeCondition
		ready(func(c *corev1.NodeCondition) { now = *c })
		return unless(now.Status == corev1.ConditionTrue, "it is %+v", now)
	})
	p := webPod("on-it")
	p.Spec.NodeName = n.Name()
	untilReady(t, create(t, p))
}

func TestDrain(t *testing.T) {
	n := addNode(t, "drained")
	p := webPod("moved")
	p.Spec.NodeName = n.Name()
	p = untilReady(t, create(t, p))
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	untilGone(t, p)
}

func TestAPIServerRestart(t *testing.T) {
	p := untilReady(t, create(t, webPod("survives")))
	shared.StopAPIServer()
	mustAsk(t, p, http.MethodGet, "/without-api")
	mustAsk(t, p, http.MethodPost, "/lab/ready?to=false")
	if err := shared.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := until(t, p, "unready", notReady)
	if now.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("the pod was restarted")
	}
	untilReady(t, create(t, webPod("afterwards")))
}

func TestReusedAddresses(t *testing.T) {
	fleet, err := node.Start(t.Context(), node.Options{Config: shared.Config(), Reuse: true, IPv6: true})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Stop()
	n, err := fleet.Add(t.Context(), node.Spec{Name: "reusing", Zone: "us-east-1b"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Remove(context.Background())
	var last string
	for _, name := range []string{"before", "after"} {
		p := webPod(name)
		p.Spec.NodeName = n.Name()
		p = untilReady(t, create(t, p))
		if last != "" && p.Status.PodIP != last {
			t.Errorf("address is %s, want %s again", p.Status.PodIP, last)
		}
		last = p.Status.PodIP
		if len(p.Status.PodIPs) != 2 {
			t.Errorf("addresses are %v, want two", p.Status.PodIPs)
		}
		twin := &corev1.Pod{Status: corev1.PodStatus{PodIP: p.Status.PodIPs[1].IP}}
		if a := mustAsk(t, twin, http.MethodGet, "/"); a.Pod != name {
			t.Errorf("%s answers as %s", twin.Status.PodIP, a.Pod)
		}
		remove(t, p, 10)
		untilGone(t, p)
	}
}

func TestHostNetworkAndExecProbe(t *testing.T) {
	n := shared.Nodes.Node("node-1")
	switchFile := t.TempDir() + "/on"
	p := webPod("hosted", "--port=18080")
	p.Spec.HostNetwork, p.Spec.NodeName = true, n.Name()
	p.Spec.Containers[0].Ports = nil
	p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1}
	p.Spec.Containers[0].ReadinessProbe.Exec = &corev1.ExecAction{Command: []string{"test", "-e", switchFile}}
	p = until(t, create(t, p), "unready", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning && notReady(p) })
	if err := os.WriteFile(switchFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	untilReady(t, p)
	if p.Status.PodIP != n.Address().String() {
		t.Errorf("address is %s, want the node's %s", p.Status.PodIP, n.Address())
	}
	conn, err := vpc.DialContext(t.Context(), "tcp", net.JoinHostPort(p.Status.PodIP, "18080"))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
