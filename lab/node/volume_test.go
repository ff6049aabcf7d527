package node_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// host is a container that runs a command of this machine.
func host(name string, command ...string) corev1.Container {
	return corev1.Container{Name: name, Image: "lab.local/host", Command: command}
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func emptyDir(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// volumesOf finds the volumes of a pod on this machine.
func volumesOf(t *testing.T, p *corev1.Pod) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(os.TempDir(), "lab-volumes-*", string(p.UID), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// An init container puts a program and a file into volumes, which another container
// mounts elsewhere, one within the other, and runs and reads there.
func TestEmptyDirIsSharedByContainers(t *testing.T) {
	p := webPod("volumes")
	put, put2 := host("put", "cp", program(t, "test"), "/tools/run"), host("put2", "cp", program(t, "true"), "/b/file")
	put.VolumeMounts = []corev1.VolumeMount{{Name: "outer", MountPath: "/tools"}}
	put2.VolumeMounts = []corev1.VolumeMount{{Name: "inner", MountPath: "/b", SubPath: "sub"}}
	p.Spec.InitContainers = []corev1.Container{put, put2}
	p.Spec.Volumes = []corev1.Volume{emptyDir("outer"), emptyDir("inner")}
	web := &p.Spec.Containers[0]
	web.VolumeMounts = []corev1.VolumeMount{{Name: "inner", MountPath: "/mnt/inner/"}, {Name: "outer", MountPath: "/mnt"}}
	web.ReadinessProbe.ProbeHandler = corev1.ProbeHandler{Exec: &corev1.ExecAction{
		Command: []string{"/mnt/run", "-f", "/mnt/inner/sub/file"},
	}}
	p = untilReady(t, create(t, p))
	if found := volumesOf(t, p); len(found) != 2 {
		t.Errorf("volumes %v", found)
	}

	mustAsk(t, p, http.MethodPost, "/lab/crash")
	until(t, p, "ready again", func(p *corev1.Pod) bool {
		return isReady(p) && p.Status.ContainerStatuses[0].RestartCount == 1
	})
	remove(t, p, 1)
	untilGone(t, p)
	eventually(t, func() string {
		found := volumesOf(t, p)
		return unless(len(found) == 0, "volumes %v are there", found)
	})
}

// Only what lies in a volume is found elsewhere.
func TestPathsBesideAVolumeAreThoseOfTheMachine(t *testing.T) {
	p := webPod("beside")
	p.Spec.Volumes = []corev1.Volume{emptyDir("scratch")}
	web := &p.Spec.Containers[0]
	web.VolumeMounts = []corev1.VolumeMount{{Name: "scratch", MountPath: "/proc/se"}}
	web.ReadinessProbe.ProbeHandler = corev1.ProbeHandler{Exec: &corev1.ExecAction{
		Command: []string{program(t, "test"), "-d", "/proc/self"},
	}}
	untilReady(t, create(t, p))
}

// Volumes are the pod's: another of the same kind has its own.
func TestEmptyDirIsThePodsOwn(t *testing.T) {
	p := webPod("own")
	put := host("put", "mkdir", "/v/once") // fails where it is there already
	put.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	p.Spec.InitContainers, p.Spec.Volumes = []corev1.Container{put}, []corev1.Volume{emptyDir("v")}
	other := p.DeepCopy()
	other.Name = "own-other"
	for _, p := range []*corev1.Pod{p, other} {
		if p := untilReady(t, create(t, p)); p.Status.InitContainerStatuses[0].RestartCount != 0 {
			t.Errorf("%+v", p.Status.InitContainerStatuses[0])
		}
	}
}
