package trial

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

const webTarget = "10.0.0.1:8080"

// webWorld is one ready pod with a Service, a slice and a binding to group g.
func webWorld() *objects {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-of-" + name)}
	}
	o := newObjects()
	pod := &corev1.Pod{ObjectMeta: meta("pod")}
	pod.Labels = map[string]string{"app": "web"}
	pod.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.0.0.1",
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	o.pods[podsAt+namespace+"/pod"] = pod
	service := &corev1.Service{ObjectMeta: meta("web")}
	service.Spec.Selector = pod.Labels
	service.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}
	o.services[servicesAt+namespace+"/web"] = service
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta("web-1")}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "web"}
	slice.Ports = []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}}
	slice.Endpoints = []discoveryv1.Endpoint{{
		Addresses: []string{"10.0.0.1"}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "pod", UID: pod.UID},
	}}
	o.slices[slicesAt+namespace+"/web-1"] = slice
	binding := &v1beta1.TargetGroupBinding{ObjectMeta: meta("web")}
	binding.Spec = v1beta1.TargetGroupBindingSpec{
		TargetGroupName: "g", ServiceRef: v1beta1.ServiceReference{Name: "web", Port: intstr.FromInt32(80)},
	}
	o.bindings[bindingsAt+namespace+"/web"] = binding
	return o
}

// moments are ways in which a target of webWorld ceases to be wanted.
var moments = map[string]func(*objects){
	"the pod is not ready": func(o *objects) {
		o.pods[podsAt+namespace+"/pod"].Status.Conditions[0].Status = corev1.ConditionFalse
	},
	"the pod terminates": func(o *objects) {
		o.pods[podsAt+namespace+"/pod"].DeletionTimestamp = new(metav1.Now())
	},
	"the pod is another": func(o *objects) { o.pods[podsAt+namespace+"/pod"].UID = "another" },
	"the pod is gone":    func(o *objects) { clear(o.pods) },
	"the Service is gone": func(o *objects) {
		clear(o.services)
	},
	"the binding is gone": func(o *objects) { clear(o.bindings) },
	"the binding is being deleted": func(o *objects) {
		o.bindings[bindingsAt+namespace+"/web"].DeletionTimestamp = new(metav1.Now())
	},
	"the binding is another": func(o *objects) { o.bindings[bindingsAt+namespace+"/web"].UID = "another" },
}

func TestJudge(t *testing.T) {
	deregister := func(j *judge) []Violation {
		return j.calls([]elbsim.Call{{
			Action: "DeregisterTargets", Group: "arn", Targets: []string{webTarget}, Received: time.Now(),
		}})
	}
	within := func(t *testing.T, play func(t *testing.T, j *judge)) {
		synctest.Test(t, func(t *testing.T) {
			j := newJudge(map[string]string{"g": "arn"})
			j.observe(webWorld())
			play(t, j)
		})
	}
	t.Run("a pod that was ready all along", func(t *testing.T) {
		within(t, func(t *testing.T, j *judge) {
			time.Sleep(staleness)
			if found := deregister(j); len(found) != 1 || found[0].Pod != "pod" {
				t.Errorf("found %v, want one violation about the pod", found)
			}
		})
	})
	t.Run("news that the controller may not have", func(t *testing.T) {
		within(t, func(t *testing.T, j *judge) {
			time.Sleep(staleness - time.Nanosecond)
			if found := deregister(j); len(found) != 0 {
				t.Errorf("found %v", found)
			}
		})
	})
	for name, moment := range moments {
		t.Run(name+" for a moment", func(t *testing.T) {
			within(t, func(t *testing.T, j *judge) {
				time.Sleep(time.Minute)
				other := webWorld()
				moment(other)
				j.observe(other)
				j.observe(webWorld())
				time.Sleep(staleness - time.Nanosecond)
				if found := deregister(j); len(found) != 0 {
					t.Errorf("within the staleness: found %v", found)
				}
				time.Sleep(time.Nanosecond)
				if found := deregister(j); len(found) != 1 {
					t.Errorf("after it: found %v, want one violation", found)
				}
			})
		})
	}
	t.Run("an outage reaches back", func(t *testing.T) {
		within(t, func(t *testing.T, j *judge) {
			time.Sleep(5 * time.Second)
			up := j.down()
			time.Sleep(4 * time.Second)
			up()
			time.Sleep(2*4*time.Second + relisting - time.Nanosecond)
			if found := deregister(j); len(found) != 0 {
				t.Errorf("before clients are back: found %v", found)
			}
			time.Sleep(time.Nanosecond)
			if found := deregister(j); len(found) != 1 {
				t.Errorf("after it: found %v, want one violation", found)
			}
		})
	})
	t.Run("only its slice is late", func(t *testing.T) {
		within(t, func(t *testing.T, j *judge) {
			time.Sleep(staleness)
			other := webWorld()
			clear(other.slices)
			j.observe(other)
			if found := deregister(j); len(found) != 0 || j.lagging != 1 {
				t.Errorf("found %v, %d excused by the slice alone; want none and 1", found, j.lagging)
			}
		})
	})
}

func TestLookBackThroughOutages(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	second := func(n int) time.Time { return base.Add(time.Duration(n) * time.Second) }
	outages := []outage{{second(0), second(2)}, {second(10), second(12)}, {from: second(100)}}
	for at, want := range map[int]int{
		30:  20,  // all is over
		20:  -10, // still after the second, which began while still after the first
		9:   0 - 10,
		105: 90, // during the third
	} {
		if got := lookBack(second(at), outages); !got.Equal(second(want)) {
			t.Errorf("from second %d: back to %s, want second %d", at, got.Sub(base), want)
		}
	}
}
