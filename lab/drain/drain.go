// Package drain empties nodes through the API, as kubectl drain does.
package drain

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
)

// Cordon makes the scheduler avoid a node, or takes that back.
func Cordon(ctx context.Context, client kubernetes.Interface, node string, on bool) error {
	patch := fmt.Sprintf(`{"spec":{"unschedulable":%t}}`, on)
	_, err := client.CoreV1().Nodes().Patch(ctx, node, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("cordon %s: %w", node, err)
	}
	return nil
}

// Node cordons a node and evicts its pods. Evictions that a PodDisruptionBudget
// refuses are tried again. It returns when the pods are gone.
func Node(ctx context.Context, client kubernetes.Interface, node string) error {
	if err := Cordon(ctx, client, node, true); err != nil {
		return err
	}
	here := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()}
	for {
		pods, err := client.CoreV1().Pods("").List(ctx, here)
		if err != nil {
			return fmt.Errorf("drain %s: %w", node, err)
		}
		if len(pods.Items) == 0 {
			return nil
		}
		for _, p := range pods.Items {
			if err := evict(ctx, client, &p); err != nil {
				return fmt.Errorf("drain %s: %w", node, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("drain %s: %w", node, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func evict(ctx context.Context, client kubernetes.Interface, p *corev1.Pod) error {
	if p.DeletionTimestamp != nil {
		return nil
	}
	err := client.CoreV1().Pods(p.Namespace).EvictV1(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace},
		DeleteOptions: metav1.NewPreconditionDeleteOptions(string(p.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsTooManyRequests(err) {
		return nil
	}
	return err
}
