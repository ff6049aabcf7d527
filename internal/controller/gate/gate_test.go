package gate

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const kind = v1beta1.ReadinessGatePrefix + "web"

// stale is a cache that shows the same pod whatever was written, as a real one does
// for a moment. It counts the writes, and refuses them with err.
type stale struct {
	client.Client
	pod    *corev1.Pod
	writes int
	err    error
}

func (s *stale) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if s.pod == nil {
		return apierrors.NewNotFound(corev1.Resource("pods"), "web-1")
	}
	s.pod.DeepCopyInto(into.(*corev1.Pod))
	return nil
}

func (s *stale) Status() client.SubResourceWriter { return writer{s: s} }

type writer struct {
	client.SubResourceWriter
	s *stale
}

func (w writer) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	w.s.writes++
	return w.s.err
}

// rig is a Reconciler before a stale cache, with a pod that has waited for so long.
func rig(waited time.Duration) (*Reconciler, *stale) {
	since := metav1.NewTime(time.Now().Add(-waited))
	s := &stale{pod: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "uid-1"},
		Spec:       corev1.PodSpec{ReadinessGates: []corev1.PodReadinessGate{{ConditionType: kind}}},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: since},
		}},
	}}
	web := kube.Binding{ID: desired.BindingID{Namespace: "shop", Name: "web"}}
	registry := controller.NewRegistry()
	registry.Bind(web.ID, controller.Bound{Binding: web, Target: target.Group{ARN: target.ARN{Name: "g"}}})
	return &Reconciler{
		Client: s, Registry: registry, Answers: controller.NewAnswers(), Board: controller.NewBoard(),
		Metrics: metrics.New(prometheus.NewRegistry()), Flags: []kube.Binding{web},
	}, s
}

// says lets a group say something to the pod, and the pod be reconciled.
func (r *Reconciler) says(t *testing.T, uid string, open bool, reason target.Reason) time.Duration {
	t.Helper()
	r.Answers.Post(target.ARN{Name: "g"}, []report.Gate{{
		Pod: desired.PodRef{Namespace: "shop", Name: "web-1", UID: uid}, Type: kind, Condition: report.Condition{True: open, Reason: reason},
	}})
	result, err := r.Reconcile(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web-1"})
	if err != nil {
		t.Fatal(err)
	}
	return result.RequeueAfter
}

func expectWrites(t *testing.T, s *stale, what string, want int) {
	t.Helper()
	if s.writes != want {
		t.Errorf("%s: %d writes so far, want %d", what, s.writes, want)
	}
}

// The cache does not show yet that a gate was opened when its target turns unhealthy.
func TestBehaviour24_WhatWasOpenedIsNotClosedByAStaleCache(t *testing.T) {
	r, s := rig(time.Minute)
	r.says(t, "uid-1", true, target.TargetHealthy)
	expectWrites(t, s, "opened", 1)
	r.says(t, "uid-1", false, "Target.Timeout")
	expectWrites(t, s, "unhealthy", 1)
	s.pod.UID = "uid-2" // another pod of the name
	r.says(t, "uid-2", false, "Target.Timeout")
	expectWrites(t, s, "another pod", 2)
	s.pod = nil
	r.says(t, "uid-2", false, "Target.Timeout")
	if len(r.opened) != 0 {
		t.Errorf("%v is remembered of pods that are gone", r.opened)
	}
}

func TestBehaviour22_GateIsWrittenOnlyWhenItChanges(t *testing.T) {
	r, s := rig(time.Minute)
	r.says(t, "uid-1", false, "Target.Timeout")
	expectWrites(t, s, "first said", 1)
	s.pod.Status.Conditions = append(s.pod.Status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: "Target.Timeout"})
	r.says(t, "uid-1", false, "Target.Timeout")
	expectWrites(t, s, "said again", 1)
	r.says(t, "uid-1", false, "Target.ResponseCodeMismatch")
	expectWrites(t, s, "something else", 2)
}

// A write that came too early is made again, and counts for nothing until then.
func TestConflictOfAGateIsTriedAgain(t *testing.T) {
	r, s := rig(time.Minute)
	s.err = apierrors.NewConflict(corev1.Resource("pods"), "web-1", nil)
	if again := r.says(t, "uid-1", true, target.TargetHealthy); again != soon {
		t.Errorf("again after %v, want %v", again, soon)
	}
	s.err = nil
	r.says(t, "uid-1", true, target.TargetHealthy)
	expectWrites(t, s, "again", 2)
}

// What is over in a moment is not worth a write for every pod of a rollout.
func TestFleetingAnswersWait(t *testing.T) {
	r, s := rig(0)
	if again := r.says(t, "uid-1", false, target.Syncing); again <= 0 || again > fleeting {
		t.Errorf("again after %v, want %v at most", again, fleeting)
	}
	expectWrites(t, s, "being registered", 0)
	r.says(t, "uid-1", false, "Elb.RegistrationInProgress")
	expectWrites(t, s, "registered", 1)
	r, s = rig(fleeting)
	r.says(t, "uid-1", false, target.Syncing)
	expectWrites(t, s, "not registered for long", 1)
}

// A program that watches no objects leaves gates alone that are none of its flags'.
func TestGatesOfOthersAreLeftAlone(t *testing.T) {
	r, s := rig(time.Minute)
	if _, err := r.Reconcile(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web-1"}); err != nil {
		t.Fatal(err)
	}
	expectWrites(t, s, "not ours to answer", 0)
}
