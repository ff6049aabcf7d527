package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

// GateOptions of a measurement of readiness gates.
type GateOptions struct {
	// Deployments is how many there are, each with a Service and a target group, and
	// Pods how many pods each has, all with a gate.
	Deployments, Pods int
	// Latency is how long each AWS call takes.
	Latency time.Duration
	// Registration is for how long the load balancer registers a target.
	Registration time.Duration
	// Rolls is how often all Deployments are rolled at once.
	Rolls int
}

// Gates measures how long after the load balancer finds a pod healthy its gate is
// open, first when all pods come at once, then in rollouts of all Deployments.
func Gates(ctx context.Context, o GateOptions, out io.Writer) error {
	settings := elbsim.DefaultSettings()
	settings.Latency = elbsim.Latency{Fixed: elbsim.Duration(o.Latency)}
	settings.ALBRegistration = elbsim.Duration(o.Registration)
	r, err := rig.Start(ctx, rig.Options{
		Simulator: elbsim.Options{Settings: &settings}, Progress: out,
		World: world.Options{Nodes: max(3, 2*o.Deployments*o.Pods/200+1)},
	})
	if err != nil {
		return err
	}
	defer r.Stop()
	g := &gateBench{GateOptions: o, bench: &bench{Options: Options{Services: o.Deployments, Pods: o.Pods}, rig: r, out: out}}
	return g.run(ctx)
}

type gateBench struct {
	GateOptions
	*bench
}

func (g *gateBench) run(ctx context.Context) error {
	w := &gateWatcher{healthy: map[string]time.Time{}, open: map[string]time.Time{}, name: map[string]string{}}
	if err := g.follow(ctx, w); err != nil {
		return err
	}
	controller, err := g.rig.Controller(ctx, rig.ProcessOptions{Args: []string{"--leader-elect=false"}})
	if err != nil {
		return err
	}
	defer controller.Stop()
	if err := g.measure(ctx, "all pods come at once", w, func() error { return g.plantAll(ctx) }); err != nil {
		return err
	}
	for i := range g.Rolls {
		// What a roll leaves behind is gone, and the budget full again.
		if err := g.awaitRest(ctx); err != nil {
			return err
		}
		roll := func() error { return g.roll(ctx, fmt.Sprint(i)) }
		if err := g.measure(ctx, fmt.Sprintf("rollout %d of all Deployments", i+1), w, roll); err != nil {
			return err
		}
	}
	return nil
}

func (g *gateBench) plantAll(ctx context.Context) error {
	for i := range g.Deployments {
		name := fmt.Sprintf("web-%03d", i)
		arn, err := g.rig.Sim.PlantGroup(elbsim.SeedGroup{
			Name: name, Protocol: "HTTP", LoadBalancer: fmt.Sprintf("front-%d", i/50),
			Attributes:  map[string]string{model.DeregistrationDelayKey: "5"},
			HealthCheck: elbsim.SeedCheck{Path: "/readyz", Interval: elbsim.Duration(10 * time.Second)},
		})
		if err != nil {
			return err
		}
		for _, object := range g.objects(name, arn.String()) {
			if d, ok := object.(*appsv1.Deployment); ok {
				gate := corev1.PodReadinessGate{ConditionType: v1beta1.ReadinessGateOf(name)}
				d.Spec.Template.Spec.ReadinessGates = []corev1.PodReadinessGate{gate}
				d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{
					MaxSurge: new(intstr.FromString("25%")), MaxUnavailable: new(intstr.FromInt32(0)),
				}
			}
			if err := g.rig.API.Create(ctx, object); err != nil {
				return fmt.Errorf("create %s: %w", name, err)
			}
		}
	}
	return nil
}

