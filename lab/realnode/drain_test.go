package realnode_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

const policyDelivery = "policy"

// installPolicy puts the policy in force where namespaces ask for it, unless it is.
func installPolicy(ctx context.Context) error {
	if err := shared.InstallPolicy(ctx, policyDelivery); !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// hour is longer than any test: who waits for so long has not done what it should.
const hour = 3600

// newDraining makes a bed of two healthy pods, which tgc puts a drain hook of a mode
// into. Pods hold for so many seconds after a deregistration that may be so late.
func newDraining(t *testing.T, mode v1beta1.DrainMode, hold, late int32, change ...func(*corev1.Container)) (*bed, []*corev1.Pod) {
	t.Helper()
	needNodes(t)
	t.Parallel()
	if err := installPolicy(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := &bed{namespace: namespace(t)}
	b.plant(t)
	service(t, b.namespace, "web")
	if err := shared.Deliver(t.Context(), b.namespace, policyDelivery); err != nil {
		t.Fatal(err)
	}
	b.bind(t, func(s *v1beta1.TargetGroupBindingSpec) {
		s.Drain = &v1beta1.Drain{Mode: mode, HoldSeconds: &hold, LateSeconds: &late, ShutdownSeconds: new(int32(2))}
	})
	b.control(t, "--drain-image="+rig.Image)
	if err := shared.Injected(t.Context(), b.namespace, map[string]string{"app": "web"}); err != nil {
		t.Fatal(err)
	}
	var pods []*corev1.Pod
	for _, name := range []string{"web-1", "web-2"} {
		pod := webPod(b.namespace, name)
		pod.Labels = map[string]string{"app": "web"}
		for _, c := range change {
			c(&pod.Spec.Containers[0])
		}
		pods = append(pods, create(t, pod))
	}
	for i := range pods {
		pods[i] = until(t, pods[i], "ready", ready)
	}
	awaitHealthy(t, b.group, len(pods))
	return b, pods
}

// bind makes the bed's binding.
func (b *bed) bind(t *testing.T, change func(*v1beta1.TargetGroupBindingSpec)) {
	t.Helper()
	binding := &v1beta1.TargetGroupBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "web"},
		Spec: v1beta1.TargetGroupBindingSpec{
			TargetGroupARN: b.group.String(),
			ServiceRef:     v1beta1.ServiceReference{Name: "web", Port: intstr.FromInt32(80)},
		},
	}
	change(&binding.Spec)
	if err := shared.API.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
}

