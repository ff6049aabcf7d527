package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// The API server is gone while two pods leave: one is held from its deregistration on,
// as ever; of the other's nobody can be told, and it holds to its deadline. No other
// target is touched, neither in the outage nor by the lists after it.
func TestDrain_APIServerOutage(t *testing.T) {
	e := newEnvAlone(t) // all tests share the API server
	d := e.draining(v1beta1.DrainHold, times{hold: 6, late: 30, shutdown: 2}, rig.ProcessOptions{Args: []string{"--leader-elect-duration=5m"}})
	d.serve(4)
	pods := d.list("web")
	told, untold := &pods[0], &pods[1]
	d.delete(told)
	first := d.deregistration(d.group, told)
	d.says(told, corev1.ConditionTrue, target.Deregistered)
	end := d.refuse(d.group, "Throttling")
	deleted := time.Now()
	d.delete(untold)
	d.says(untold, corev1.ConditionFalse, target.Throttled)

	shared.StopAPIServer()
	end()
	second := d.deregistration(d.group, untold)
	d.held(told, first)
	d.held(untold, second)
	d.toTheDeadline(untold, deleted)
	if err := shared.StartAPIServer(e.ctx); err != nil {
		t.Fatal(err)
	}

	d.settled(4)
	for _, call := range d.calls(d.group, "DeregisterTargets") {
		for _, gone := range call.Targets {
			if gone != told.Status.PodIP+":8080" && gone != untold.Status.PodIP+":8080" {
				t.Errorf("%s was deregistered: %+v", gone, call)
			}
		}
	}
	d.eventually("both counted", func() error {
		page, err := d.process.Metrics(d.ctx)
		if err != nil {
			return err
		}
		return has(page, `tgc_drains_total{outcome="held"} 2`, `tgc_drains_total{outcome="forced"} 0`, `tgc_drains_total{outcome="uncovered"} 0`)
	})
}

// The wall clock of the controller and of the pod is set ahead, or back, while the pod
// waits to be deregistered, and set right while it is held.
func TestDrain_ClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			clock := e.clock()
			d := e.draining(v1beta1.DrainHold, times{hold: 5, late: 300, shutdown: 2}, rig.ProcessOptions{Clock: clock})
			d.serve(2, clocked(clock))
			pod := d.list("web")[0]
			end := d.refuse(d.group, "Throttling")
			d.delete(&pod)
			d.says(&pod, corev1.ConditionFalse, target.Throttled)
			d.set(clock, jump)
			end()
			accepted := d.deregistration(d.group, &pod)
			d.says(&pod, corev1.ConditionTrue, target.Deregistered)
			d.set(clock, 0)
			d.held(&pod, accepted)
			d.outcome(d.process, drain.Held)
		})
	}
}

// The last healthy target is released neither earlier nor later for a clock that jumps.
func TestDrain_ClockJumpsWhileTheLastHealthyTargetWaits(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			clock := e.clock()
			d := e.draining(v1beta1.DrainHold, times{hold: 3, late: 60, shutdown: 2}, rig.ProcessOptions{Clock: clock})
			web := d.serve(1, clocked(clock))
			pod := d.list("web")[0]
			deleted := time.Now()
			d.scale(web, 0)
			d.says(&pod, corev1.ConditionFalse, target.LastHealthyTarget)
			d.set(clock, jump)
			d.looks(d.group, 2)
			if len(d.calls(d.group, "DeregisterTargets")) > 0 {
				t.Error("it was released when the clock jumped")
			}
			d.released(&pod, deleted, d.deregistration(d.group, &pod))
		})
	}
}

// clock makes a clock that the test sets.
func (e *env) clock() *rig.Clock {
	e.Helper()
	clock, err := shared.NewClock(e.ctx)
	if err != nil {
		e.Fatal(err)
	}
	return clock
}

// set makes a clock be ahead of the machine's.
func (e *env) set(clock *rig.Clock, ahead time.Duration) {
	e.Helper()
	if err := clock.Set(ahead); err != nil {
		e.Fatal(err)
	}
}

// clocked gives pods a clock.
func clocked(clock *rig.Clock) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		name, value, _ := strings.Cut(clock.Env, "=")
		d.Spec.Template.Spec.Containers[0].Env = []corev1.EnvVar{{Name: name, Value: value}}
	}
}

// Nothing is to come after the last healthy target: it stays for as long as it can,
// and is released with just the time left to hold.
func TestDrain_LastHealthyTargetWithoutSuccessor(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 3, late: 20, shutdown: 2})
	web := d.serve(1)
	pod := d.list("web")[0]
	deleted := time.Now()
	d.scale(web, 0)
	d.says(&pod, corev1.ConditionFalse, target.LastHealthyTarget)
	d.released(&pod, deleted, d.deregistration(d.group, &pod))
}

// A pod gets the address of one whose target drains, as soon as that was deregistered.
// What the load balancer says lags, so that it calls the old target healthy for a while,
// and the new one does not answer.
func TestDrain_AddressReusedWhileTheOldTargetDrains(t *testing.T) {
	e := newEnv(t, func(s *elbsim.Settings) { s.VisibilityLag = elbsim.Duration(8 * time.Second) })
	group, old, listed := e.healthyByHand("10.200.0.1")
	called := func(action string, times int) {
		e.eventually(action, func() error {
			if calls := e.calls(group, action); len(calls) != times {
				return fmt.Errorf("have %+v", calls)
			}
			return nil
		})
	}
	e.delete(old, client.GracePeriodSeconds(0))
	e.delete(listed)
	called("DeregisterTargets", 1)
	e.endpoint(e.byHand("new", "10.200.0.1", v1beta1.ReadinessGateOf("web")))
	called("RegisterTargets", 2)
	e.gateOf("web", "web", 1, corev1.ConditionFalse, "Target.FailedHealthChecks")
	e.override(group, "10.200.0.1", target.Healthy)
	e.gateOf("web", "web", 1, corev1.ConditionTrue, target.TargetHealthy)
}

// All containers fail their liveness probes, over and over: no restart waits, no pod
// leaves, and the group is never empty.
func TestDrain_LivenessRestartStorm(t *testing.T) {
	d := newDraining(t, v1beta1.DrainHold, times{hold: 100, late: 300, shutdown: 2})
	alive := filepath.Join(t.TempDir(), "alive")
	touch(t, alive)
	d.serve(6, func(w *appsv1.Deployment) {
		w.Spec.Template.Spec.Containers[0].LivenessProbe = &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-f", alive}}},
			PeriodSeconds: 1, FailureThreshold: 1,
		}
	})
	before := d.pods("web")
	if err := os.Remove(alive); err != nil {
		t.Fatal(err)
	}
	d.eventually("three restarts of each", func() error {
		if len(d.registered(d.group)) == 0 {
			t.Fatal("the group is empty")
		}
		for _, pod := range d.list("web") {
			if s := pod.Status.ContainerStatuses; len(s) == 0 || s[0].RestartCount < 3 {
				return fmt.Errorf("pod %s: %+v", pod.Name, s)
			}
		}
		return nil
	})
	touch(t, alive)
	d.settled(6)
	if after := d.pods("web"); !slices.Equal(before, after) {
		t.Errorf("the pods were %v, and are %v", before, after)
	}
	for _, pod := range d.list("web") {
		if said := podCondition(&pod, v1beta1.PodDeregistered); said.Status != "" {
			t.Errorf("%s, which stays, says %+v", pod.Name, said)
		}
	}
}

func touch(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
