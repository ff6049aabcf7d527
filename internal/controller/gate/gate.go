// Package gate answers the readiness gates of pods: it writes what the groups' rounds
// say of a pod, and opens gates that nothing will ever answer.
package gate

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const (
	// soon is when to try again what came too early for the cache.
	soon = 50 * time.Millisecond
	// writeLimit bounds a write to the API server.
	writeLimit = 5 * time.Second
	// patience is how long a pod that could serve waits for a binding to be created,
	// which may be applied together with its Deployment and after it.
	patience = 10 * time.Second
	// fleeting is how long a pod that could serve is told nothing of what is over in
	// a moment as a rule: that it is being registered, or yet to be an endpoint.
	fleeting = 2 * time.Second
)

// premature tells how long after a pod could serve some answers are too early.
var premature = map[target.Reason]time.Duration{
	target.BindingNotFound: patience, target.Syncing: fleeting, target.NotAnEndpoint: fleeting,
}

// Reconciler reconciles the pods that wait at gates of ours, by name.
type Reconciler struct {
	// Client reads from a cache with the indexes of kube.AddIndexes.
	Client   client.Client
	Registry *controller.Registry
	Answers  *controller.Answers
	Board    *controller.Board
	Events   *kube.Recorder
	Metrics  *metrics.Metrics
	// Flags are the bindings that no object declares.
	Flags []kube.Binding
	// Objects: TargetGroupBinding objects are watched.
	Objects bool

	mu     sync.Mutex
	opened map[types.NamespacedName]latch
}

// latch remembers which gates of a pod were opened, until the cache shows it.
type latch struct {
	uid   types.UID
	gates map[string]bool
}

// Reconcile writes what there is to say to a pod, if it says anything new. The
// cached pod may be older than our own last write: what was opened is left alone,
// and what is said again changes nothing.
func (r *Reconciler) Reconcile(ctx context.Context, name types.NamespacedName) (reconcile.Result, error) {
	var pod corev1.Pod
	if err := r.Client.Get(ctx, name, &pod); err != nil {
		r.forget(name)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	gates, again, err := r.say(ctx, &pod)
	if err != nil || len(gates) == 0 {
		return reconcile.Result{RequeueAfter: again}, err
	}
	// A write that has begun is finished when the program stops.
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	err = kube.WriteGates(writing, r.Client, &pod, gates, time.Now())
	switch {
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: soon}, nil
	case err != nil:
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r.noteOpened(ctx, &pod, gates)
	return reconcile.Result{RequeueAfter: again}, nil
}

// say lists the gates of a pod that should say something else than they do, and
// when to look again for those of which nothing is known.
func (r *Reconciler) say(ctx context.Context, pod *corev1.Pod) (gates []report.Gate, again time.Duration, err error) {
	facts := kube.PodOf(pod)
	if !facts.Waits() {
		r.forget(client.ObjectKeyFromObject(pod))
		return nil, 0, nil
	}
	for _, gate := range facts.Gates {
		if !gate.Ours || gate.Open || r.latched(pod, gate.Type) {
			continue
		}
		answer, known, err := r.answer(ctx, pod.Namespace, facts, gate.Type)
		if err != nil {
			return nil, 0, err
		}
		wait := time.Until(facts.ReadySince.Add(premature[answer.Reason]))
		switch {
		case wait > 0 && gate.Reason == "":
			again = wait
		case known && news(gate, answer):
			gates = append(gates, answer)
		}
	}
	return gates, again, nil
}

// news tells whether an answer is another than what the gate's condition says.
func news(gate desired.Gate, answer report.Gate) bool {
	return answer.True || string(answer.Reason) != gate.Reason || answer.Message != gate.Message
}

// answer is what to say at a gate of a pod: what the groups of its binding say, or
// what is known of the binding; false if nothing is.
func (r *Reconciler) answer(ctx context.Context, namespace string, pod desired.Pod, gate string) (report.Gate, bool, error) {
	ids, err := r.bindings(ctx, namespace, gate)
	if err != nil {
		return report.Gate{}, false, err
	}
	if len(ids) > 0 {
		var groups []target.ARN
		for _, bound := range r.Registry.Meant(ids[0]) {
			groups = append(groups, bound.Target.ARN)
		}
		if answer, known := r.Answers.Read(pod.UID, gate, groups); known {
			return answer, true, nil
		}
	}
	condition, known := r.unplanned(ids, gate)
	return report.Gate{Type: gate, Condition: condition, Since: pod.ReadySince}, known, nil
}

// unplanned is what to say at a gate of some bindings for which a group has no answer;
// false if nothing can be said yet, or it is for another controller to say.
func (r *Reconciler) unplanned(ids []desired.BindingID, gate string) (report.Condition, bool) {
	if len(ids) == 0 {
		mine := r.Objects && v1beta1.IsObjectReadinessGate(corev1.PodConditionType(gate))
		return report.NoBinding(), mine
	}
	notice, _ := r.Board.Read(ids[0])
	return report.Unplanned(notice.Report.Ready)
}

// bindings lists the bindings that a gate belongs to: one at most, as names go.
func (r *Reconciler) bindings(ctx context.Context, namespace, gate string) ([]desired.BindingID, error) {
	var ids []desired.BindingID
	for _, binding := range r.Flags {
		if binding.ID.Namespace == namespace && string(v1beta1.ReadinessGateOf(binding.ID.Name)) == gate {
			ids = append(ids, binding.ID)
		}
	}
	if !r.Objects {
		return ids, nil
	}
	var list v1beta1.TargetGroupBindingList
	if err := r.Client.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{bindingByGate: gate}); err != nil {
		return nil, fmt.Errorf("list the bindings of gate %s: %w", gate, err)
	}
	for i := range list.Items {
		ids = append(ids, desired.BindingID{Namespace: namespace, Name: list.Items[i].Name})
	}
	return ids, nil
}

