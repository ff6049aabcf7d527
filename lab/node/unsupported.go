package node

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// sayUnsupported tells by an event what the pod asks for and the lab does not
// do.
func (p *pod) sayUnsupported() {
	spec := &p.current().Spec
	var missing []string
	for i := range spec.Volumes {
		if !isPlain(&spec.Volumes[i]) {
			missing = append(missing, "volume "+spec.Volumes[i].Name)
		}
	}
	if len(spec.EphemeralContainers) > 0 {
		missing = append(missing, "ephemeral containers")
	}
	if spec.ActiveDeadlineSeconds != nil {
		missing = append(missing, "activeDeadlineSeconds")
	}
	for _, c := range append(append([]corev1.Container{}, spec.InitContainers...), spec.Containers...) {
		for _, what := range unsupported(&c) {
			missing = append(missing, what+" of container "+c.Name)
		}
	}
	if len(missing) > 0 {
		p.event(corev1.EventTypeWarning, "LabUnsupported", "The lab ignores: %s", strings.Join(missing, ", "))
	}
}

func unsupported(c *corev1.Container) (missing []string) {
	if len(c.Resources.Limits) > 0 {
		missing = append(missing, "resource limits")
	}
	if c.SecurityContext != nil {
		missing = append(missing, "securityContext")
	}
	for _, port := range c.Ports {
		if port.HostPort != 0 {
			missing = append(missing, "hostPort")
			break
		}
	}
	for _, probe := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe, c.StartupProbe} {
		if probe != nil && probe.GRPC != nil {
			missing = append(missing, "gRPC probe")
			break
		}
	}
	return missing
}
