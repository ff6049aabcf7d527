package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// actLimit bounds an act on the world. What an outage keeps from happening is left
// out: the next acts come anyway.
const actLimit = 8 * time.Second

// perform does one act. An error ends the round.
func (r *round) perform(ctx context.Context, a Act) error {
	switch a.Kind {
	case KillController:
		return r.kill(ctx, a)
	case AWSFault, SmallBudget, SlowAWS:
		return r.trouble(ctx, a)
	case BreakWatches:
		up := r.judge.down()
		r.proxy.cut()
		up()
		return nil
	case RestartServer, RestartEtcd, TakeSnapshot:
		return r.outage(ctx, a)
	case RestoreEtcd:
		return r.restore(ctx, a)
	}
	return r.change(ctx, a)
}

// kill kills the controller, at once or when a call to AWS has just come in.
func (r *round) kill(ctx context.Context, a Act) error {
	if a.Hard {
		r.awaitCall(ctx)
		idle(ctx, time.Duration(a.N)*10*time.Millisecond)
	}
	for ctx.Err() == nil {
		midst := r.inFlight()
		if r.replicas.kill(a.Of == 0) > 0 {
			r.mu.Lock()
			r.result.Kills++
			if midst {
				r.result.Midst++
			}
			r.mu.Unlock()
			break
		}
		idle(ctx, 20*time.Millisecond) // it is just being started
	}
	idle(ctx, a.For)
	return nil
}

// awaitCall waits a while for a call that changes a group to come in.
func (r *round) awaitCall(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	before := r.writes()
	for ctx.Err() == nil && r.writes() == before {
		idle(ctx, 2*time.Millisecond)
	}
}

// writes counts the calls that change groups.
func (r *round) writes() (n int) {
	for _, call := range r.Sim.Calls() {
		if changes(call) {
			n++
		}
	}
	return n
}

func changes(call elbsim.Call) bool {
	return call.Action == "RegisterTargets" || call.Action == "DeregisterTargets"
}

func (r *round) inFlight() bool {
	return slices.ContainsFunc(r.Sim.Calls(), func(c elbsim.Call) bool { return c.Code == "" && changes(c) })
}

// trouble makes AWS misbehave for a while.
func (r *round) trouble(ctx context.Context, a Act) error {
	if a.Kind == AWSFault {
		fault, err := r.Sim.AddFault(a.Fault)
		if err != nil {
			return err
		}
		idle(ctx, a.For)
		r.Sim.RemoveFault(fault.ID)
		return nil
	}
	usual := r.Sim.Settings()
	settings := usual
	if a.Kind == SmallBudget {
		settings.Buckets = map[model.Class]model.Bucket{
			model.ClassRegistration: {Capacity: a.N, PerSecond: 1},
			model.ClassDescribe:     {Capacity: 2 * a.N, PerSecond: 2},
			model.ClassTotal:        {Capacity: 2 * a.N, PerSecond: 2},
		}
	} else {
		settings.Latency.Fixed = elbsim.Duration(time.Duration(a.N) * time.Millisecond)
	}
	if err := r.Sim.Configure(settings); err != nil {
		return err
	}
	idle(ctx, a.For)
	return r.Sim.Configure(usual)
}

// outage stops a part of the control plane for a while.
func (r *round) outage(ctx context.Context, a Act) error {
	up := r.judge.down()
	defer up()
	switch a.Kind {
	case RestartServer:
		r.StopAPIServer()
		idle(ctx, a.For)
		return r.StartAPIServer(ctx)
	case RestartEtcd:
		r.StopEtcd()
		idle(ctx, a.For)
		return r.StartEtcd(ctx)
	}
	snapshot, err := r.Snapshot(ctx)
	r.snapshot = snapshot
	return err
}

// restore takes etcd back to the snapshot, with or without a controller that looks on.
func (r *round) restore(ctx context.Context, a Act) error {
	r.watchman.travel.Lock()
	defer r.watchman.travel.Unlock()
	up := r.judge.down()
	defer up()
	if a.Hard {
		r.replicas.stop()
		defer r.replicas.start(r.ctx, r.plan.Replicas)
	}
	r.history.pause()
	at, err := r.Restore(ctx, r.snapshot)
	if err != nil {
		return err
	}
	return errors.Join(r.history.resume(ctx, at), r.snapshot.Discard())
}

// change changes the world. What cannot be done is left out.
func (r *round) change(ctx context.Context, a Act) error {
	try := func(do func(context.Context) error) {
		within, cancel := context.WithTimeout(ctx, actLimit)
		defer cancel()
		_ = persist(within, func() error { return client.IgnoreNotFound(do(within)) })
	}
	name := apps[a.Of%len(apps)].name
	switch a.Kind {
	case Scale:
		try(func(ctx context.Context) error { return r.mendDeployment(ctx, apps[a.Of], int32(a.N)) })
	case Rollout:
		try(func(ctx context.Context) error { return r.rollOut(ctx, name) })
	case DeletePod:
		try(func(ctx context.Context) error { return r.deletePod(ctx, name, a) })
	case Unready:
		try(func(ctx context.Context) error { return r.unready(ctx, name, a) })
	case RecreateSvc:
		try(func(ctx context.Context) error { return r.API.Delete(ctx, r.service(apps[a.Of])) })
		idle(ctx, a.For)
		try(func(ctx context.Context) error { return r.exist(ctx, r.service(apps[a.Of])) })
	case RecreateBind:
		if a.Of == len(bindings) {
			try(func(ctx context.Context) error { return r.annotate(ctx, "") })
			idle(ctx, a.For)
			try(func(ctx context.Context) error { return r.annotate(ctx, r.groups["api"]) })
			return nil
		}
		try(func(ctx context.Context) error { return r.API.Delete(ctx, r.binding(bindings[a.Of])) })
		idle(ctx, a.For)
		try(func(ctx context.Context) error { return r.exist(ctx, r.binding(bindings[a.Of])) })
	default:
		return fmt.Errorf("nobody knows how to do %q", a.Kind)
	}
	return nil
}

func (r *round) rollOut(ctx context.Context, name string) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"trial/rollout":%q}}}}}`, time.Now().String())
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	return r.API.Patch(ctx, d, client.RawPatch("application/merge-patch+json", patch))
}

// pod picks the n-th pod of an application; nil if it has none.
func (r *round) pod(ctx context.Context, name string, n int) (*corev1.Pod, error) {
	var pods corev1.PodList
	err := r.API.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app": name})
	if err != nil || len(pods.Items) == 0 {
		return nil, err
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return &pods.Items[n%len(pods.Items)], nil
}

func (r *round) deletePod(ctx context.Context, name string, a Act) error {
	pod, err := r.pod(ctx, name, a.N)
	if err != nil || pod == nil {
		return err
	}
	if a.Hard {
		return r.API.Delete(ctx, pod, client.GracePeriodSeconds(0))
	}
	return r.API.Delete(ctx, pod)
}

// unready makes a pod not ready for a while.
func (r *round) unready(ctx context.Context, name string, a Act) error {
	pod, err := r.pod(ctx, name, a.N)
	if err != nil || pod == nil {
		return err
	}
	if err := r.setReady(ctx, pod, false); err != nil {
		return err
	}
	idle(ctx, a.For)
	return r.setReady(ctx, pod, true)
}
