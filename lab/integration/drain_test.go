package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// witnessed is the image of the web server whose SIGTERM is noted.
const witnessed = "lab.local/witnessed"

// sigterms notes when programs got SIGTERM, by the clock that the simulator uses, too.
var sigterms struct {
	mu sync.Mutex
	at map[types.NamespacedName]time.Time
}

// witnessedWeb is app.Web, whose SIGTERM is noted.
func witnessedWeb(kill context.Context, c *app.Container) int {
	own := *c
	terminate := make(chan struct{})
	own.Terminate = terminate
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-c.Terminate:
			sigterms.mu.Lock()
			if sigterms.at == nil {
				sigterms.at = map[types.NamespacedName]time.Time{}
			}
			sigterms.at[types.NamespacedName{Namespace: c.Namespace, Name: c.Pod}] = time.Now()
			sigterms.mu.Unlock()
			close(terminate)
		case <-ended:
		}
	}()
	return app.Web(kill, &own)
}

// sigterm waits until a pod got SIGTERM, and tells when.
func (e *env) sigterm(pod *corev1.Pod) time.Time {
	e.Helper()
	var at time.Time
	e.eventually("SIGTERM of "+pod.Name, func() error {
		sigterms.mu.Lock()
		defer sigterms.mu.Unlock()
		if at = sigterms.at[client.ObjectKeyFromObject(pod)]; at.IsZero() {
			return errors.New("it serves on")
		}
		return nil
	})
	return at
}

// times of a drain, in seconds.
type times struct{ hold, late, shutdown int32 }

func (s times) deadline() time.Duration {
	return time.Duration(s.hold+s.late)*time.Second + drain.Margin - drain.Reserve
}

func (s times) of(mode v1beta1.DrainMode) func(*v1beta1.TargetGroupBinding) {
	return func(b *v1beta1.TargetGroupBinding) {
		b.Spec.Drain = &v1beta1.Drain{Mode: mode, HoldSeconds: &s.hold, LateSeconds: &s.late, ShutdownSeconds: &s.shutdown}
	}
}

// draining is an env whose pods drain.
type draining struct {
	*env
	group   target.ARN
	times   times
	process *rig.Process
}

// newDraining makes an env with a binding web that asks for draining, and returns when
// new pods get what it asks for.
func newDraining(t *testing.T, mode v1beta1.DrainMode, s times, args ...string) *draining {
	t.Helper()
	return newEnv(t).draining(mode, s, rig.ProcessOptions{Args: args})
}

// draining makes a binding web that asks for draining, and returns when new pods get
// what it asks for.
func (e *env) draining(mode v1beta1.DrainMode, s times, options rig.ProcessOptions) *draining {
	e.Helper()
	if err := installPolicy(); err != nil {
		e.Fatal(err)
	}
	e.deliver("policy")
	d := &draining{env: e, group: e.group(delaying("1")), times: s}
	e.service("web")
	e.binding("web", "web", d.group, s.of(mode))
	image := rig.Image
	if options.Clock != nil {
		image = rig.ClockImage
	}
	options.Args = append([]string{"--drain-image=" + image}, options.Args...)
	d.process = e.controllerWith(options)
	d.asked("web", 1)
	return d
}

// asked waits until new pods of a Service get what n bindings ask for.
func (d *draining) asked(service string, bindings int) {
	d.Helper()
	d.eventually("injection asked for", func() error {
		var list v1beta1.PodInjection
		if err := shared.API.Get(d.ctx, client.ObjectKey{Namespace: d.namespace, Name: v1beta1.PodInjectionName}, &list); err != nil {
			return err
		}
		if asking := list.ByLabel["app="+service]; len(asking) != bindings {
			return fmt.Errorf("%d bindings ask", len(asking))
		}
		return nil
	})
	err := shared.InjectedAs(d.ctx, d.namespace, map[string]string{"app": service}, func(pod *corev1.Pod) bool {
		return pod.Annotations[v1beta1.AnnotationDrainHold] == fmt.Sprint(d.times.hold)
	})
	if err != nil {
		d.Fatal(err)
	}
}

