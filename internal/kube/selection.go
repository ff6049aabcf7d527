package kube

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
)

// selection lists the pods that a binding itself chooses.
func (c *Cluster) selection(ctx context.Context, binding Binding) (*desired.Selection, error) {
	pods, err := c.choosing(ctx, binding)
	if err != nil {
		return nil, err
	}
	selection := &desired.Selection{Selector: binding.Selector.String(), RegisterAt: binding.RegisterAt}
	for i := range pods {
		selected := SelectedOf(&pods[i])
		selected.Pod = c.factsOf(&pods[i])
		selection.Pods = append(selection.Pods, selected)
	}
	return selection, nil
}

// choosing lists the pods with the labels that a binding's selector asks for.
func (c *Cluster) choosing(ctx context.Context, binding Binding) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := c.reader.List(ctx, &list, client.InNamespace(binding.ID.Namespace), client.MatchingLabelsSelector{Selector: binding.Selector})
	if err != nil {
		return nil, fmt.Errorf("list the pods %s of namespace %s: %w", binding.Selector, binding.ID.Namespace, err)
	}
	return list.Items, nil
}

// SelectedOf makes plain facts of a pod that a binding itself chooses, with all times
// as they are written in it.
func SelectedOf(pod *corev1.Pod) desired.Selected {
	selected := desired.Selected{Pod: PodOf(pod)}
	for _, ip := range pod.Status.PodIPs {
		selected.Addrs = appendAddr(selected.Addrs, ip.IP)
	}
	for _, ip := range pod.Status.HostIPs {
		selected.HostAddrs = appendAddr(selected.HostAddrs, ip.IP)
	}
	if len(pod.Status.HostIPs) == 0 { // before Kubernetes 1.29
		selected.HostAddrs = appendAddr(nil, pod.Status.HostIP)
	}
	for i := range pod.Spec.InitContainers {
		// An init container that goes on running beside the others serves, too.
		if policy := pod.Spec.InitContainers[i].RestartPolicy; value(policy) == corev1.ContainerRestartPolicyAlways {
			selected.Ports = appendPorts(selected, pod.Spec.InitContainers[i].Ports)
		}
	}
	for i := range pod.Spec.Containers {
		selected.Ports = appendPorts(selected, pod.Spec.Containers[i].Ports)
	}
	return selected
}

// Differ tells whether two states of a pod may lead to different decisions.
func Differ(a, b *corev1.Pod) bool {
	return !maps.Equal(a.Labels, b.Labels) || !reflect.DeepEqual(SelectedOf(a), SelectedOf(b))
}

func appendAddr(addrs []netip.Addr, text string) []netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return addrs
	}
	return append(addrs, addr.Unmap())
}

func appendPorts(selected desired.Selected, ports []corev1.ContainerPort) []desired.ContainerPort {
	declared := selected.Ports
	for _, port := range ports {
		found := desired.ContainerPort{Name: port.Name, Number: uint16(port.ContainerPort)}
		if leads(port.HostIP, selected.HostAddrs) {
			found.Host = uint16(port.HostPort)
		}
		declared = append(declared, found)
	}
	return declared
}

// leads tells whether a port of the node can be reached at the address by which the
// node is known. One that is bound to another address, such as the loopback, cannot.
func leads(hostIP string, node []netip.Addr) bool {
	if hostIP == "" {
		return true
	}
	addr, err := netip.ParseAddr(hostIP)
	return err == nil && (addr.IsUnspecified() || slices.Contains(node, addr.Unmap()))
}
