package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// settled is nil when all is calm: the Deployment is rolled out and all its pods
// are ready, exactly these are targets, all healthy, and the binding says so.
func settled(ctx context.Context, s *Stage) error { return s.calm(ctx, 0) }

// settledWithoutVictim is settled, but for the victim, which is there and is
// neither ready nor a target.
func settledWithoutVictim(ctx context.Context, s *Stage) error {
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	victim := s.victimName()
	ill := slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return pod.Name == victim && !ready(&pod) })
	if !ill {
		return fmt.Errorf("pod %s is still ready, or gone", victim)
	}
	return s.calm(ctx, 1)
}

// calm is nil when all pods but a number of ill ones are healthy targets, and
// nothing else is a target or on its way out.
func (s *Stage) calm(ctx context.Context, ill int) error {
	want, err := s.rolledOut(ctx)
	if err != nil {
		return err
	}
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	var addresses []string
	for i := range pods {
		if pod := &pods[i]; pod.DeletionTimestamp != nil {
			return fmt.Errorf("pod %s is still ending", pod.Name)
		} else if ready(pod) {
			addresses = append(addresses, net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(podPort)))
		}
	}
	if len(addresses) != want-ill {
		return fmt.Errorf("%d pods are ready, want %d", len(addresses), want-ill)
	}
	if err := compare(addresses, s.targets()); err != nil {
		return err
	}
	return s.synced(ctx, len(addresses))
}

// rolledOut gives the number of pods that the Deployment asks for, once it has
// neither more nor fewer, and none of before the last change.
func (s *Stage) rolledOut(ctx context.Context) (int, error) {
	var d appsv1.Deployment
	if err := s.Rig.API.Get(ctx, objectKey(), &d); err != nil {
		return 0, err
	}
	want, status := *d.Spec.Replicas, d.Status
	if status.ObservedGeneration < d.Generation || status.UpdatedReplicas != want || status.Replicas != want {
		return 0, fmt.Errorf("the Deployment %s has %d pods, %d of them as they should be, want %d",
			d.Name, status.Replicas, status.UpdatedReplicas, want)
	}
	return int(want), nil
}

// compare is nil when exactly these addresses are targets, all of them healthy.
func compare(addresses []string, targets []elbsim.TargetState) error {
	var problems []string
	for _, t := range targets {
		switch {
		case t.State != target.Healthy:
			problems = append(problems, fmt.Sprintf("target %s is %s", t.Target, t.State))
		case !slices.Contains(addresses, t.Target):
			problems = append(problems, fmt.Sprintf("target %s is healthy without a ready pod", t.Target))
		}
	}
	for _, address := range addresses {
		if !slices.ContainsFunc(targets, func(t elbsim.TargetState) bool { return t.Target == address }) {
			problems = append(problems, fmt.Sprintf("the ready pod at %s is no target", address))
		}
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// synced is nil when the binding's status tells of n targets, all healthy.
func (s *Stage) synced(ctx context.Context, n int) error {
	var b v1beta1.TargetGroupBinding
	if err := s.Rig.API.Get(ctx, objectKey(), &b); err != nil {
		return err
	}
	if !meta.IsStatusConditionTrue(b.Status.Conditions, v1beta1.ConditionReady) || int(b.Status.Healthy) != n {
		return fmt.Errorf("the binding's status tells of %d healthy targets and of %+v, want %d and Ready",
			b.Status.Healthy, b.Status.Conditions, n)
	}
	return nil
}

// pods lists the pods of the demo, in order of their names.
func (s *Stage) pods(ctx context.Context) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := s.Rig.API.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels(labels()))
	return list.Items, err
}

// targets lists the target group, draining ones included.
func (s *Stage) targets() []elbsim.TargetState {
	for _, group := range s.Rig.Sim.Groups() {
		if group.ARN == s.Group.String() {
			return group.Targets
		}
	}
	return nil
}

func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