// WakeFor brings back the pods that wait at the gate of a binding, after something
// was learned of the binding.
func (r *Reconciler) WakeFor(ctx context.Context, id desired.BindingID) {
	pods, err := kube.WithGate(ctx, r.Client, id.Namespace, string(v1beta1.ReadinessGateOf(id.Name)))
	if err != nil {
		return // the cache is not filled yet, and filling it brings an event for each pod
	}
	for i := range pods {
		if kube.PodOf(&pods[i]).Waits() {
			r.Answers.Changed.Add(client.ObjectKeyFromObject(&pods[i]))
		}
	}
}

// noteOpened remembers which gates were opened, and tells people of those that were
// opened for another reason than health.
func (r *Reconciler) noteOpened(ctx context.Context, pod *corev1.Pod, gates []report.Gate) {
	for _, gate := range gates {
		if !gate.True {
			continue
		}
		r.latch(pod, gate.Type)
		r.Metrics.GateOpened(gate.Reason, time.Since(gate.Since))
		if gate.Reason != target.TargetHealthy {
			r.Events.Complain(ctx, pod, gate.Reason, fmt.Sprintf("Readiness gate %s: %s", gate.Type, gate.Message))
		}
	}
}

func (r *Reconciler) latch(pod *corev1.Pod, gate string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened == nil {
		r.opened = map[types.NamespacedName]latch{}
	}
	name := client.ObjectKeyFromObject(pod)
	if r.opened[name].uid != pod.UID {
		r.opened[name] = latch{pod.UID, map[string]bool{}}
	}
	r.opened[name].gates[gate] = true
}

func (r *Reconciler) latched(pod *corev1.Pod, gate string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.opened[client.ObjectKeyFromObject(pod)]
	return known.uid == pod.UID && known.gates[gate]
}

// forget drops what is remembered of a pod that is gone, or waits no more.
func (r *Reconciler) forget(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.opened, name)
}
