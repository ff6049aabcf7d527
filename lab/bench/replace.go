package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

// watcher notes when pods became ready and when their deletion was asked for, by
// target. It is safe for concurrent use.
type watcher struct {
	mu      sync.Mutex
	ready   map[string]time.Time
	deleted map[string]time.Time
	pods    map[string]*corev1.Pod // the ready ones that stay, by name
}

// watch follows all pods. What it sees it sees no earlier than the controller may,
// since both have it from the API server's watch.
func (b *bench) watch(ctx context.Context) (*watcher, error) {
	w := &watcher{ready: map[string]time.Time{}, deleted: map[string]time.Time{}, pods: map[string]*corev1.Pod{}}
	factory := informers.NewSharedInformerFactoryWithOptions(b.rig.Client(), 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { w.see(obj.(*corev1.Pod)) },
		UpdateFunc: func(_, obj any) { w.see(obj.(*corev1.Pod)) },
	})
	if err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil, ctx.Err()
	}
	return w, nil
}

func (w *watcher) see(pod *corev1.Pod) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if pod.DeletionTimestamp != nil {
		delete(w.pods, pod.Name)
		return
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type != corev1.PodReady || condition.Status != corev1.ConditionTrue {
			continue
		}
		w.pods[pod.Name] = pod
		if _, known := w.ready[targetOf(pod)]; !known {
			w.ready[targetOf(pod)] = now
		}
	}
}

func targetOf(pod *corev1.Pod) string { return pod.Status.PodIP + ":8080" }

// next picks a pod to be replaced and notes that its deletion is asked for now.
func (w *watcher) next() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	skip := rand.IntN(len(w.pods))
	for name, pod := range w.pods {
		if skip--; skip >= 0 {
			continue
		}
		delete(w.pods, name)
		w.deleted[targetOf(pod)] = time.Now()
		return pod
	}
	return nil
}

// replace deletes one pod after the other, and waits until the groups hold the
// pods that came in their place.
func (b *bench) replace(ctx context.Context, w *watcher) error {
	ticker := time.NewTicker(b.Every)
	defer ticker.Stop()
	for range b.Replacements {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		pod := w.next()
		if err := b.rig.Client().CoreV1().Pods(namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
			return fmt.Errorf("delete pod: %w", err)
		}
	}
	return poll(ctx, 50*time.Millisecond, func() bool {
		return len(reached(b.rig.Sim.Calls(), "RegisterTargets", w.ready)) >= b.Replacements &&
			len(reached(b.rig.Sim.Calls(), "DeregisterTargets", w.deleted)) >= b.Replacements
	})
}

// reached is how long after its moment each target was first named in a call.
func reached(calls []elbsim.Call, action string, since map[string]time.Time) []time.Duration {
	var took []time.Duration
	seen := map[string]bool{}
	for _, call := range calls {
		if call.Action != action {
			continue
		}
		for _, t := range call.Targets {
			if at, known := since[t]; known && !seen[t] {
				seen[t] = true
				took = append(took, call.Received.Sub(at))
			}
		}
	}
	slices.Sort(took)
	return took
}

func (b *bench) reportReplacements(w *watcher, took time.Duration) {
	calls := b.rig.Sim.Calls()
	fmt.Fprintf(b.out, "%d pods replaced, one each %s, in %s\n", b.Replacements, b.Every, round(took))
	show := func(what string, times []time.Duration) {
		fmt.Fprintf(b.out, "%-42s n=%d p50=%s p99=%s max=%s\n", what, len(times),
			quantile(times, 0.5), quantile(times, 0.99), quantile(times, 1))
	}
	show("pod seen Ready -> RegisterTargets received", reached(calls, "RegisterTargets", w.ready))
	show("DELETE sent -> DeregisterTargets received", reached(calls, "DeregisterTargets", w.deleted))
	b.reportCalls(calls)
}

// quantile is the q-quantile of sorted times, by nearest rank.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)].Round(100 * time.Microsecond)
}
