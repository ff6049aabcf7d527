package node

import (
	"bufio"
	"context"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
)

type kind int

const (
	mainContainer kind = iota
	initContainer
	sidecar
)

// minimumGrace is what a kubelet leaves between SIGTERM and SIGKILL however long
// the hook took.
const minimumGrace = 2 * time.Second

// container runs one container of a pod, again and again. The fields after up
// are guarded by the pod's mutex.
type container struct {
	pod  *pod
	spec *corev1.Container
	kind kind
	turn chan struct{} // closed when a sidecar may be told to end
	up   chan struct{} // closed when it has started for the first time
	done chan struct{} // closed when it will not run again

	process       *process
	state, last   corev1.ContainerState
	restarts      int32
	began         bool
	started       bool
	ready         bool
	wasUp, isDone bool
}

func newContainer(p *pod, spec *corev1.Container, k kind) *container {
	c := &container{
		pod:  p,
		spec: spec,
		kind: k,
		turn: make(chan struct{}),
		up:   make(chan struct{}),
		done: make(chan struct{}),
	}
	c.state.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	if len(p.inits) > 0 && k == mainContainer {
		c.state.Waiting.Reason = "PodInitializing"
	}
	for _, old := range append(p.object.Status.InitContainerStatuses, p.object.Status.ContainerStatuses...) {
		if old.Name == spec.Name && old.ContainerID != "" {
			c.restarts = old.RestartCount + 1
		}
	}
	return c
}

// run returns when the container will not run again.
func (c *container) run() {
	defer c.finish()
	delay := time.Duration(0)
	program, err := c.prepare()
	for err != nil {
		c.wait("ErrImagePull", err.Error())
		if !c.sleep(c.pod.node.fleet.options.MaxRestartDelay) {
			return
		}
		program, err = c.prepare()
	}
	for c.once(program) && c.again() {
		if delay > 0 {
			c.pod.event(corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s", c.spec.Name)
			c.wait("CrashLoopBackOff", "back-off "+delay.String()+" restarting failed container")
			if !c.sleep(delay) {
				return
			}
		}
		options := c.pod.node.fleet.options
		delay = min(options.MaxRestartDelay, max(options.RestartDelay, 2*delay))
		c.pod.set(func() { c.restarts++ })
	}
}

func (c *container) finish() {
	c.pod.set(func() {
		if !c.isDone {
			c.isDone = true
			close(c.done)
		}
	})
}

// await returns when the container will not run again; at once when it was never
// begun.
func (c *container) await() {
	c.pod.mu.Lock()
	begun := c.began || c.isDone
	c.pod.mu.Unlock()
	if begun {
		<-c.done
	}
}

// once runs the program to its end. False: the pod is leaving.
func (c *container) once(program app.App) bool {
	in, output, err := c.input()
	if err != nil {
		c.wait("CreateContainerConfigError", err.Error())
		return c.sleep(c.pod.node.fleet.options.MaxRestartDelay)
	}
	defer output.Close()
	c.pod.mu.Lock()
	if c.pod.life.Err() != nil {
		c.pod.mu.Unlock()
		return false
	}
	p := launch(program, in)
	c.process, c.began = p, true
	c.pod.mu.Unlock()
	left := make(chan struct{})
	go func() {
		defer close(left)
		c.leave(p)
	}()
	c.attend(p)
	<-p.done
	<-left
	c.exited(p)
	return c.pod.life.Err() == nil
}

// attend looks after a process from its start on.
func (c *container) attend(p *process) {
	p.awaitStart()
	if hook := c.spec.Lifecycle; hook != nil && hook.PostStart != nil {
		if err := c.runHook(c.pod.life, p, hook.PostStart); err != nil && c.pod.life.Err() == nil {
			c.pod.event(corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed: %v", err)
			c.end(c.patience(), p)
			return
		}
	}
	c.pod.set(func() {
		c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now().Rfc3339Copy()}}
		c.started, c.ready = c.spec.StartupProbe == nil, false
		c.settle()
	})
	c.pod.event(corev1.EventTypeNormal, "Started", "Container %s started", c.spec.Name)
	c.startProbes(p)
}

