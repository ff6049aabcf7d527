package realnode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode/machine"
)

// startLimit is far beyond what a loaded machine needs; it only keeps a broken
// node from hanging for ever.
const startLimit = 10 * time.Minute

// Node is one real node.
type Node struct {
	fleet  *Fleet
	spec   node.Spec
	wiring wiring

	mu      sync.Mutex
	machine *firstProcess // nil without power
}

// firstProcess is that of a machine.
type firstProcess struct {
	process *os.Process // nil if it was not started
	ended   chan struct{}
	wanted  chan struct{} // closed before it is killed
}

// Name of the node.
func (n *Node) Name() string { return n.spec.Name }

// Address of the node in the cluster.
func (n *Node) Address() netip.Addr { return n.wiring.address }

func (n *Node) state() string { return n.fleet.path(n.spec.Name) }
func (n *Node) group() string { return n.fleet.group + "/" + n.spec.Name }

// PowerOn boots a node without power and returns when it is Ready again. Its pods
// are started anew, with new addresses and a restart counted.
func (n *Node) PowerOn(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.machine != nil {
		return nil
	}
	began := metav1.Now()
	if err := n.boot(); err != nil {
		n.shutDown()
		return fmt.Errorf("realnode: boot %s: %w", n.spec.Name, err)
	}
	if err := n.awaitReady(ctx, began); err != nil {
		err = fmt.Errorf("realnode: %s: %w\n%s", n.spec.Name, err, n.lastWords())
		n.shutDown()
		return err
	}
	return nil
}

func (n *Node) boot() error {
	if err := os.MkdirAll(n.state(), 0o755); err != nil {
		return err
	}
	if err := makeGroup(n.group()); err != nil {
		return err
	}
	if err := n.plan().Write(); err != nil {
		return err
	}
	// The machine waits at its input until it has a network.
	input, ready, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	log, err := os.OpenFile(filepath.Join(n.state(), "machine.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return errors.Join(err, input.Close())
	}
	started := make(chan error)
	n.machine = &firstProcess{ended: make(chan struct{}), wanted: make(chan struct{})}
	go n.hold(n.machine, input, log, started)
	if err := <-started; err != nil {
		return err
	}
	return n.wiring.plug(n.machine.process.Pid)
}

// hold starts the machine and waits for its end on one and the same thread: the
// death signal is sent when the thread that started it ends, and Go ends threads
// as it likes.
func (n *Node) hold(p *firstProcess, input, log *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	defer log.Close()
	c := exec.Command(n.fleet.nodeinit, n.state())
	c.Stdin, c.Stdout, c.Stderr = input, log, log
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Setpgid:    true,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := errors.Join(c.Start(), input.Close())
	if err == nil {
		p.process = c.Process
	}
	started <- err
	if err != nil {
		return
	}
	err = c.Wait()
	select {
	case <-p.wanted:
	default:
		fmt.Fprintf(n.fleet.options.Progress, "node %s died: %v\n%s\n", n.spec.Name, err, n.lastWords())
	}
}

func (n *Node) plan() *machine.Plan {
	labels := map[string]string{corev1.LabelTopologyZone: n.spec.Zone}
	if len(n.spec.Zone) > 1 {
		labels[corev1.LabelTopologyRegion] = n.spec.Zone[:len(n.spec.Zone)-1]
	}
	maps.Copy(labels, n.spec.Labels)
	f := n.fleet
	return &machine.Plan{
		Name:         n.spec.Name,
		Address:      n.wiring.address,
		Pods:         n.wiring.pods,
		Labels:       labels,
		ProviderID:   fmt.Sprintf("aws:///%s/i-%017x", n.spec.Zone, n.wiring.index),
		MaxPods:      f.options.PodsPerNode,
		LeaseSeconds: int(max(1, 4*f.options.LeaseEvery/time.Second)),
		State:        n.state(),
		Packages:     f.packages,
		Kubelet:      f.kubelet,
		Kubeconfig:   f.path("kubeconfig"),
		Registry:     f.Registry(),
		Pause:        pauseImage,
		Cgroup:       "/" + n.group(),
	}
}

// awaitReady waits until the kubelet says that it is ready, later than began.
func (n *Node) awaitReady(ctx context.Context, began metav1.Time) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		object, err := n.fleet.client.CoreV1().Nodes().Get(ctx, n.spec.Name, metav1.GetOptions{})
		if err == nil && readySince(object, began) {
			return nil
		}
		select {
		case <-n.machine.ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return errors.Join(errors.New("it is not ready"), ctx.Err(), err)
		case <-time.After(25 * time.Millisecond):
		}
	}
}

func readySince(object *corev1.Node, began metav1.Time) bool {
	for _, c := range object.Status.Conditions {
		if c.Type == corev1.NodeReady {
			// Times in the API are whole seconds.
			return c.Status == corev1.ConditionTrue && !c.LastHeartbeatTime.Time.Before(began.Truncate(time.Second))
		}
	}
	return false
}

// lastWords is the end of each of the machine's logs.
func (n *Node) lastWords() string {
	const lines = 15
	var all strings.Builder
	for _, name := range machine.Logs() {
		text, err := os.ReadFile(filepath.Join(n.state(), name))
		if err != nil {
			continue
		}
		list := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&all, "--- %s\n%s\n", name, strings.Join(list[max(0, len(list)-lines):], "\n"))
	}
	return all.String()
}

// PowerOff cuts the node's power. Its pods fall silent: connections hang, new ones
// time out. Nothing is reported any more and the lease runs out; the control plane
// finds out by itself.
func (n *Node) PowerOff() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shutDown()
}

// shutDown kills the machine. The network goes first: once the programs end, the
// kernel closes their connections, and a machine without power closes nothing.
func (n *Node) shutDown() {
	if n.machine == nil {
		return
	}
	if err := n.wiring.unplug(); err != nil {
		fmt.Fprintln(n.fleet.options.Progress, err)
	}
	close(n.machine.wanted)
	if n.machine.process != nil {
		_ = n.machine.process.Kill() // it may have died
	}
	<-n.machine.ended
	n.machine = nil
}

// Remove cuts the node's power and deletes the Node object, as a cloud's controller
// does when the instance is gone. The API keeps the pods until its garbage
// collector takes them (about a minute) or somebody force-deletes them.
func (n *Node) Remove(ctx context.Context) error {
	if err := n.fleet.drop(n); err != nil {
		return fmt.Errorf("realnode: remove %s: %w", n.spec.Name, err)
	}
	err := n.fleet.client.CoreV1().Nodes().Delete(ctx, n.spec.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("realnode: remove %s: %w", n.spec.Name, err)
	}
	return nil
}

// Cordon makes the scheduler avoid the node, or takes that back.
func (n *Node) Cordon(ctx context.Context, on bool) error {
	return drain.Cordon(ctx, n.fleet.client, n.spec.Name, on)
}

// Drain cordons the node and evicts its pods, see [drain.Node].
func (n *Node) Drain(ctx context.Context) error {
	return drain.Node(ctx, n.fleet.client, n.spec.Name)
}
