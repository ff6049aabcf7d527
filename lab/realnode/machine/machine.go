package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// startLimit is far beyond what a loaded machine needs.
const startLimit = 10 * time.Minute

// Run is the life of a machine, whose first process must call it. It begins once
// ready is at its end, by which time the network must be there, and ends with an
// error: at the latest when containerd or the kubelet has ended.
func Run(ctx context.Context, p *Plan, ready io.Reader) error {
	if os.Getpid() != 1 {
		return errors.New("not the first process of a machine")
	}
	if _, err := io.Copy(io.Discard, ready); err != nil {
		return err
	}
	if err := isolate(p); err != nil {
		return err
	}
	if err := p.writeFiles(); err != nil {
		return err
	}
	names := map[int]string{}
	pid, err := p.spawn("containerd", p.binary("containerd"), "--config", p.path("containerd.toml"))
	if err != nil {
		return err
	}
	names[pid] = "containerd"
	if err := p.awaitRuntime(ctx); err != nil {
		return err
	}
	if pid, err = p.spawn("kubelet", p.Kubelet, p.kubeletArgs()...); err != nil {
		return err
	}
	names[pid] = "kubelet"
	return reap(names)
}

// spawn starts a program that is to run as long as the machine does. Its output
// goes into a log of its name.
func (p *Plan) spawn(name, path string, args ...string) (pid int, err error) {
	log, err := os.OpenFile(p.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	c := exec.Command(path, args...)
	c.Env, c.Stdout, c.Stderr = p.environment(), log, log
	if err := c.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", name, err)
	}
	// Nobody waits for c: it would compete with reap.
	return c.Process.Pid, nil
}

func (p *Plan) environment() []string {
	bin := filepath.Join(p.Packages, "usr", "bin")
	return []string{"HOME=/root", "PATH=" + bin + ":" + filepath.Join(p.Packages, "usr", "sbin") + ":/usr/sbin:/usr/bin:/sbin:/bin"}
}

// askRuntime is nil when containerd answers its own tool.
func (p *Plan) askRuntime(ctx context.Context) error {
	c := exec.CommandContext(ctx, p.binary("ctr"), "--address", socket, "version")
	c.Env = p.environment()
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr version: %w: %s", err, output)
	}
	return nil
}

func (p *Plan) awaitRuntime(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		_, err := os.Stat(socket)
		if err == nil {
			err = p.askRuntime(ctx)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("containerd does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// reap is the duty of a first process: whoever is orphaned becomes its child. It
// returns when one of the named processes has ended.
func reap(names map[int]string) error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for processes: %w", err)
		case names[pid] != "":
			return fmt.Errorf("%s ended: exit code %d, signal %d", names[pid], status.ExitStatus(), status.Signal())
		}
	}
}