// settle draws conclusions from a start. The caller holds the pod's mutex.
func (c *container) settle() {
	if !c.started {
		return
	}
	if c.spec.ReadinessProbe == nil {
		c.ready = true
	}
	if !c.wasUp {
		c.wasUp = true
		close(c.up)
	}
}

func (c *container) exited(p *process) {
	reason := "Completed"
	if p.code != 0 {
		reason = "Error"
	}
	c.pod.set(func() {
		begun := c.pod.begun
		if c.state.Running != nil {
			begun = c.state.Running.StartedAt
		}
		c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode:    int32(p.code),
			Reason:      reason,
			StartedAt:   begun,
			FinishedAt:  metav1.Now().Rfc3339Copy(),
			ContainerID: c.id(),
		}}
		c.started, c.ready = false, false
		if c.kind == initContainer && p.code == 0 {
			c.ready = true
		}
	})
}

// again says whether the container is to be restarted, and remembers how it
// ended.
func (c *container) again() bool {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	policy := c.pod.object.Spec.RestartPolicy
	failed := c.state.Terminated == nil || c.state.Terminated.ExitCode != 0
	restart := false
	switch c.kind {
	case sidecar:
		restart = true
	case initContainer:
		restart = failed && policy != corev1.RestartPolicyNever
	case mainContainer:
		restart = policy == corev1.RestartPolicyAlways || (failed && policy == corev1.RestartPolicyOnFailure)
	}
	if restart && c.state.Terminated != nil {
		c.last = c.state
	}
	return restart
}

// leave ends the process when the pod is to end.
func (c *container) leave(p *process) {
	select {
	case <-p.done:
		return
	case <-c.pod.life.Done():
	}
	if c.pod.power.Err() != nil {
		p.sigkill()
		return
	}
	c.end(c.pod.grace, p)
}

// end is how a process is stopped: hook, turn, SIGTERM, SIGKILL.
func (c *container) end(grace context.Context, p *process) {
	c.pod.event(corev1.EventTypeNormal, "Killing", "Stopping container %s", c.spec.Name)
	if c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil {
		p.hook.Do(func() { c.preStop(grace, p) })
	}
	if c.kind == sidecar && c.pod.life.Err() != nil {
		c.awaitTurn(grace, p)
	}
	p.sigterm()
	minimum := time.NewTimer(minimumGrace)
	defer minimum.Stop()
	select {
	case <-p.done:
		return
	case <-c.pod.power.Done():
	case <-grace.Done():
		select {
		case <-p.done:
		case <-minimum.C:
		case <-c.pod.power.Done():
		}
	}
	p.sigkill()
}

// awaitTurn waits until the containers that a sidecar serves have ended.
func (c *container) awaitTurn(grace context.Context, p *process) {
	select {
	case <-c.turn:
	case <-grace.Done():
	case <-p.done:
	}
}

func (c *container) preStop(grace context.Context, p *process) {
	err := c.runHook(grace, p, c.spec.Lifecycle.PreStop)
	if err != nil {
		c.pod.event(corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: %v", err)
	}
}

// patience is the grace of a container that ends alone. It ends early with the
// pod's.
func (c *container) patience() context.Context {
	c.pod.mu.Lock()
	limit := c.pod.ownGrace()
	c.pod.mu.Unlock()
	ctx, cancel := context.WithCancel(c.pod.grace)
	time.AfterFunc(limit, cancel)
	return ctx
}

// wait reports that the container does not run, and why.
func (c *container) wait(reason, message string) {
	c.pod.set(func() {
		c.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	})
}

// sleep returns false when the pod is to leave.
func (c *container) sleep(d time.Duration) bool {
	select {
	case <-c.pod.life.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (c *container) succeeded() bool {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	return c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
}

// latest is the newest process, which may have ended; nil before the first.
func (c *container) latest() *process {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	return c.process
}

// running is the process that runs now, nil without one.
func (c *container) running() *process {
	p := c.latest()
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
		return nil
	default:
		return p
	}
}

// printer logs what a container prints, line by line.
func (c *container) printer() io.WriteCloser {
	log := c.pod.node.fleet.options.Log.With("pod", c.pod.name(), "container", c.spec.Name)
	reader, writer := io.Pipe()
	go func() {
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			log.Debug(lines.Text())
		}
		io.Copy(io.Discard, reader)
	}()
	return writer
}
