package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"sync"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/child"
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
	ended, err := child.Start(cmd)
	log.Close() // it has its own
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	exited := make(chan struct{})
	go func() {
		<-ended
		close(exited)
	}()
	p.cmd, p.exited = cmd, exited
	return nil
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
