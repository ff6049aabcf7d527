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

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// calm is nil when the Deployment is as it should be, exactly its pods are
// targets, all healthy, and each node of the load balancer knows that.
func (s *stage) calm(ctx context.Context) error {
	if err := s.rolledOut(ctx); err != nil {
		return err
	}
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	if err := agree("the target group", pods, s.targets()); err != nil {
		return err
	}
	for i, known := range knowledge(s.ledger.allNews(), len(s.nodes), time.Now()) {
		if err := agree(fmt.Sprintf("node %d of the load balancer", i), pods, known); err != nil {
			return err
		}
	}
	return nil
}

// rolledOut is nil when the Deployment has as many pods as it wants, all as it
// wants them and for long enough.
func (s *stage) rolledOut(ctx context.Context) error {
	var d appsv1.Deployment
	if err := s.rig.API.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &d); err != nil {
		return err
	}
	want, have := s.Scenario.Replicas, d.Status
	if have.ObservedGeneration < d.Generation || have.Replicas != want || have.UpdatedReplicas != want || have.AvailableReplicas != want {
		return fmt.Errorf("the Deployment has %d pods, %d of them new, %d available", have.Replicas, have.UpdatedReplicas, have.AvailableReplicas)
	}
	return nil
}

// pods are the addresses, with ports, of all pods. None may be leaving.
func (s *stage) pods(ctx context.Context) ([]string, error) {
	var list corev1.PodList
	if err := s.rig.API.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	var addresses []string
	for i := range list.Items {
		pod := &list.Items[i]
		if pod.DeletionTimestamp != nil {
			return nil, fmt.Errorf("pod %s is still ending", pod.Name)
		}
		addresses = append(addresses, net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(podPort)))
	}
	return addresses, nil
}

// targets of the target group by address, draining ones included.
func (s *stage) targets() map[string]target.State {
	states := map[string]target.State{}
	for _, group := range s.rig.Sim.Groups() {
		for _, t := range group.Targets {
			states[t.Target] = t.State
		}
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
