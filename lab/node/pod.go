package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

// pod is one pod on one node, from the moment the node sees it until its object
// is gone. The fields after mu are guarded by it, those of its containers too.
type pod struct {
	node    *Node
	uid     types.UID
	begun   metav1.Time
	changed chan struct{} // wakes the reporter
	gone    chan struct{} // closed when nothing of the pod is left

	power  context.Context // the node's
	life   context.Context // ends when the pod is to end
	die    context.CancelFunc
	grace  context.Context // ends when patience with its containers does
	expire context.CancelFunc

	mu           sync.Mutex
	object       *corev1.Pod // the newest that the API server showed
	erased       chan struct{}
	isErased     bool
	dark         chan struct{} // closed when power returns
	isDark       bool
	leaving      chan struct{}
	isLeaving    bool
	graceTimer   *time.Timer
	graceEnd     time.Time
	address      netip.Addr
	inits, mains []*container
	initialized  bool
	failed       bool // an init container failed for good
	over         bool // no container will ever run again
	written      *corev1.PodStatus
}

func newPod(n *Node, object *corev1.Pod) *pod {
	p := &pod{
		node:    n,
		uid:     object.UID,
		begun:   metav1.Now().Rfc3339Copy(),
		object:  object,
		changed: make(chan struct{}, 1),
		gone:    make(chan struct{}),
		erased:  make(chan struct{}),
		dark:    make(chan struct{}),
		leaving: make(chan struct{}),
	}
	n.mu.Lock()
	p.power = n.power
	n.mu.Unlock()
	p.life, p.die = context.WithCancel(p.power)
	p.grace, p.expire = context.WithCancel(p.power)
	for i := range object.Spec.InitContainers {
		spec := &object.Spec.InitContainers[i]
		p.inits = append(p.inits, newContainer(p, spec, initKind(spec)))
	}
	for i := range object.Spec.Containers {
		p.mains = append(p.mains, newContainer(p, &object.Spec.Containers[i], mainContainer))
	}
	if object.DeletionTimestamp != nil {
		p.leave(graceOf(object))
	}
	return p
}

func initKind(spec *corev1.Container) kind {
	if spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways {
		return sidecar
	}
	return initContainer
}

func graceOf(object *corev1.Pod) time.Duration {
	seconds := int64(1)
	if object.DeletionGracePeriodSeconds != nil {
		seconds = max(seconds, *object.DeletionGracePeriodSeconds)
	}
	return time.Duration(seconds) * time.Second
}

// run is the whole life of the pod.
func (p *pod) run() {
	defer p.expire()
	defer p.die()
	if !p.takeAddress() {
		return
	}
	defer p.removeVolumes()
	if err := p.makeVolumes(); err != nil {
		p.event(corev1.EventTypeWarning, "FailedMount", "%v", err)
		p.releaseAddress()
		return
	}
	reported := make(chan struct{})
	stopReporting := make(chan struct{})
	go func() {
		defer close(reported)
		p.report(stopReporting)
	}()
	p.sayUnsupported()
	p.live()
	p.shutdown()
	close(stopReporting)
	<-reported
	if p.power.Err() != nil {
		p.awaitPower()
	}
	p.releaseAddress()
	p.bury()
}

// live runs the containers and returns when they have ended for good or the pod
// is to leave.
func (p *pod) live() {
	for _, c := range p.inits {
		if c.kind == sidecar {
			go c.run()
			select {
			case <-c.up:
			case <-p.life.Done():
			}
			continue
		}
		if c.run(); p.life.Err() == nil && !c.succeeded() {
			p.set(func() { p.failed = true })
			return
		}
	}
	if p.life.Err() == nil {
		p.set(func() { p.initialized = true })
	}
	var all sync.WaitGroup
	for _, c := range p.mains {
		all.Go(c.run)
	}
	all.Wait()
}

// shutdown ends what still runs: preStop of all at once, SIGTERM to sidecars
// only when everything started after them has ended.
func (p *pod) shutdown() {
	p.mu.Lock()
	if !p.isLeaving {
		p.startGrace(p.ownGrace())
	}
	p.mu.Unlock()
	p.die()
	p.awaitContainers()
	p.set(func() { p.over = true })
}

// awaitContainers returns when no container runs. The containers' own goroutines
// end them, see container.leave; a sidecar waits for the turn given here.
func (p *pod) awaitContainers() {
	for _, c := range p.mains {
		c.await()
	}
	for _, c := range slices.Backward(p.inits) {
		close(c.turn)
		c.await()
	}
}

