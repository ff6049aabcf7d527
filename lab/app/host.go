package app

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Host runs the container's command and arguments as a process of this machine:
// a real binary in a lab pod, with real signals. It sees the machine's files and
// network, and of the environment only the container's; it must bind the
// address in LAB_BIND to be reached as the pod.
func Host(kill context.Context, c *Container) int {
	line := append(append([]string{}, c.Command...), c.Args...)
	if len(line) == 0 {
		fmt.Fprintln(c.Output, "host: the container has no command")
		return ExitUsage
	}
	ended := make(chan int, 1)
	started := make(chan *exec.Cmd, 1)
	go runHost(c, line, started, ended)
	cmd := <-started
	if cmd == nil {
		return <-ended
	}
	c.Started()
	terminate := c.Terminate
	for {
		select {
		case code := <-ended:
			return code
		case <-terminate:
			terminate = nil
			syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		case <-kill.Done():
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			return <-ended
		}
	}
}

// Executable is an image whose entrypoint is an executable of this machine, run as
// [Host] does. A container's command takes its place, as in any image.
func Executable(path string) App {
	return func(kill context.Context, c *Container) int {
		own := *c
		if len(own.Command) == 0 {
			own.Command = []string{path}
		}
		return Host(kill, &own)
	}
}

// runHost stays on one thread, since the death signal of the child is bound to
// the thread that starts it.
func runHost(c *Container, line []string, started chan<- *exec.Cmd, ended chan<- int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(append([]string{}, c.Env...), "LAB_BIND="+c.Bind.String())
	cmd.Stdout, cmd.Stderr = c.Output, c.Output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// Grandchildren that keep the output open do not keep the container.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(c.Output, err)
		ended <- ExitNotStarted
		started <- nil
		return
	}
	started <- cmd
	ended <- exitCode(cmd.Wait())
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return 0
	case !errors.As(err, &exit):
		return ExitNotStarted
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}
