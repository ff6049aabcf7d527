package node

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

// Spec of a node.
type Spec struct {
	// Name of the Node object.
	Name string
	// Zone is its availability zone, such as us-east-1a.
	Zone string
	// Labels beyond those that every node has.
	Labels map[string]string
}

// Node is one machine of the lab.
type Node struct {
	fleet     *Fleet
	spec      Spec
	index     byte
	address   netip.Addr
	addresses *addresses

	mu     sync.Mutex
	dark   bool
	power  context.Context
	unplug context.CancelFunc
}

// Add makes a node and returns when it is registered and reports Ready.
func (f *Fleet) Add(ctx context.Context, spec Spec) (*Node, error) {
	f.mu.Lock()
	if f.nodes[spec.Name] != nil || f.next == 250 {
		f.mu.Unlock()
		return nil, fmt.Errorf("node: %s exists already, or there are 250 nodes", spec.Name)
	}
	f.next++
	n := &Node{fleet: f, spec: spec, index: f.next, address: f.network.Node(f.next)}
	n.addresses = newAddresses(f.network.Pods(f.next), f.options.Reuse)
	n.power, n.unplug = context.WithCancel(f.ctx)
	f.nodes[spec.Name] = n
	f.mu.Unlock()
	if err := n.register(ctx); err != nil {
		f.drop(n)
		return nil, fmt.Errorf("node: register %s: %w", spec.Name, err)
	}
	f.ended.Go(func() { n.renew(n.power) })
	return n, nil
}

func (f *Fleet) drop(n *Node) {
	n.unplug()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.nodes, n.spec.Name)
}

// Name of the node.
func (n *Node) Name() string { return n.spec.Name }

// Address of the node in the cluster.
func (n *Node) Address() netip.Addr { return n.address }

func (n *Node) off() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dark || n.power.Err() != nil
}

func (n *Node) register(ctx context.Context) error {
	nodes := n.fleet.client.CoreV1().Nodes()
	object := n.object()
	_, err := nodes.Create(ctx, object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = nodes.UpdateStatus(ctx, object, metav1.UpdateOptions{})
	}
	if err != nil {
		return err
	}
	return n.renewOnce(ctx)
}

func (n *Node) object() *corev1.Node {
	labels := map[string]string{
		corev1.LabelHostname:     n.spec.Name,
		corev1.LabelOSStable:     "linux",
		corev1.LabelArchStable:   "amd64",
		corev1.LabelTopologyZone: n.spec.Zone,
	}
	if len(n.spec.Zone) > 1 {
		labels[corev1.LabelTopologyRegion] = n.spec.Zone[:len(n.spec.Zone)-1]
	}
	maps.Copy(labels, n.spec.Labels)
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("1000"),
		corev1.ResourceMemory: resource.MustParse("1Ti"),
		corev1.ResourcePods:   *resource.NewQuantity(int64(n.fleet.options.PodsPerNode), resource.DecimalSI),
	}
	pods := n.fleet.network.Pods(n.index).String()
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.spec.Name, Labels: labels},
		Spec: corev1.NodeSpec{
			PodCIDR:    pods,
			PodCIDRs:   []string{pods},
			ProviderID: fmt.Sprintf("aws:///%s/i-%017x", n.spec.Zone, n.index),
		},
		Status: corev1.NodeStatus{
			Capacity:    room,
			Allocatable: room,
			Addresses:   n.statusAddresses(),
			Conditions:  conditions(),
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion:  "v1.37.0-lab",
				OperatingSystem: "linux",
				Architecture:    "amd64",
			},
		},
	}
}

func (n *Node) statusAddresses() []corev1.NodeAddress {
	all := []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.address.String()}}
	if n.fleet.options.IPv6 {
		all = append(all, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: vpc.IPv6(n.address).String()})
	}
	return append(all, corev1.NodeAddress{Type: corev1.NodeHostName, Address: n.spec.Name})
}

func conditions() []corev1.NodeCondition {
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return []corev1.NodeCondition{
		condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
	}
}