func (p *pod) ownGrace() time.Duration {
	if s := p.object.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

// bury writes the last status and takes the object out of the API, once somebody
// has asked for its deletion.
func (p *pod) bury() {
	for p.power.Err() == nil && !p.isGone() {
		err := p.write()
		if err == nil {
			break
		}
		p.pause(err)
	}
	select {
	case <-p.power.Done():
		return
	case <-p.erased:
		return
	case <-p.leaving:
	}
	for p.power.Err() == nil && !p.isGone() {
		err := p.erase()
		if err == nil {
			return
		}
		p.pause(err)
	}
}

// pause before an attempt to write is made again.
func (p *pod) pause(cause error) {
	p.node.fleet.options.Log.Debug("pod not written", "pod", p.name(), "error", cause)
	select {
	case <-p.power.Done():
	case <-p.erased:
	case <-time.After(retryEvery):
	}
}

func (p *pod) erase() error {
	ctx, cancel := context.WithTimeout(p.power, writeLimit)
	defer cancel()
	now := int64(0)
	object := p.current()
	err := p.node.fleet.client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now,
		Preconditions:      &metav1.Preconditions{UID: &p.uid},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// observe takes a newer state of the object.
func (p *pod) observe(object *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if version(object) <= version(p.object) {
		return
	}
	p.object = object
	if object.DeletionTimestamp != nil {
		p.leave(graceOf(object))
	}
	p.wake()
}

func version(object *corev1.Pod) uint64 {
	v, _ := strconv.ParseUint(object.ResourceVersion, 10, 64)
	return v
}

// leave begins the end, or brings it forward. The caller holds p.mu or is the
// only one who knows the pod.
func (p *pod) leave(grace time.Duration) {
	p.startGrace(grace)
	if !p.isLeaving {
		p.isLeaving = true
		close(p.leaving)
		p.die()
	}
}

// startGrace limits the time of the containers. It only ever gets shorter.
func (p *pod) startGrace(grace time.Duration) {
	end := time.Now().Add(grace)
	if p.graceTimer == nil {
		p.graceEnd, p.graceTimer = end, time.AfterFunc(grace, p.expire)
	} else if end.Before(p.graceEnd) {
		p.graceEnd = end
		p.graceTimer.Reset(grace)
	}
}

// removed hears that the object is gone: a forced deletion, unless it is the
// pod's own doing.
func (p *pod) removed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isErased {
		p.isErased = true
		close(p.erased)
	}
	p.leave(time.Second)
}

func (p *pod) isGone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isErased
}

// silence is a power cut as seen from the network.
func (p *pod) silence() {
	var all sync.WaitGroup
	for _, c := range p.all() {
		if proc := c.running(); proc != nil {
			all.Go(proc.wire.Silence)
		}
	}
	all.Wait()
}

// restoreWires frees the ports that a power cut left behind.
func (p *pod) restoreWires() {
	for _, c := range p.all() {
		if proc := c.latest(); proc != nil {
			proc.wire.Restore()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isDark {
		p.isDark = true
		close(p.dark)
	}
}

// awaitPower keeps the address taken while its ports are silent.
func (p *pod) awaitPower() {
	select {
	case <-p.dark:
	case <-p.node.fleet.ctx.Done():
		p.restoreWires()
	}
}

func (p *pod) takeAddress() bool {
	if p.current().Spec.HostNetwork {
		p.address = p.node.address
		return true
	}
	address, err := p.node.addresses.take()
	if err != nil {
		p.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", "%v", err)
		return false
	}
	p.set(func() { p.address = address })
	return true
}

func (p *pod) releaseAddress() {
	if p.address != p.node.address {
		p.node.addresses.release(p.address)
	}
}

func (p *pod) bind() netip.Addr { return vpc.Loopback(p.address) }

func (p *pod) all() []*container { return append(slices.Clone(p.inits), p.mains...) }

func (p *pod) current() *corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.object
}

func (p *pod) name() string {
	object := p.current()
	return object.Namespace + "/" + object.Name
}

// set changes state and has it reported.
func (p *pod) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.wake()
}

func (p *pod) wake() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *pod) event(kind, reason, format string, args ...any) {
	p.node.fleet.events.Event(p.current(), kind, reason, fmt.Sprintf(format, args...))
}
