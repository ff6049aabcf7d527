package trial

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

// objects is what Kubernetes holds at one moment, by etcd's keys.
type objects struct {
	pods     map[string]*corev1.Pod
	services map[string]*corev1.Service
	slices   map[string]*discoveryv1.EndpointSlice
	bindings map[string]*v1beta1.TargetGroupBinding
}

func newObjects() *objects {
	return &objects{
		pods: map[string]*corev1.Pod{}, services: map[string]*corev1.Service{},
		slices: map[string]*discoveryv1.EndpointSlice{}, bindings: map[string]*v1beta1.TargetGroupBinding{},
	}
}

// claim is one reason why a target belongs in a group: this very binding, this very
// Service and this very pod. Objects of the same name made anew are others.
type claim struct {
	group, target         string // ARN, and address:port
	binding, service, pod types.UID
	podName               string
	// selected: the Service's selector chooses the pod. The others are listed in
	// one of its EndpointSlices, which follow a moment later.
	selected bool
}

// claims lists what belongs where. groups gives the ARN of a group by its name.
func (o *objects) claims(groups map[string]string) map[claim]bool {
	found := map[claim]bool{}
	for _, binding := range o.bindings {
		service := o.service(binding)
		if service == nil || binding.DeletionTimestamp != nil {
			continue
		}
		c := claim{group: binding.Spec.TargetGroupARN, binding: binding.UID, service: service.UID}
		if name := binding.Spec.TargetGroupName; name != "" {
			c.group = groups[name]
		}
		port := portOf(service, binding.Spec.ServiceRef.Port)
		o.listed(c, service.Name, port, found)
		o.selected(c, service, port, found)
	}
	return found
}

func (o *objects) service(binding *v1beta1.TargetGroupBinding) *corev1.Service {
	return o.services[servicesAt+binding.Namespace+"/"+binding.Spec.ServiceRef.Name]
}

// portOf is the port of the Service that a binding means.
func portOf(service *corev1.Service, ref intstr.IntOrString) corev1.ServicePort {
	for _, port := range service.Spec.Ports {
		if port.Name == ref.StrVal || port.Port == ref.IntVal {
			return port
		}
	}
	return corev1.ServicePort{}
}

// listed adds the claims of the pods in the Service's slices.
func (o *objects) listed(c claim, service string, port corev1.ServicePort, into map[claim]bool) {
	for _, slice := range o.slices {
		if slice.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		number, named := portIn(slice, port.Name)
		for i := range slice.Endpoints {
			endpoint := &slice.Endpoints[i]
			if !named || endpoint.TargetRef == nil || len(endpoint.Addresses) == 0 {
				continue
			}
			pod := o.pods[podsAt+slice.Namespace+"/"+endpoint.TargetRef.Name]
			if pod != nil && pod.UID == endpoint.TargetRef.UID && ready(pod) {
				c.pod, c.podName, c.target = pod.UID, pod.Name, at(endpoint.Addresses[0], number)
				into[c] = true
			}
		}
	}
}

func portIn(slice *discoveryv1.EndpointSlice, name string) (int32, bool) {
	for _, port := range slice.Ports {
		if port.Name != nil && *port.Name == name && port.Port != nil {
			return *port.Port, true
		}
	}
	return 0, false
}

// selected adds the claims of the pods that the Service selects.
func (o *objects) selected(c claim, service *corev1.Service, port corev1.ServicePort, into map[claim]bool) {
	c.selected = true
	selector := labels.SelectorFromSet(service.Spec.Selector)
	for _, pod := range o.pods {
		if !ready(pod) || !selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		for _, container := range pod.Spec.Containers {
			for _, p := range container.Ports {
				if p.Name == port.TargetPort.StrVal {
					c.pod, c.podName, c.target = pod.UID, pod.Name, at(pod.Status.PodIP, p.ContainerPort)
					into[c] = true
				}
			}
		}
	}
}

// ready tells whether a pod is ready and stays.
func ready(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
		return false
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// at is an address with a port, as the simulator writes targets.
func at(address string, port int32) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	return netip.AddrPortFrom(addr, uint16(port)).String()
}
