package losses

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// sidecarPort is where tgc sidecar serves unless it is told otherwise.
const sidecarPort = 9480

// bindVariable is the address at which programs of a pod reach each other. Loopback
// nodes, whose pods share one network, set it; on real nodes it is the pod's address.
const bindVariable = "LAB_BIND"

// withNativeSidecar gives a pod what config/sidecar/native has.
func withNativeSidecar(pod *corev1.PodSpec, s *stage) {
	c := s.sidecar()
	always := corev1.ContainerRestartPolicyAlways
	c.RestartPolicy, c.StartupProbe = &always, s.sidecarProbe("/healthz")
	c.StartupProbe.FailureThreshold = 60
	pod.InitContainers = append(pod.InitContainers, c)
	s.leaveBySidecar(pod)
}

// withSidecarContainer gives a pod what config/sidecar/container has.
func withSidecarContainer(pod *corev1.PodSpec, s *stage) {
	pod.Containers = append(pod.Containers, s.sidecar())
	s.leaveBySidecar(pod)
}

// withHTTPHook gives a pod a native sidecar that the hook asks without a program.
func withHTTPHook(pod *corev1.PodSpec, s *stage) {
	withNativeSidecar(pod, s)
	pod.Containers[0].Lifecycle.PreStop = &corev1.LifecycleHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/drain", Port: intstr.FromInt32(sidecarPort)},
	}
}

// shared is where the containers of a pod find what they share: what the sidecar knows,
// and the program of the hook.
const shared = "/hook"

// leaveBySidecar lets the first container stop when the sidecar says so.
func (s *stage) leaveBySidecar(pod *corev1.PodSpec) {
	grace := s.sidecarGrace()
	pod.TerminationGracePeriodSeconds = &grace
	pod.Volumes = append(pod.Volumes, corev1.Volume{
		Name: "tgc", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
	})
	web := &pod.Containers[0]
	web.VolumeMounts = append(web.VolumeMounts, corev1.VolumeMount{Name: "tgc", MountPath: shared, ReadOnly: true})
	web.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
		Exec: &corev1.ExecAction{Command: []string{shared + "/tgc", "wait"}},
	}}
}

// sidecarGrace is the grace period that tgc would ask for with its mode Hold, in
// seconds. Its margin is within Late.
func (s *stage) sidecarGrace() int64 {
	return int64(s.timing.Late) + int64(s.timing.Hold) + int64(s.timing.Shutdown)
}

func (s *stage) sidecar() corev1.Container {
	args := []string{
		"sidecar", fmt.Sprintf("--port=%d", podPort),
		fmt.Sprintf("--wait-for=tcp://$(%s):%d", bindVariable, podPort),
		fmt.Sprintf("--bind-address=$(%s):%d", bindVariable, sidecarPort),
		fmt.Sprintf("--grace-period=%ds", s.sidecarGrace()), fmt.Sprintf("--shutdown-period=%ds", s.timing.Shutdown),
		fmt.Sprintf("--hold=%ds", s.timing.Hold),
		"--state-dir", shared, "--hook-dir", shared, // in words of their own, so that loopback nodes find the volume
	}
	for _, group := range s.groups {
		args = append(args, "--target-group-arn="+group.String())
	}
	return corev1.Container{
		Name: "tgc", Image: rig.Image, Args: args, Env: s.sidecarEnv(),
		Ports: []corev1.ContainerPort{{Name: "tgc", ContainerPort: sidecarPort}},
		// A rollout waits until load balancers find the pod healthy.
		ReadinessProbe: s.sidecarProbe("/in-service"),
		VolumeMounts:   []corev1.VolumeMount{{Name: "tgc", MountPath: shared}},
	}
}

func (s *stage) sidecarProbe(path string) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("tgc")}},
		PeriodSeconds: 1, TimeoutSeconds: 5,
	}
}

func (s *stage) sidecarEnv() []corev1.EnvVar {
	address := &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}
	env := []corev1.EnvVar{{Name: "POD_IP", ValueFrom: address}}
	if s.venue.realNodes {
		env = append(env, corev1.EnvVar{Name: bindVariable, ValueFrom: address})
	}
	for _, entry := range rig.AWSEnv(s.endpoint) {
		name, value, _ := strings.Cut(entry, "=")
		env = append(env, corev1.EnvVar{Name: name, Value: value})
	}
	return env
}
