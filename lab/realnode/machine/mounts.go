package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// isolate gives the machine a name and a view of the file system of its own.
func isolate(p *Plan) error {
	if err := unix.Sethostname([]byte(p.Name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	// What is mounted from here on, nobody else sees.
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	private := p.path("private")
	if err := errors.Join(os.MkdirAll(private, 0o755), mount("tmpfs", private, "tmpfs", 0, "mode=755")); err != nil {
		return err
	}
	for _, dir := range []string{"/run", "/var/lib", "/var/log"} {
		if err := shadow(dir, private); err != nil {
			return err
		}
	}
	if err := p.disk(); err != nil {
		return err
	}
	if err := shieldSysctls(private); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// shadow lets the machine see a folder as it is and write to a copy. containerd,
// its shims and CNI have folders in these that nothing can move.
func shadow(dir, private string) error {
	name := strings.ReplaceAll(strings.TrimPrefix(dir, "/"), "/", "-")
	upper, work := filepath.Join(private, name), filepath.Join(private, name+".work")
	if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755)); err != nil {
		return err
	}
	return mount("overlay", dir, "overlay", 0, "lowerdir="+dir+",upperdir="+upper+",workdir="+work)
}

// disk puts the folders that are large or outlive a reboot where programs expect
// them. Their true names may be too long for the sockets in them.
func (p *Plan) disk() error {
	for path, name := range map[string]string{kubeletDir: "kubelet", containerdDir: "containerd"} {
		if err := errors.Join(os.MkdirAll(p.path(name), 0o711), os.MkdirAll(path, 0o711)); err != nil {
			return err
		}
		if err := mount(p.path(name), path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	// Containers are overlays, which cannot be put upon an overlay, such as the
	// root of a machine that is a container itself. Memory is taken there.
	var fs unix.Statfs_t
	if err := unix.Statfs(containerdDir, &fs); err != nil {
		return err
	}
	if fs.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return nil
	}
	return mount("tmpfs", containerdDir, "tmpfs", 0, "mode=711")
}

// shieldSysctls shows the kubelet the values that it wants. It would set them
// otherwise, for all of the machine that the lab runs on.
func shieldSysctls(private string) error {
	for path, value := range map[string]string{
		"/proc/sys/vm/overcommit_memory": "1",
		"/proc/sys/kernel/panic":         "10",
		"/proc/sys/kernel/panic_on_oops": "1",
	} {
		file := filepath.Join(private, filepath.Base(path))
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
			return err
		}
		if err := mount(file, path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}
