package kube

import (
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// byLabel is a binding that chooses the pods with a label.
var byLabel = Binding{
	ID: desired.BindingID{Namespace: "shop", Name: "web"}, Port: desired.PortRef{Name: "http"},
	Selector: labels.SelectorFromSet(labels.Set{"app": "web"}), RegisterAt: desired.AtRunning,
}

// serving is a pod that serves http on 8080, on a node.
func serving(name, app string, change func(*corev1.Pod)) *corev1.Pod {
	return aPod(name, func(p *corev1.Pod) {
		p.Labels = map[string]string{"app": app}
		p.Spec.Containers = []corev1.Container{{Name: "web", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}
		p.Status.Phase = corev1.PodRunning
		p.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "2001:db8::1"}}
		p.Status.HostIP, p.Status.HostIPs = "10.0.0.9", []corev1.HostIP{{IP: "10.0.0.9"}, {IP: "2001:db8::9"}}
		if change != nil {
			change(p)
		}
	})
}

func TestBehaviour37_FactsOfASelection(t *testing.T) {
	shelf := newShelf().add(serving("a", "web", nil), serving("b", "api", nil))
	elsewhere := serving("c", "web", func(p *corev1.Pod) { p.Namespace = "other" })
	facts, err := NewCluster(shelf.add(elsewhere)).Facts(t.Context(), target.IPv4, []Binding{byLabel})
	if err != nil || len(facts.Bindings) != 1 {
		t.Fatalf("got %+v, %v", facts, err)
	}
	got := facts.Bindings[0]
	if got.Selection == nil || got.Selection.Selector != "app=web" || got.Selection.RegisterAt != desired.AtRunning || len(got.Selection.Pods) != 1 || got.Selection.Pods[0].Pod.Name != "a" || got.Slices != nil {
		t.Errorf("got %+v", got)
	}
	shelf.broken = "gate" // pods cannot be listed
	if _, err := NewCluster(shelf).Facts(t.Context(), target.IPv4, []Binding{byLabel}); err == nil {
		t.Error("pods that cannot be listed count as none")
	}
}

// The clock of the API server may be ahead of ours, and ours may step.
func TestBehaviour37_DeletionDoesNotMoveWithTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := time.Now()
		cluster := NewCluster(newShelf().add(serving("a", "web", func(p *corev1.Pod) {
			p.DeletionTimestamp = &metav1.Time{Time: seen.Add(2 * time.Minute)}
		})))
		for range 2 {
			facts, err := cluster.Facts(t.Context(), target.IPv4, []Binding{byLabel})
			if err != nil {
				t.Fatal(err)
			}
			if got := facts.Bindings[0].Selection.Pods[0].Pod.Deleted; !got.Equal(seen) {
				t.Errorf("after %v it was deleted at %v, want %v", time.Since(seen), got, seen)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestBehaviour37_SelectedOf(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	hostPort := func(ip string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Ports[0].HostPort, p.Spec.Containers[0].Ports[0].HostIP = 80, ip
		}
	}
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
		want   string
	}{
		{"as usual", nil, "[10.0.0.1 2001:db8::1] [10.0.0.9 2001:db8::9] [{http 8080 0}]"},
		{"no address yet", func(p *corev1.Pod) { p.Status.PodIPs = nil }, "[] [10.0.0.9 2001:db8::9] [{http 8080 0}]"},
		{"of Kubernetes before 1.29", func(p *corev1.Pod) { p.Status.HostIPs = nil }, "[10.0.0.1 2001:db8::1] [10.0.0.9] [{http 8080 0}]"},
		{"not bound to a node", func(p *corev1.Pod) { p.Status.HostIPs, p.Status.HostIP = nil, "" }, "[10.0.0.1 2001:db8::1] [] [{http 8080 0}]"},
		{"hostPort", hostPort(""), "[10.0.0.1 2001:db8::1] [10.0.0.9 2001:db8::9] [{http 8080 80}]"},
		{"hostPort on all addresses", hostPort("0.0.0.0"), "[10.0.0.1 2001:db8::1] [10.0.0.9 2001:db8::9] [{http 8080 80}]"},
		{"hostPort on the node's address", hostPort("10.0.0.9"), "[10.0.0.1 2001:db8::1] [10.0.0.9 2001:db8::9] [{http 8080 80}]"},
		{"hostPort on the loopback", hostPort("127.0.0.1"), "[10.0.0.1 2001:db8::1] [10.0.0.9 2001:db8::9] [{http 8080 0}]"},
		{"a container that runs beside the others", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{
				{Name: "once", Ports: []corev1.ContainerPort{{Name: "once", ContainerPort: 1}}},
				{Name: "proxy", RestartPolicy: &always, Ports: []corev1.ContainerPort{{Name: "proxy", ContainerPort: 2}}},
			}
		}, "[10.0.0.1 2001:db8::1] [10.0.0.9 2001:db8::9] [{proxy 2 0} {http 8080 0}]"},
	} {
		pod := serving("a", "web", c.change)
		got := SelectedOf(pod)
		if text := fmt.Sprint(got.Addrs, got.HostAddrs, got.Ports); text != c.want {
			t.Errorf("%s: got %s, want %s", c.name, text, c.want)
		}
		if once := stripped(t, stripPod, pod); !reflect.DeepEqual(SelectedOf(once), got) {
			t.Errorf("%s: in the cache it is %+v", c.name, SelectedOf(once))
		}
	}
}

func TestDiffer(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
		want   bool
	}{
		{"nothing", nil, false},
		{"what never counts", func(p *corev1.Pod) { p.ResourceVersion = "8" }, false},
		{"a label", func(p *corev1.Pod) { p.Labels["track"] = "canary" }, true},
		{"the address", func(p *corev1.Pod) { p.Status.PodIPs = nil }, true},
		{"the phase", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, true},
		{"the deletion", func(p *corev1.Pod) { now := metav1.Now(); p.DeletionTimestamp = &now }, true},
	} {
		if got := Differ(serving("a", "web", nil), serving("a", "web", c.change)); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

// A leaving pod is looked for at its node's address only if it may be registered there.
func TestAddressesOfALeaver(t *testing.T) {
	plain, exposed := serving("a", "web", nil), serving("b", "web", func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].HostPort = 80 })
	if got := fmt.Sprint(addrsOf(plain), addrsOf(exposed)); got != "[10.0.0.1 2001:db8::1] [10.0.0.1 2001:db8::1 10.0.0.9 2001:db8::9]" {
		t.Errorf("got %s", got)
	}
}

func TestRunningPodsOfASelection(t *testing.T) {
	now := metav1.Now()
	shelf := newShelf().add(
		serving("b", "web", nil), serving("a", "web", nil), serving("c", "api", nil),
		serving("leaving", "web", func(p *corev1.Pod) { p.DeletionTimestamp = &now }),
		serving("ended", "web", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
	)
	pods, err := NewCluster(shelf).Running(t.Context(), byLabel)
	if err != nil || len(pods) != 2 || pods[0].Name != "a" || pods[1].Name != "b" {
		t.Errorf("got %v, %v, want a and b", pods, err)
	}
}