// renew keeps the node's lease alive, and the node Ready.
func (n *Node) renew(ctx context.Context) {
	every := time.NewTicker(n.fleet.options.LeaseEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			if err := n.beat(ctx); err != nil && ctx.Err() == nil {
				n.fleet.options.Log.Warn("no sign of life from node", "node", n.spec.Name, "error", err)
			}
		}
	}
}

func (n *Node) beat(ctx context.Context) error {
	if err := n.renewOnce(ctx); err != nil {
		return err
	}
	return n.reassure(ctx)
}

// reassure reports Ready again when the control plane has taken the node for lost. On a
// busy machine a lease may be renewed too late, and a lease alone brings no node back.
func (n *Node) reassure(ctx context.Context) error {
	nodes := n.fleet.client.CoreV1().Nodes()
	object, err := nodes.Get(ctx, n.spec.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ready := func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	}
	if slices.ContainsFunc(object.Status.Conditions, ready) {
		return nil
	}
	object.Status.Conditions = conditions()
	_, err = nodes.UpdateStatus(ctx, object, metav1.UpdateOptions{})
	return err
}

func (n *Node) renewOnce(ctx context.Context) error {
	leases := n.fleet.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NowMicro()
	seconds := int32(max(1, 4*n.fleet.options.LeaseEvery/time.Second))
	lease, err := leases.Get(ctx, n.spec.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: n.spec.Name},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &n.spec.Name, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

// PowerOff cuts the node's power. Its pods fall silent: connections hang, new
// ones time out. Nothing is reported any more and the lease runs out; the
// control plane finds out by itself.
func (n *Node) PowerOff() {
	n.mu.Lock()
	n.dark = true
	n.mu.Unlock()
	// The network goes first: once the programs end, their sockets would
	// be closed, and a machine without power closes nothing.
	var all sync.WaitGroup
	for _, p := range n.pods() {
		all.Go(p.silence)
	}
	all.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unplug()
}

// PowerOn boots a node whose power was cut. Its pods start anew, with new
// addresses and a restart counted.
func (n *Node) PowerOn(ctx context.Context) error {
	if !n.off() {
		return nil
	}
	for _, p := range n.pods() {
		p.restoreWires()
		<-p.gone
	}
	n.mu.Lock()
	n.power, n.unplug = context.WithCancel(n.fleet.ctx)
	n.dark = false
	power := n.power
	n.mu.Unlock()
	if err := n.register(ctx); err != nil {
		return fmt.Errorf("node: power on %s: %w", n.spec.Name, err)
	}
	n.fleet.ended.Go(func() { n.renew(power) })
	for _, o := range n.fleet.informer.GetStore().List() {
		if object, ok := o.(*corev1.Pod); ok && object.Spec.NodeName == n.spec.Name {
			n.fleet.observe(object)
		}
	}
	return nil
}

// Remove cuts the node's power and deletes the Node object, as a cloud's
// controller does when the instance is gone. The API keeps the pods until its
// garbage collector takes them (about a minute) or somebody force-deletes them.
func (n *Node) Remove(ctx context.Context) error {
	n.PowerOff()
	n.fleet.drop(n)
	err := n.fleet.client.CoreV1().Nodes().Delete(ctx, n.spec.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("node: remove %s: %w", n.spec.Name, err)
	}
	return nil
}

// Cordon makes the scheduler avoid the node, or takes that back.
func (n *Node) Cordon(ctx context.Context, on bool) error {
	return drain.Cordon(ctx, n.fleet.client, n.spec.Name, on)
}

// Drain cordons the node and evicts its pods, as kubectl drain does: evictions
// that a PodDisruptionBudget refuses are tried again. It returns when the pods
// are gone.
func (n *Node) Drain(ctx context.Context) error {
	return drain.Node(ctx, n.fleet.client, n.spec.Name)
}

// pods that run on the node.
func (n *Node) pods() (here []*pod) {
	n.fleet.mu.Lock()
	defer n.fleet.mu.Unlock()
	for _, p := range n.fleet.pods {
		if p.node == n {
			here = append(here, p)
		}
	}
	return here
}
