package losses

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// calm is nil when the Deployment is as it should be, exactly its pods are
// targets of each group, all healthy, and each node of the load balancers knows that.
func (s *stage) calm(ctx context.Context) error {
	if err := s.rolledOut(ctx); err != nil {
		return err
	}
	pods, err := s.addresses(ctx)
	if err != nil {
		return err
	}
	for _, group := range s.sim.Groups() {
		if err := agree("the target group "+group.Name, pods, states(group)); err != nil {
			return err
		}
	}
	for i, known := range knowledge(s.ledger.allNews(), s.nodes, time.Now()) {
		if err := agree(fmt.Sprintf("node %d of the load balancers", i), pods, known); err != nil {
			return err
		}
	}
	return nil
}

// rolledOut is nil when the Deployment has as many pods as it wants, all as it
// wants them and for long enough.
func (s *stage) rolledOut(ctx context.Context) error {
	var d appsv1.Deployment
	if err := s.rig.API.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &d); err != nil {
		return err
	}
	want, have := s.replicas, d.Status
	if have.ObservedGeneration < d.Generation || have.Replicas != want || have.UpdatedReplicas != want || have.AvailableReplicas != want {
		return fmt.Errorf("the Deployment has %d pods, %d of them new, %d available, and wants %d",
			have.Replicas, have.UpdatedReplicas, have.AvailableReplicas, want)
	}
	return nil
}

// list is all pods, those that are ending included.
func (s *stage) list(ctx context.Context) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := s.rig.API.List(ctx, &list, client.InNamespace(s.namespace))
	return list.Items, err
}

// addresses, with ports, of all pods. None may be leaving.
func (s *stage) addresses(ctx context.Context) ([]string, error) {
	pods, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	var addresses []string
	for i := range pods {
		pod := &pods[i]
		if pod.DeletionTimestamp != nil {
			return nil, fmt.Errorf("pod %s is still ending", pod.Name)
		}
		addresses = append(addresses, net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(podPort)))
	}
	return addresses, nil
}

// states of a group's targets by address, draining ones included.
func states(group elbsim.GroupState) map[string]target.State {
	states := map[string]target.State{}
	for _, t := range group.Targets {
		states[t.Target] = t.State
	}
	return states
}

// agree is nil when somebody knows exactly these addresses, all as healthy.
func agree(who string, addresses []string, known map[string]target.State) error {
	for _, address := range addresses {
		if state := known[address]; state != target.Healthy {
			return fmt.Errorf("to %s target %s is %q", who, address, state)
		}
	}
	if len(known) != len(addresses) {
		return fmt.Errorf("%s has %d targets, of %d pods", who, len(known), len(addresses))
	}
	return nil
}