// serve makes a Deployment web whose pods are all healthy, as the controller knows.
func (d *draining) serve(replicas int32, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	d.Helper()
	web := d.deployment("web", replicas, append([]func(*appsv1.Deployment){func(w *appsv1.Deployment) {
		w.Spec.Template.Spec.Containers[0].Image = witnessed
		w.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{
			MaxSurge: ptr(intstr.FromInt32(1)), MaxUnavailable: ptr(intstr.FromInt32(0)),
		}
	}}, change...)...)
	d.settled(int(replicas))
	return web
}

// settled waits until n pods are healthy targets, as the controller knows.
func (d *draining) settled(n int) {
	d.Helper()
	d.inStep(d.group, "web", n)
	d.health(d.group, target.Healthy, n)
	d.eventually("the controller knows", func() error {
		if s := d.status("web"); int(s.Healthy) != n {
			return fmt.Errorf("the status counts %d healthy targets", s.Healthy)
		}
		return nil
	})
}

// deregistration waits until AWS accepted that of a pod, and tells when the call came.
func (d *draining) deregistration(group target.ARN, pod *corev1.Pod) time.Time {
	d.Helper()
	var at time.Time
	d.eventually("deregistration of "+pod.Name, func() error {
		for _, call := range d.calls(group, "DeregisterTargets") {
			if call.Code == elbsim.CodeOK && slices.Contains(call.Targets, pod.Status.PodIP+":8080") {
				at = call.Received
				return nil
			}
		}
		return fmt.Errorf("have %+v", d.calls(group, "DeregisterTargets"))
	})
	return at
}

// held fails if a pod got SIGTERM before the hold that follows a moment.
func (d *draining) held(pod *corev1.Pod, after time.Time) {
	d.Helper()
	if served := d.sigterm(pod).Sub(after); served < time.Duration(d.times.hold)*time.Second {
		d.Errorf("SIGTERM of %s came %v after its deregistration, want %d s at least", pod.Name, served, d.times.hold)
	}
}

// released fails if a pod got SIGTERM both before the hold that follows its
// deregistration and before its deadline. Deleted is a moment before its deletion.
func (d *draining) released(pod *corev1.Pod, deleted, accepted time.Time) {
	d.Helper()
	served := d.sigterm(pod)
	if served.Sub(accepted) < time.Duration(d.times.hold)*time.Second && served.Sub(deleted) < d.times.deadline() {
		d.Errorf("SIGTERM of %s came %v after its deregistration and %v after its deletion", pod.Name, served.Sub(accepted), served.Sub(deleted))
	}
}

// toTheDeadline fails if a pod got SIGTERM before its deadline. Deleted is a moment
// before its deletion.
func (d *draining) toTheDeadline(pod *corev1.Pod, deleted time.Time) {
	d.Helper()
	if served := d.sigterm(pod).Sub(deleted); served < d.times.deadline() {
		d.Errorf("SIGTERM of %s came %v after its deletion, want %v at least", pod.Name, served, d.times.deadline())
	}
}

// says waits until the condition of a pod has, or had, a status and a reason, and gives
// the latest such condition. The pod may be gone by then.
func (d *draining) says(pod *corev1.Pod, status corev1.ConditionStatus, reason target.Reason) corev1.PodCondition {
	d.Helper()
	var found corev1.PodCondition
	d.eventually(fmt.Sprintf("pod %s says %s (%s)", pod.Name, status, reason), func() error {
		history := said.of(pod)
		for _, c := range slices.Backward(history) {
			if c.Status == status && c.Reason == string(reason) {
				found = c
				return nil
			}
		}
		return fmt.Errorf("it said %+v", history)
	})
	return found
}

// outcome waits until the metrics count leaving pods that came out like this.
func (d *draining) outcome(p *rig.Process, outcome drain.Outcome) {
	d.Helper()
	d.metric(p, "tgc_drains_total", fmt.Sprintf("outcome=%q", outcome))
}

