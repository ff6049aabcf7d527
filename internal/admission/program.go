package admission

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

// How the program that waits comes into containers that need not have a shell, nor
// anything else: an init container copies it, a single static file, into a volume
// that all share. Image volumes would do without the copy, but are not on by
// default in all clusters that are still supported.
const (
	// programName is the init container and the volume.
	programName = "targetgroupcontroller"
	// programFolder is where the volume is in the containers: a place that nobody
	// else thinks of, since two mounts at one place would make the pod invalid.
	programFolder = "/.targetgroupcontroller"
)

// waitCommand waits until the container may stop, and then runs the command that
// was there before, if there was one.
func waitCommand(before []string) []string {
	command := []string{programFolder + "/tgc", "wait"}
	if len(before) > 0 {
		command = append(append(command, "--"), before...)
	}
	return command
}

// program brings the program into the containers with a hook.
func (i *Injection) program(pod *corev1.Pod, has draining) {
	if !named(pod.Spec.Volumes, func(v corev1.Volume) string { return v.Name }) {
		i.extend("/spec/volumes", len(pod.Spec.Volumes), []any{
			corev1.Volume{Name: programName, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		})
	}
	held := map[string]bool{}
	for _, name := range has.containers {
		held[name] = true
	}
	for n := range pod.Spec.Containers {
		container := &pod.Spec.Containers[n]
		if held[container.Name] && !named(container.VolumeMounts, func(m corev1.VolumeMount) string { return m.Name }) {
			i.extend(containerPath(n)+"/volumeMounts", len(container.VolumeMounts), []any{
				corev1.VolumeMount{Name: programName, MountPath: programFolder, ReadOnly: true},
			})
		}
	}
	installer := installer(has.image, has.endpoint)
	switch {
	case installed(pod):
	case len(pod.Spec.InitContainers) == 0:
		i.add("/spec/initContainers", []any{installer})
	default:
		i.add("/spec/initContainers/0", installer)
	}
}

// installed tells whether a pod has the program already.
func installed(pod *corev1.Pod) bool {
	return named(pod.Spec.InitContainers, func(c corev1.Container) string { return c.Name })
}

// named tells whether one of a list has our name.
func named[T any](list []T, name func(T) string) bool {
	for _, element := range list {
		if name(element) == programName {
			return true
		}
	}
	return false
}

// installer is the init container that copies the program, and beside it what the
// program will need to know. It is allowed nothing, so that it may be in namespaces
// with the strictest rules, and asks for as much as it is limited to, so that it
// changes no pod's quality of service.
func installer(image, endpoint string) corev1.Container {
	no, yes, user := false, true, int64(65532)
	resources := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
	return corev1.Container{
		Name: programName, Image: image, Args: []string{"install", programFolder},
		Env: []corev1.EnvVar{
			fromPod("TGC_POD_NAMESPACE", "metadata.namespace"),
			fromPod("TGC_POD_NAME", "metadata.name"),
			fromPod("TGC_POD_UID", "metadata.uid"),
			fromPod("TGC_HOLD_SECONDS", "metadata.annotations['"+v1beta1.AnnotationDrainHold+"']"),
			fromPod("TGC_LATE_SECONDS", "metadata.annotations['"+v1beta1.AnnotationDrainLate+"']"),
			fromPod("TGC_SHUTDOWN_SECONDS", "metadata.annotations['"+v1beta1.AnnotationDrainShutdown+"']"),
			{Name: "TGC_DRAIN_ENDPOINT", Value: endpoint},
		},
		Resources:    corev1.ResourceRequirements{Requests: resources, Limits: resources},
		VolumeMounts: []corev1.VolumeMount{{Name: programName, MountPath: programFolder}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, RunAsNonRoot: &yes, RunAsUser: &user,
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

func fromPod(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}
