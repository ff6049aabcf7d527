// Package child starts processes that do not outlive this one.
package child

import (
	"os/exec"
	"runtime"
	"syscall"
)

// Start starts a command, which is killed when this program ends, however it ends. It
// has a process group of its own, so that Ctrl-C reaches this program alone, whose
// business it is to end it. What its Wait returned is sent when it has.
func Start(command *exec.Cmd) (<-chan error, error) {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setpgid, command.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		// The death signal is sent when the thread that started the process ends,
		// and Go ends threads as it likes.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			ended <- command.Wait()
		}
	}()
	return ended, <-started
}