// refuse makes deregistrations fail, and gives what ends it.
func (d *draining) refuse(group target.ARN, code string) (end func()) {
	d.Helper()
	return d.fault(elbsim.Fault{Action: "DeregisterTargets", Group: group.String(), Kind: elbsim.FaultFail, Code: code, Message: "by the test"})
}

func TestDrain_RollingUpdate(t *testing.T) {
	for mode, late := range map[v1beta1.DrainMode]int32{v1beta1.DrainSleep: 30, v1beta1.DrainHold: 100} {
		t.Run(string(mode), func(t *testing.T) {
			d := newDraining(t, mode, times{hold: 3, late: late, shutdown: 2})
			web := d.serve(3)
			old := d.list("web")
			update(d.env, web, func(w *appsv1.Deployment) { w.Spec.Template.Annotations = map[string]string{"roll": "1"} })
			for i := range old {
				d.held(&old[i], d.deregistration(d.group, &old[i]))
				d.event(old[i].Name, string(target.Deregistered), "Deregistered from "+d.group.Name+" after ")
				d.event(old[i].Name, string(target.Deregistered), ", holding 3 s")
			}
			d.inStep(d.group, "web", 3)
			d.eventually("all three counted", func() error {
				page, err := d.process.Metrics(d.ctx)
				if err != nil {
					return err
				}
				return has(page, `tgc_drains_total{outcome="held"} 3`, `tgc_drains_total{outcome="forced"} 0`,
					`tgc_drains_total{outcome="uncovered"} 0`, fmt.Sprintf(`tgc_drain_deregistration_seconds_count{mode=%q} 3`, mode))
			})
		})
	}
}

// A deregistration that comes late makes the pod serve longer.
func TestDrain_DeregistrationThrottled(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 3, late: 100, shutdown: 2})
	d.serve(2)
	end := d.refuse(d.group, "Throttling")
	pod := d.list("web")[0]
	d.delete(&pod)
	message := d.says(&pod, corev1.ConditionFalse, target.Throttled).Message
	d.contains(message, "Still registered in "+d.group.Name, "DeregisterTargets of 1 target failed", "repeated by itself")
	end()
	accepted := d.deregistration(d.group, &pod)
	d.says(&pod, corev1.ConditionTrue, target.Deregistered)
	d.held(&pod, accepted)
	d.outcome(d.process, drain.Held)
}

// A controller is killed while pods drain, and another takes over: before AWS has
// accepted anything, and after. Deadlines are far away.
func TestDrain_ControllerKilledAndNewLeader(t *testing.T) {
	for _, moment := range []string{"before the deregistration", "after it"} {
		t.Run(moment, func(t *testing.T) {
			one, two := shared.NextDesk(), shared.NextDesk()
			common := []string{"--drain-image=" + rig.Image, "--drain-endpoint=" + one + "," + two, "--leader-elect-duration=3s"}
			d := newDraining(t, v1beta1.DrainHold, times{hold: 5, late: 300, shutdown: 2}, append(common, "--drain-bind-address="+one)...)
			d.serve(2)
			standby := d.controllerWith(rig.ProcessOptions{Args: common, Desk: two})
			pod := d.list("web")[0]
			if moment == "after it" {
				d.delete(&pod)
				accepted := d.deregistration(d.group, &pod)
				d.says(&pod, corev1.ConditionTrue, target.Deregistered)
				d.process.Kill()
				d.held(&pod, accepted)
				d.outcome(standby, drain.Held)
				return
			}
			end := d.refuse(d.group, "ServiceUnavailable")
			d.delete(&pod)
			d.says(&pod, corev1.ConditionFalse, target.AWSUnavailable)
			d.process.Kill()
			end()
			d.held(&pod, d.deregistration(d.group, &pod))
			d.outcome(standby, drain.Held)
		})
	}
}