func (g *gateBench) roll(ctx context.Context, mark string) error {
	for i := range g.Deployments {
		patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"roll":"%s"}}}}}`, mark)
		d := &appsv1.Deployment{}
		d.Namespace, d.Name = namespace, fmt.Sprintf("web-%03d", i)
		if err := g.rig.API.Patch(ctx, d, client.RawPatch("application/strategic-merge-patch+json", patch)); err != nil {
			return fmt.Errorf("roll %s: %w", d.Name, err)
		}
	}
	return nil
}

// measure does something and reports on it once all Deployments are done.
func (g *gateBench) measure(ctx context.Context, what string, w *gateWatcher, do func() error) error {
	w.clear()
	g.rig.Sim.ClearCalls()
	began := time.Now()
	if err := do(); err != nil {
		return err
	}
	if err := poll(ctx, 100*time.Millisecond, func() bool { return g.done(ctx) }); err != nil {
		return err
	}
	took := time.Since(began)
	late := w.latencies()
	calls := g.rig.Sim.Calls()
	fmt.Fprintf(g.out, "\n%s: %d Deployments of %d pods, done after %s\n", what, g.Deployments, g.Pods, round(took))
	fmt.Fprintf(g.out, "healthy -> gate open                       n=%d p50=%s p99=%s max=%s\n", len(late),
		quantile(late, 0.5), quantile(late, 0.99), quantile(late, 1))
	g.reportCalls(calls)
	g.reportBudget(calls, took)
	return nil
}

// reportBudget compares what was called with what the account's buckets give.
func (g *gateBench) reportBudget(calls []elbsim.Call, took time.Duration) {
	writes := 0
	for _, call := range calls {
		if call.Action == "RegisterTargets" || call.Action == "DeregisterTargets" {
			writes++
		}
	}
	buckets := model.DefaultBuckets()
	least := max(atLeast(writes, buckets["registration"]), atLeast(len(calls), buckets["total"]))
	describes, total := buckets["describe"], buckets["total"]
	gives := func(b model.Bucket) float64 { return float64(b.Capacity) + float64(b.PerSecond)*took.Seconds() }
	fmt.Fprintf(g.out, "budget: %d of %.0f describe calls, %d of %.0f calls in all; these calls take %s at the earliest: ratio %.2f\n",
		len(calls)-writes, gives(describes), len(calls), gives(total), round(least), took.Seconds()/max(least.Seconds(), 0.1))
}

// done tells whether every Deployment has its pods, all of them new and ready.
func (g *gateBench) done(ctx context.Context) bool {
	var list appsv1.DeploymentList
	if err := g.rig.API.List(ctx, &list, client.InNamespace(namespace)); err != nil || len(list.Items) != g.Deployments {
		return false
	}
	for i := range list.Items {
		d := &list.Items[i]
		s, want := d.Status, int32(g.Pods)
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.ReadyReplicas != want || s.Replicas != want {
			return false
		}
	}
	return true
}

// awaitRest waits until nothing drains and the account's buckets are full.
func (g *gateBench) awaitRest(ctx context.Context) error {
	if err := poll(ctx, 100*time.Millisecond, func() bool { return g.registered() == g.Deployments*g.Pods }); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Second):
		return nil
	}
}

// gateWatcher notes when targets turned healthy by the simulator's clock, and when
// the pods of these addresses were seen with an open gate. It is safe for
// concurrent use.
type gateWatcher struct {
	mu      sync.Mutex
	healthy map[string]time.Time // by target
	open    map[string]time.Time // by target
	name    map[string]string    // of the pod, by target
}

func (w *gateWatcher) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.healthy)
	clear(w.open)
}

// follow watches pods, and looks at the simulator's targets often enough to see
// each turn healthy: since when is told by the simulator.
func (g *gateBench) follow(ctx context.Context, w *gateWatcher) error {
	factory := informers.NewSharedInformerFactoryWithOptions(g.rig.Client(), 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { w.see(obj.(*corev1.Pod)) },
		UpdateFunc: func(_, obj any) { w.see(obj.(*corev1.Pod)) },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	go func() {
		_ = poll(ctx, 100*time.Millisecond, func() bool { w.look(g.rig.Sim); return false })
	}()
	return nil
}

func (w *gateWatcher) see(pod *corev1.Pod) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range pod.Status.Conditions {
		if _, known := w.open[targetOf(pod)]; !known && v1beta1.IsReadinessGate(c.Type) && c.Status == corev1.ConditionTrue && w.name[targetOf(pod)] != pod.Name {
			w.open[targetOf(pod)], w.name[targetOf(pod)] = now, pod.Name
		}
	}
}

func (w *gateWatcher) look(sim *elbsim.Sim) {
	groups := sim.Groups()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, group := range groups {
		for _, t := range group.Targets {
			if t.State == target.Healthy {
				w.healthy[t.Target] = t.Since
			}
		}
	}
}

// latencies are those of the targets whose gates were opened since the last clear.
func (w *gateWatcher) latencies() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var late []time.Duration
	for t, at := range w.open {
		if since, known := w.healthy[t]; known {
			late = append(late, at.Sub(since))
		}
	}
	slices.Sort(late)
	return late
}
