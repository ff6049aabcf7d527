package kube

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func anyMeta(t *rapid.T) metav1.ObjectMeta {
	words := rapid.MapOf(rapid.SampledFrom([]string{"a", corev1.LastAppliedConfigAnnotation, discoveryv1.LabelServiceName}), rapid.SampledFrom([]string{"", "web"}))
	meta := metav1.ObjectMeta{
		Namespace: "shop", Name: "a", UID: "uid-a", ResourceVersion: "7", Generation: 3,
		Labels: words.Draw(t, "labels"), Annotations: words.Draw(t, "annotations"),
		ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		OwnerReferences: []metav1.OwnerReference{{Name: "rs"}},
	}
	if rapid.Bool().Draw(t, "deleted") {
		at, grace := metav1.NewTime(t0), rapid.Int64Range(0, 60).Draw(t, "grace")
		meta.DeletionTimestamp, meta.DeletionGracePeriodSeconds = &at, &grace
	}
	return meta
}

func anyPod(t *rapid.T) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: anyMeta(t)}
	pod.Spec.NodeName, pod.Status.PodIP = "node", "10.0.0.1"
	pod.Status.PodIPs, pod.Status.HostIP = []corev1.PodIP{{IP: "10.0.0.1"}}, "10.0.0.9"
	pod.Status.Phase = rapid.SampledFrom([]corev1.PodPhase{"", corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed}).Draw(t, "phase")
	kinds := []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled, ourGate, otherGate}
	for _, kind := range rapid.SliceOfDistinct(rapid.SampledFrom(kinds), rapid.ID[corev1.PodConditionType]).Draw(t, "conditions") {
		status := rapid.SampledFrom([]corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown}).Draw(t, "status")
		c := condition(kind, status, time.Duration(rapid.IntRange(0, 9).Draw(t, "since"))*time.Second)
		c.Reason, c.Message = rapid.StringMatching("[A-Z.]{0,3}").Draw(t, "reason"), rapid.StringMatching("[a-z ]{0,3}").Draw(t, "message")
		pod.Status.Conditions = append(pod.Status.Conditions, c)
	}
	for _, kind := range rapid.SliceOfDistinct(rapid.SampledFrom(kinds[3:]), rapid.ID[corev1.PodConditionType]).Draw(t, "gates") {
		pod.Spec.ReadinessGates = append(pod.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: kind})
	}
	for range rapid.IntRange(0, 2).Draw(t, "containers") {
		container := corev1.Container{Name: "c", Image: "image", Env: []corev1.EnvVar{{Name: "A"}}}
		if rapid.Bool().Draw(t, "sleeps") {
			container.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, HostPort: 80, HostIP: rapid.SampledFrom([]string{"", "127.0.0.1"}).Draw(t, "host ip")}}
			container.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: rapid.Int64Range(0, 90).Draw(t, "sleep")}}}
		}
		pod.Spec.Containers = append(pod.Spec.Containers, container)
	}
	return pod
}

// stripped runs a transform once and twice on copies of an object.
func stripped[T any](t rapid.TB, transform func(any) (any, error), object T) (once T) {
	first, err := transform(object)
	if err != nil {
		t.Fatal(err)
	}
	once, kept := first.(T)
	if !kept {
		t.Fatalf("%T became %T", object, first)
	}
	return once
}

func TestStrippedPodTellsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod := anyPod(t)
		want := SelectedOf(pod)
		once := stripped(t, stripPod, pod.DeepCopy())
		if got := SelectedOf(once); !reflect.DeepEqual(got, want) || !maps.Equal(once.Labels, pod.Labels) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if twice := stripped(t, stripPod, once.DeepCopy()); !reflect.DeepEqual(twice, once) {
			t.Errorf("the second time it became %+v, after %+v", twice, once)
		}
		if once.Spec.NodeName != "" || once.ManagedFields != nil || len(once.Spec.Containers) > 0 && once.Spec.Containers[0].Env != nil {
			t.Errorf("%+v keeps what is never read", once)
		}
	})
}

func TestStrippedServiceAndSliceTellTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		service := aService(corev1.ServicePort{Name: "http", Port: 80})
		service.ObjectMeta = anyMeta(t)
		service.Name = "web"
		slice := aSlice("web", endpointOf("a", discoveryv1.EndpointConditions{Ready: &yes}, "10.0.0.1"))
		slice.ObjectMeta = anyMeta(t)
		whole := newShelf().add(service.DeepCopy(), slice.DeepCopy())
		bare := newShelf().add(stripped(t, stripService, service.DeepCopy()), stripped(t, stripSlice, slice.DeepCopy()))
		for _, shelf := range []*shelf{whole, bare} {
			if again := stripped(t, stripSlice, stripped(t, stripSlice, slice.DeepCopy())); !reflect.DeepEqual(again, bare.slices[0]) {
				t.Errorf("slice: the second time it became %+v, after %+v", again, shelf.slices[0])
			}
		}
		if again := stripped(t, stripService, stripped(t, stripService, service.DeepCopy())); !reflect.DeepEqual(again, bare.services[types.NamespacedName{Namespace: "shop", Name: "web"}]) {
			t.Errorf("service: the second time it became %+v", again)
		}
		want, err := NewCluster(whole).Facts(t.Context(), target.IPv4, []Binding{web})
		if err != nil {
			t.Fatal(err)
		}
		got, err := NewCluster(bare).Facts(t.Context(), target.IPv4, []Binding{web})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	})
}

func TestStripServiceKeepsAnnotations(t *testing.T) {
	service := aService()
	service.Annotations = map[string]string{"targetgroupcontroller.io/port": "http", corev1.LastAppliedConfigAnnotation: "{}"}
	got, err := stripService(service)
	if err != nil || !reflect.DeepEqual(got.(*corev1.Service).Annotations, map[string]string{"targetgroupcontroller.io/port": "http"}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// The cache hands markers of deletion through transforms too.
func TestTransformsPassOtherThingsOn(t *testing.T) {
	for _, transform := range []func(any) (any, error){stripPod, stripService, stripSlice} {
		if got, err := transform("something else"); got != "something else" || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

func TestCacheOptions(t *testing.T) {
	pods, err := labels.Parse("app in (web,api),!canary")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		scope Scope
		want  string // namespaces, and what of pods, Services and slices is asked for
	}{
		{Scope{}, "[] <nil> <nil> <nil>"},
		{Scope{Namespace: "shop"}, "[shop] <nil> <nil> <nil>"},
		{Scope{Namespace: "shop", Service: "web"}, "[shop] <nil> metadata.name=web kubernetes.io/service-name=web"},
		{Scope{Namespace: "shop", Pods: pods}, "[shop] app in (api,web),!canary <nil> <nil>"},
	} {
		options := CacheOptions(c.scope)
		var pod, service, slice any
		for object, by := range options.ByObject {
			switch object.(type) {
			case *corev1.Pod:
				pod = by.Label
			case *corev1.Service:
				service = by.Field
			case *discoveryv1.EndpointSlice:
				slice = by.Label
			}
		}
		got := fmt.Sprint(slices.Sorted(maps.Keys(options.DefaultNamespaces)), pod, service, slice)
		if got != c.want || len(options.ByObject) != 3 {
			t.Errorf("%+v: got %s, want %s", c.scope, got, c.want)
		}
	}
}

// To index slices is to watch them, for which there may be no right.
func TestBehaviour37_OnlyPodsAreIndexedWhereNoServiceCounts(t *testing.T) {
	s := &shelf{indexes: map[string]client.IndexerFunc{}}
	if err := AddIndexes(t.Context(), s, Scope{Pods: labels.Everything()}); err != nil || len(s.indexes) != 1 || s.indexes[podByGate] == nil {
		t.Errorf("got %d indexes, %v", len(s.indexes), err)
	}
}