// With no controller a pod holds by its own clock. The next one finds that it was too
// short, as far as it can know.
func TestDrain_ControllerUnreachable(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 2, late: 1, shutdown: 60})
	d.serve(2, func(w *appsv1.Deployment) { w.Spec.Template.Spec.Containers[0].Args = []string{"--linger=59s"} })
	d.process.Kill()
	pod := d.list("web")[0]
	deleted := time.Now()
	d.delete(&pod)
	d.toTheDeadline(&pod, deleted)
	next := d.controller("--drain-image=" + rig.Image)
	d.event(pod.Name, string(target.DrainForced), "deletion")
	d.outcome(next, drain.Forced)
}

// A group that is deleted has let go of its targets. What comes after is kept waiting
// by nothing.
func TestDrain_GroupDeletedDuringDrain(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 3, late: 100, shutdown: 2})
	web := d.serve(2, gatedBy("web"))
	d.refuse(d.group, "AccessDenied")
	pod := d.list("web")[0]
	d.delete(&pod)
	d.says(&pod, corev1.ConditionFalse, target.AccessDenied)
	deleted := time.Now()
	if err := d.sim.VanishGroup(d.group); err != nil {
		t.Fatal(err)
	}
	d.sim.ClearFaults()
	d.says(&pod, corev1.ConditionTrue, target.Deregistered)
	d.held(&pod, deleted)
	d.outcome(d.process, drain.Held)
	d.scale(web, 3)
	d.eventually("all pods ready", func() error { return same(d.pods("web"), d.pods("web"), 3) })
	opened := func(pod corev1.Pod) bool {
		return podCondition(&pod, v1beta1.ReadinessGateOf("web")).Reason == string(target.TargetGroupNotFound)
	}
	if !slices.ContainsFunc(d.list("web"), opened) {
		t.Errorf("no gate was opened for want of the group: %+v", d.list("web"))
	}
}

// Nothing holds a pod that is deleted by force; its target goes at once.
func TestDrain_PodForceDeleted(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 30, late: 100, shutdown: 2})
	d.serve(2)
	pod := d.list("web")[0]
	d.delete(&pod, client.GracePeriodSeconds(0))
	d.deregistration(d.group, &pod)
	d.event(pod.Name, string(target.DrainUncovered), "could still send")
	d.outcome(d.process, drain.Uncovered)
}

// What only a person can mend makes the pod hold to the deadline, and is tried now and
// then.
func TestDrain_IAMDenied(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 3, late: 10, shutdown: 2})
	d.serve(2)
	d.refuse(d.group, "AccessDenied")
	pod := d.list("web")[0]
	deleted := time.Now()
	d.delete(&pod)
	message := d.says(&pod, corev1.ConditionFalse, target.AccessDenied).Message
	d.contains(message, "allow the action")
	d.toTheDeadline(&pod, deleted)
	d.event(pod.Name, string(target.DrainForced), "Still registered")
	d.outcome(d.process, drain.Forced)
	if calls := d.calls(d.group, "DeregisterTargets"); len(calls) > 4 {
		t.Errorf("%d calls although each was denied", len(calls))
	}
}

// The deadline follows the grace period, which somebody shortens on the way.
func TestDrain_GracePeriodShortened(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 100, late: 300, shutdown: 2})
	d.serve(2)
	pod := d.list("web")[0]
	d.delete(&pod)
	d.says(&pod, corev1.ConditionTrue, target.Deregistered)
	d.delete(&pod, client.GracePeriodSeconds(30))
	d.event(pod.Name, string(target.GracePeriodShortened), "Deleted with a grace period of 30 s, while draining may take 402 s")
	d.event(pod.Name, string(target.DrainForced), "serve until 26 s after the deletion")
	d.sigterm(&pod)
	d.outcome(d.process, drain.Forced)
}

