package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// process is one part of the control plane. It can be started again after it
// was killed; its log goes on in the same file.
type process struct {
	name, executable string
	args             []string
	log              string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
}

// start returns when the process exists; whether it is any good is for others
// to find out.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", p.name, err)
	}
	cmd := exec.Command(p.executable, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C reaches us alone and we end it;
	// and a death signal for when we cannot.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, exited := make(chan error), make(chan struct{})
	go hold(cmd, log, started, exited)
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd, p.exited = cmd, exited
	return nil
}

// hold starts the process and waits for its end on one and the same thread: the
// death signal is sent when the thread that started the process ends, and Go
// ends threads as it likes.
func hold(cmd *exec.Cmd, log *os.File, started chan<- error, exited chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer log.Close()
	defer close(exited)
	err := cmd.Start()
	started <- err
	if err == nil {
		cmd.Wait()
	}
}

// kill ends the process, if it runs, and returns when it has gone.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.exited
	p.cmd = nil
}

// ended says whether the process was started and ended by itself.
func (p *process) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}
