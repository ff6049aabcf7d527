package node

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// makeVolumes makes a directory of this machine for each emptyDir of the pod, and those
// in it that containers mount instead of the whole. They live as long as the pod, however
// often its containers are restarted.
func (p *pod) makeVolumes() error {
	var dirs []string
	for _, volume := range p.current().Spec.Volumes {
		if volume.EmptyDir != nil {
			dirs = append(dirs, p.volume(volume.Name))
		}
	}
	for _, c := range p.all() {
		for _, mount := range c.spec.VolumeMounts {
			if p.isEmptyDir(mount.Name) {
				dirs = append(dirs, filepath.Join(p.volume(mount.Name), filepath.FromSlash(mount.SubPath)))
			}
		}
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make a volume: %w", err)
		}
	}
	return nil
}

func (p *pod) removeVolumes() {
	if err := os.RemoveAll(p.volumes()); err != nil {
		p.node.fleet.options.Log.Warn("volumes not removed", "pod", p.name(), "error", err)
	}
}

func (p *pod) volumes() string { return filepath.Join(p.node.fleet.volumes, string(p.uid)) }

func (p *pod) volume(name string) string { return filepath.Join(p.volumes(), name) }

// localize rewrites the words of a command that are paths in a volume of the container,
// which has no file system of its own, to where the volume is on this machine.
func (c *container) localize(words []string) []string {
	var local []string
	for _, word := range words {
		local = append(local, c.local(word))
	}
	return local
}

// local is where a path of the container is on this machine: in the volume that is
// mounted deepest above it, or else where it says.
func (c *container) local(word string) string {
	if !path.IsAbs(word) {
		return word
	}
	clean, deepest := path.Clean(word), ""
	local := word
	for _, mount := range c.spec.VolumeMounts {
		at := path.Clean(mount.MountPath)
		rest, below := strings.CutPrefix(clean, at)
		if !below || rest != "" && rest[0] != '/' || len(at) < len(deepest) || !c.pod.isEmptyDir(mount.Name) {
			continue
		}
		deepest = at
		local = filepath.Join(c.pod.volume(mount.Name), filepath.FromSlash(mount.SubPath), filepath.FromSlash(rest))
	}
	return local
}

func (p *pod) isEmptyDir(name string) bool {
	for _, volume := range p.current().Spec.Volumes {
		if volume.Name == name {
			return volume.EmptyDir != nil
		}
	}
	return false
}

// isPlain tells whether a volume is honoured in full: an emptyDir on disk without a
// limit, or the token that every pod has of its ServiceAccount, which nobody reads.
func isPlain(v *corev1.Volume) bool {
	return v.Projected != nil || v.EmptyDir != nil && v.EmptyDir.Medium == "" && v.EmptyDir.SizeLimit == nil
}
