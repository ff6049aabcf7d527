package realnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/kube"
)

// networkEnv holds the name of the network namespace that a program has entered.
const networkEnv = "TGC_LAB_NETWORK"

// Enter moves this program into a network namespace of its own, in which real
// nodes can be. Call it first of all: it replaces the program by a new run of the
// same, with the same process id, arguments and files, and returns in that one.
//
// What has to come from the internet is fetched before, since there is none
// inside: there are a loopback and the bridge of the nodes. The namespace goes
// with the last process in it.
//
// Where there cannot be real nodes, the error says why and is
// [errors.ErrUnsupported].
func Enter(ctx context.Context, progress io.Writer) error {
	if entered() {
		return nil
	}
	if err := supported(); err != nil {
		return fmt.Errorf("realnode: %w: %w", errors.ErrUnsupported, err)
	}
	if err := fetch(ctx, progress); err != nil {
		return fmt.Errorf("realnode: %w", err)
	}
	if err := enter(); err != nil {
		return fmt.Errorf("realnode: enter a network namespace: %w", err)
	}
	return nil
}

// EnterForTests is [Enter] for TestMain. Skip is why tests of real nodes are to be
// skipped; nil where there can be some. In CI root is expected to be able to have
// them, and what would be skipped elsewhere is an error there: it would hide that
// nothing was tested.
func EnterForTests(ctx context.Context, progress io.Writer) (skip, err error) {
	err = Enter(ctx, progress)
	if errors.Is(err, errors.ErrUnsupported) && (os.Getenv("CI") != "true" || os.Geteuid() != 0) {
		return err, nil
	}
	return nil, err
}

// enter returns only with an error.
func enter() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// The namespace is that of one thread until the program is replaced, which
	// makes this thread the only one.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	here, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	if err := buildFabric(); err != nil {
		return err
	}
	if err := os.Setenv(networkEnv, here); err != nil {
		return err
	}
	return unix.Exec(self, os.Args, os.Environ())
}

// supported says why there cannot be real nodes on this machine, nil if nothing is
// known against it.
func supported() error {
	if os.Geteuid() != 0 {
		return errors.New("real nodes need root")
	}
	for _, tool := range []string{"apt-get", "dpkg", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("real nodes need a Debian or a relative of it: %w", err)
		}
	}
	if err := namespacesAllowed(); err != nil {
		return fmt.Errorf("real nodes need namespaces: %w", err)
	}
	if err := cgroupsAllowed(); err != nil {
		return fmt.Errorf("real nodes need control groups that can be written: %w", err)
	}
	return nil
}

// namespacesAllowed makes the namespaces of a node and mounts something, on a
// thread that ends thereafter.
func namespacesAllowed() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread must go
		err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("tmpfs", "/run", "tmpfs", 0, "")
		}
		result <- err
	}()
	return <-result
}

// fetch brings all that needs the internet, and what takes long to build.
func fetch(ctx context.Context, progress io.Writer) error {
	if _, err := kube.Executable(ctx, progress); err != nil {
		return err
	}
	if _, err := kube.Kubelet(ctx, progress); err != nil {
		return err
	}
	if _, err := packages(ctx, progress); err != nil {
		return err
	}
	lab, err := kube.SourceDir()
	if err != nil {
		return err
	}
	// Listing what a program is made of loads the modules.
	_, nodes := kube.GoTool(ctx, lab, "list", "-deps", "./cmd/nodeinit", "./cmd/container")
	_, tgc := kube.GoTool(ctx, filepath.Dir(lab), "list", "-deps", "./cmd/tgc", "./cmd/tgc-wait")
	_, image := kube.GoTool(ctx, filepath.Join(filepath.Dir(lab), "image"), "list", "-deps", "./cmd/tgc-image")
	return errors.Join(nodes, tgc, image)
}

// entered says whether the program is inside, see [Enter].
func entered() bool {
	here, err := os.Readlink("/proc/self/ns/net")
	return err == nil && os.Getenv(networkEnv) == here
}
