package kube

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

func TestSelector(t *testing.T) {
	selecting := func(kind corev1.ServiceType) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
			Spec:       corev1.ServiceSpec{Type: kind, Selector: map[string]string{"app": "web"}},
		}
	}
	for _, c := range []struct {
		name    string
		service *corev1.Service
		want    map[string]string
	}{
		{"of a Service", selecting(corev1.ServiceTypeClusterIP), map[string]string{"app": "web"}},
		{"of a Service that is only a name", selecting(corev1.ServiceTypeExternalName), nil},
		{"of none", nil, nil},
	} {
		shelf := newShelf()
		if c.service != nil {
			shelf.add(stripped(t, stripService, c.service))
		}
		got, err := NewCluster(shelf).Selector(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"})
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	broken := newShelf()
	broken.broken = "service"
	if _, err := NewCluster(broken).Selector(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"}); err == nil {
		t.Error("a Service that cannot be read counts as one without a selector")
	}
}

// Pods are counted once however many slices list them, and those that leave, have
// ended or are not known yet are not counted.
func TestRunningPods(t *testing.T) {
	now := metav1.Now()
	pod := func(name string, change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
		change(p)
		return p
	}
	slice := func(name string, pods ...string) *discoveryv1.EndpointSlice {
		s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "web"},
		}}
		for _, p := range pods {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: p}})
		}
		return s
	}
	shelf := newShelf().add(
		slice("one", "b", "a", "leaving", "ended", "unknown"), slice("two", "a"),
		pod("a", func(*corev1.Pod) {}), pod("b", func(*corev1.Pod) {}), pod("c", func(*corev1.Pod) {}),
		pod("leaving", func(p *corev1.Pod) { p.DeletionTimestamp = &now }),
		pod("ended", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
	)
	pods, err := NewCluster(shelf).Running(t.Context(), web)
	if err != nil || len(pods) != 2 || pods[0].Name != "a" || pods[1].Name != "b" {
		t.Errorf("got %v, %v, want a and b", pods, err)
	}
}

// What tells of gates and hooks is left in the cache.
func TestStrippedPodTellsWhatWasInjected(t *testing.T) {
	pod := func(annotations map[string]string) *corev1.Pod {
		return stripped(t, stripPod, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Annotations: annotations},
			Spec: corev1.PodSpec{
				ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "a/b"}},
				Containers:     []corev1.Container{{Name: "web"}, {Name: "log"}},
			},
		})
	}
	if !HasGate(pod(nil), "a/b") || HasGate(pod(nil), "a/c") {
		t.Error("the gates are not told")
	}
	for held, want := range map[string]bool{"": false, "web": false, "web,log": true, "web,log,more": true} {
		got := HasDrainHook(pod(map[string]string{
			v1beta1.AnnotationDrainMode: "Sleep", v1beta1.AnnotationDrainContainers: held, "example.com/other": "dropped",
		}))
		if got != want {
			t.Errorf("containers %q: has the hook: %v", held, got)
		}
	}
	if HasDrainHook(pod(nil)) {
		t.Error("a pod without annotations has the hook")
	}
	if kept := pod(map[string]string{"example.com/other": "dropped"}).Annotations; kept != nil {
		t.Errorf("annotations of others are kept: %v", kept)
	}
}

func TestDrainSettingsAndStatus(t *testing.T) {
	if got := DrainSettings(nil); got.Mode != drain.None {
		t.Errorf("without settings the mode is %s", got.Mode)
	}
	if DrainStatus(drain.Times{}) != nil {
		t.Error("no draining has a status")
	}
	seven := int32(7)
	settings := DrainSettings(&v1beta1.Drain{Mode: v1beta1.DrainSleep, HoldSeconds: &seven, LateSeconds: &seven})
	got := DrainStatus(drain.Of(settings, drain.Group{}))
	want := &v1beta1.DrainStatus{Mode: v1beta1.DrainSleep, HoldSeconds: 7, LateSeconds: 7, ShutdownSeconds: 30, SleepSeconds: 14, GracePeriodSeconds: 49}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
