package app

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/child"
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
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(append([]string{}, c.Env...), "LAB_BIND="+c.Bind.String())
	cmd.Stdout, cmd.Stderr = c.Output, c.Output
	// Grandchildren that keep the output open do not keep the container.
	cmd.WaitDelay = time.Second
	ended, err := child.Start(cmd)
	if err != nil {
		fmt.Fprintln(c.Output, err)
		return ExitNotStarted
	}
	c.Started()
	terminate := c.Terminate
	for {
		select {
		case err := <-ended:
			return exitCode(err)
		case <-terminate:
			terminate = nil
			syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		case <-kill.Done():
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			return exitCode(<-ended)
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
