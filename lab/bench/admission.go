package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// AdmissionOptions of a measurement of what admission costs.
type AdmissionOptions struct {
	// Bindings are how many bindings a namespace has, one measurement each. One of
	// them selects the pods.
	Bindings []int
	// Pods is how many pods are created for each figure.
	Pods int
}

// deliveries are the ways by which pods are changed; the first is none at all.
var deliveries = []string{"none", "policy", "webhook"}

// Admission measures how long the creation of a pod takes without admission and
// with each delivery of it. Pods are created one after the other, by turns in a
// namespace of each kind, as a dry run: all is done but the write to etcd, and no
// other part of the cluster wakes up.
func Admission(ctx context.Context, o AdmissionOptions, out io.Writer) error {
	r, err := rig.Start(ctx, rig.Options{Progress: out})
	if err != nil {
		return err
	}
	defer r.Stop()
	if err := r.InstallPolicy(ctx, "policy"); err != nil {
		return err
	}
	if err := r.Namespace(ctx, namespace); err != nil {
		return err
	}
	hook, err := r.StartWebhook(ctx, namespace, "tgc-webhook", "webhook")
	if err != nil {
		return err
	}
	defer hook.Process.Stop()
	for _, n := range o.Bindings {
		if err := admitAmong(ctx, r, n, o.Pods, out); err != nil {
			return err
		}
	}
	return nil
}

// admitAmong measures in namespaces of n bindings.
func admitAmong(ctx context.Context, r *rig.Rig, n, pods int, out io.Writer) error {
	for _, by := range deliveries {
		if err := plantBindings(ctx, r, by, n); err != nil {
			return err
		}
	}
	took := map[string][]time.Duration{}
	for i := range pods + pods/10 {
		for _, by := range deliveries {
			began := time.Now()
			if err := r.API.Create(ctx, onePod(within(by, n)), client.DryRunAll); err != nil {
				return err
			}
			if i >= pods/10 { // the first ones warm up connections and caches
				took[by] = append(took[by], time.Since(began))
			}
		}
	}
	slices.Sort(took[deliveries[0]])
	base := quantile(took[deliveries[0]], 0.5)
	for _, by := range deliveries {
		slices.Sort(took[by])
		p50 := quantile(took[by], 0.5)
		fmt.Fprintf(out, "%4d bindings, %-7s n=%d p50=%s p99=%s ratio of p50 to none %.2f\n",
			n, by, pods, p50, quantile(took[by], 0.99), p50.Seconds()/base.Seconds())
	}
	return nil
}

func within(delivery string, n int) string { return fmt.Sprintf("%s-%d", delivery, n) }

// plantBindings makes a namespace with n bindings that ask for a gate and for Hold,
// each for pods of its own, and returns when they are in force.
func plantBindings(ctx context.Context, r *rig.Rig, by string, n int) error {
	in := within(by, n)
	if err := r.Namespace(ctx, in); err != nil {
		return err
	}
	if err := r.Deliver(ctx, in, by); err != nil {
		return err
	}
	bindings := make([]v1beta1.TargetGroupBinding, n)
	for i := range bindings {
		name := fmt.Sprintf("app-%d", i)
		bindings[i].Name = name
		bindings[i].Status = v1beta1.TargetGroupBindingStatus{
			PodSelector: map[string]string{"app": name}, ReadinessGate: string(v1beta1.ReadinessGateOf(name)),
			Drain: &v1beta1.DrainStatus{
				Mode: v1beta1.DrainHold, HoldSeconds: 45, LateSeconds: 120, ShutdownSeconds: 30, GracePeriodSeconds: 200,
				Image: "lab.local/tgc",
			},
		}
	}
	if err := r.PlantBindings(ctx, in, bindings); err != nil {
		return err
	}
	if by == deliveries[0] {
		return nil
	}
	return r.Injected(ctx, in, map[string]string{"app": fmt.Sprintf("app-%d", n-1)})
}

func onePod(in string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: in, Name: "pod", Labels: map[string]string{"app": "app-0"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "web", Image: "lab.local/web", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}},
			{Name: "log", Image: "lab.local/log"},
		}},
	}
}