// A pod in two groups is held from the later deregistration on.
func TestDrain_PodInTwoGroups(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 3, late: 100, shutdown: 2})
	other := d.env.group(delaying("1"), func(g *elbsim.SeedGroup) { g.Name, g.LoadBalancer = "other", "other" })
	d.binding("other", "web", other, d.times.of(v1beta1.DrainHold))
	d.asked("web", 2)
	d.serve(2)
	d.inStep(other, "web", 2)
	d.health(other, target.Healthy, 2)
	end := d.refuse(other, "Throttling")
	pod := d.list("web")[0]
	d.delete(&pod)
	d.eventually("one group left, the other throttled", func() error {
		message := d.says(&pod, corev1.ConditionFalse, target.Throttled).Message
		if !strings.Contains(message, "Deregistered from "+d.group.Name+" after") || !strings.Contains(message, "still registered in other") {
			return errors.New(message)
		}
		return nil
	})
	end()
	d.held(&pod, d.deregistration(other, &pod))
	d.event(pod.Name, string(target.Deregistered), "other after ")
}

// A single replica is evicted, and its replacement takes its time: it stays registered
// until that is healthy.
func TestDrain_SingleReplicaEvicted(t *testing.T) {
	for mode, late := range map[v1beta1.DrainMode]int32{v1beta1.DrainSleep: 60, v1beta1.DrainHold: 300} {
		t.Run(string(mode), func(t *testing.T) {
			d := newDraining(t, mode, times{hold: 3, late: late, shutdown: 2})
			d.serve(1, func(w *appsv1.Deployment) { w.Spec.Template.Spec.Containers[0].Args = []string{"--startup-delay=4s"} })
			pod := d.list("web")[0]
			err := shared.API.SubResource("eviction").Create(d.ctx, &pod, &policyv1.Eviction{
				ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
			})
			if err != nil {
				t.Fatal(err)
			}
			d.says(&pod, corev1.ConditionFalse, target.LastHealthyTarget)
			accepted := d.deregistration(d.group, &pod)
			healthy := func(s elbsim.TargetState) bool { return s.State == target.Healthy }
			if now := d.targets(d.group); !slices.ContainsFunc(now, healthy) {
				t.Errorf("no target is healthy after the deregistration: %+v", now)
			}
			d.event("web", string(target.Held), string(target.LastHealthyTarget))
			d.held(&pod, accepted)
		})
	}
}

// A pod that is taken out of its Service just before its end is sent requests for a
// while like any other.
func TestDrain_PodTakenOutOfItsServiceJustBefore(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 4, late: 100, shutdown: 2})
	d.serve(2)
	pod := d.list("web")[0]
	update(d.env, &pod, func(p *corev1.Pod) { p.Labels["app"] = "quarantine" })
	accepted := d.deregistration(d.group, &pod)
	d.delete(&pod)
	d.held(&pod, accepted)
}

// Pods that no group holds need not wait.
func TestDrain_PodInNoGroup(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 100, late: 300, shutdown: 2})
	d.deployment("web", 1, func(w *appsv1.Deployment) {
		w.Spec.Template.Spec.Containers[0].Image = witnessed
		w.Spec.Template.Spec.Containers[0].Args = []string{"--unready"}
	})
	d.eventually("an address", func() error { return d.addressed("web", 1) })
	pod := d.list("web")[0]
	d.eventually("a container that runs", func() error {
		if err := shared.API.Get(d.ctx, client.ObjectKeyFromObject(&pod), &pod); err != nil {
			return err
		}
		if s := pod.Status.ContainerStatuses; len(s) == 0 || s[0].State.Running == nil {
			return fmt.Errorf("have %+v", s)
		}
		return nil
	})
	d.delete(&pod)
	d.sigterm(&pod)
}

// The hook that a container had before is run after the wait.
func TestDrain_OwnHookRunsAfterTheWait(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 3, late: 100, shutdown: 2})
	mark := filepath.Join(t.TempDir(), "mark")
	d.serve(2, func(w *appsv1.Deployment) {
		w.Spec.Template.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
			PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"touch", mark}}},
		}
	})
	pod := d.list("web")[0]
	d.delete(&pod)
	accepted := d.deregistration(d.group, &pod)
	d.held(&pod, accepted)
	info, err := os.Stat(mark)
	if err != nil {
		t.Fatal(err)
	}
	if early := accepted.Add(3 * time.Second).Sub(info.ModTime()); early > 100*time.Millisecond { // files count coarsely
		t.Errorf("it ran %v too early", early)
	}
}