// control runs tgc as a process beside the cluster until the test ends.
func (b *bed) control(t *testing.T, args ...string) {
	t.Helper()
	controller, err := shared.Controller(context.WithoutCancel(t.Context()), rig.ProcessOptions{
		Args: append([]string{"--namespace=" + b.namespace}, args...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		controller.Stop()
		if t.Failed() {
			t.Logf("log of tgc:\n%s", controller.Log())
		}
	})
}

// deregistered waits until AWS has accepted that of a pod, and tells when the call came.
func (b *bed) deregistered(t *testing.T, pod *corev1.Pod) (at time.Time) {
	t.Helper()
	address := net.JoinHostPort(pod.Status.PodIP, "8080")
	eventually(t, "deregistration of "+pod.Name, func() error {
		for _, call := range shared.Sim.Calls() {
			if call.Group == b.group.String() && call.Action == "DeregisterTargets" && call.Code == elbsim.CodeOK && slices.Contains(call.Targets, address) {
				at = call.Received
				return nil
			}
		}
		return errors.New("there was no such call")
	})
	return at
}

func remove(t *testing.T, pod *corev1.Pod, options ...client.DeleteOption) {
	t.Helper()
	if err := shared.API.Delete(t.Context(), pod.DeepCopy(), options...); err != nil {
		t.Fatal(err)
	}
}

// event waits until there is one about a pod that says some words, and tells when it
// was made.
func event(t *testing.T, pod *corev1.Pod, reason, words string) (at time.Time) {
	t.Helper()
	eventually(t, "event "+reason, func() error {
		var list corev1.EventList
		if err := shared.API.List(t.Context(), &list, client.InNamespace(pod.Namespace)); err != nil {
			return err
		}
		var have []string
		for _, e := range list.Items {
			if e.InvolvedObject.Name == pod.Name {
				have = append(have, e.Reason+": "+e.Message)
			}
			if e.InvolvedObject.Name == pod.Name && e.Reason == reason && strings.Contains(e.Message, words) {
				at = e.CreationTimestamp.Time
				return nil
			}
		}
		return fmt.Errorf("have %q", have)
	})
	return at
}

// A pod that is deleted serves on until the load balancer's nodes can have learned of
// its deregistration, and ends in order then.
func TestDrainedPodServesOn(t *testing.T) {
	for mode, late := range map[v1beta1.DrainMode]int32{v1beta1.DrainSleep: 4, v1beta1.DrainHold: hour} {
		t.Run(string(mode), func(t *testing.T) {
			const hold = 3
			b, pods := newDraining(t, mode, hold, late)
			log := logs(t, pods[0], "web")
			remove(t, pods[0])
			accepted := b.deregistered(t, pods[0])
			if _, err := ask(t.Context(), pods[0], http.MethodGet, "/"); err != nil {
				t.Errorf("after its deregistration: %v", err)
			}
			lines := log()
			if served := find(t, lines, `"event":"SIGTERM"`).Sub(accepted); served < hold*time.Second {
				t.Errorf("SIGTERM came %v after the deregistration, want %d s at least", served, hold)
			}
			find(t, lines, `"event":"exit","code":0`)
			event(t, pods[0], string(target.Deregistered), fmt.Sprintf(", holding %d s", hold))
		})
	}
}

// The hook that a container had before runs after the wait: the kubelet tells of its
// failure.
func TestHookOfTheContainerRunsAfterTheWait(t *testing.T) {
	const hold = 3
	b, pods := newDraining(t, v1beta1.DrainHold, hold, hour, func(c *corev1.Container) {
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
			Exec: &corev1.ExecAction{Command: []string{"/container", "job", "--code=7"}},
		}}
	})
	remove(t, pods[0])
	accepted := b.deregistered(t, pods[0])
	// Times in the API are whole seconds.
	if failed := event(t, pods[0], "FailedPreStopHook", "").Add(time.Second); failed.Sub(accepted) < hold*time.Second {
		t.Errorf("it ran %v after the deregistration, want %d s at least", failed.Sub(accepted), hold)
	}
}

// A container that its liveness probe restarts does not wait: its pod stays.
func TestLivenessRestartDoesNotWait(t *testing.T) {
	b, pods := newDraining(t, v1beta1.DrainHold, hour, hour, func(c *corev1.Container) {
		c.LivenessProbe = &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")}},
			PeriodSeconds: 1, FailureThreshold: 1,
		}
	})
	if _, err := ask(t.Context(), pods[0], http.MethodPost, "/lab/live?to=false"); err != nil {
		t.Fatal(err)
	}
	until(t, pods[0], "restarted and ready", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount == 1 && ready(p)
	})
	awaitHealthy(t, b.group, len(pods))
}

// A grace period that is cut on the way ends the wait in time for the application.
func TestGracePeriodCutEndsTheWait(t *testing.T) {
	b, pods := newDraining(t, v1beta1.DrainHold, hour, hour)
	log := logs(t, pods[0], "web")
	remove(t, pods[0])
	b.deregistered(t, pods[0])
	remove(t, pods[0], client.GracePeriodSeconds(10))
	lines := log()
	if term, exit := find(t, lines, `"event":"SIGTERM"`), find(t, lines, `"event":"exit","code":0`); exit.Before(term) {
		t.Errorf("SIGTERM at %v, exit at %v", term, exit)
	}
	event(t, pods[0], string(target.GracePeriodShortened), "Deleted with a grace period of 10 s")
	event(t, pods[0], string(target.DrainForced), "")
}
