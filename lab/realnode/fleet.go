// Package realnode is real nodes on one machine: kubelet, containerd, runc and CNI
// as in any cluster, each node in namespaces of its own, for those who are root on
// Linux. Package node has nodes for everybody else.
//
// A program first enters a network of its own, see [Enter]; the control plane, the
// simulator and whoever calls pods run in that. Nodes hang on a bridge in it, and
// pods are reached at their own addresses. The kubelet is built from Go modules,
// see package kube. containerd, runc and CNI's plugins are Debian's packages,
// downloaded by apt-get and unpacked into the lab's cache; nothing is installed on
// the machine. Images come from a registry of the lab's own, see [Fleet.Registry], which at
// first has lab.local/web:1, echo:1, job:1, pause:1 and tgc:1.
//
// A node is gone with its first process, which dies with the program that started
// it: the kubelet, containerd, all containers, mounts and network. Only its control
// groups and files can outlive that, until the next start finds them.
//
// Not there: kube-proxy (of all Services, only the API server's is reached), DNS,
// network policies, host ports, other registries.
package realnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/cluster"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

// Options of a fleet. Config and Dir are required.
type Options struct {
	// Config is an administrator's access, to a control plane that listens on
	// [APIServer]. The kubelets have it too.
	Config *rest.Config
	// Dir is an existing folder for all files of the nodes. Its owner removes it.
	Dir string
	// LeaseEvery is how often nodes renew their leases. Zero: 10 s.
	LeaseEvery time.Duration
	// PodsPerNode is the capacity that nodes report. Zero: 250, the most.
	PodsPerNode int
	// Progress receives a line when something takes long or a node dies of
	// itself. Nil: standard error.
	Progress io.Writer
}

// Fleet is the nodes of one cluster. There is one at a time in a program. Its
// methods are safe for concurrent use.
type Fleet struct {
	options  Options
	client   kubernetes.Interface
	group    string // of control groups
	nodeinit string
	kubelet  string
	packages string
	images   *images // nil before there are any

	mu    sync.Mutex
	nodes map[string]*Node
	next  byte
}

// Start makes a fleet without nodes. The program must have entered a network, see
// [Enter]. What killed programs left behind is removed.
func Start(ctx context.Context, options Options) (*Fleet, error) {
	if !entered() {
		return nil, errors.New("realnode: the program is not in a network of its own: call Enter first")
	}
	if options.Progress == nil {
		options.Progress = os.Stderr
	}
	if options.LeaseEvery == 0 {
		options.LeaseEvery = 10 * time.Second
	}
	if options.PodsPerNode == 0 {
		options.PodsPerNode = 250
	}
	f := &Fleet{options: options, group: newGroup(), nodes: map[string]*Node{}}
	if err := f.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("realnode: %w", err), f.Stop())
	}
	return f, nil
}

// prepare collects what nodes are made of.
func (f *Fleet) prepare(ctx context.Context) (err error) {
	sweepGroups()
	if f.client, err = kubernetes.NewForConfig(f.options.Config); err != nil {
		return err
	}
	if err := cluster.WriteKubeconfig(f.path("kubeconfig"), f.options.Config, "default"); err != nil {
		return err
	}
	if f.kubelet, err = kube.Kubelet(ctx, f.options.Progress); err != nil {
		return err
	}
	if f.packages, err = packages(ctx, f.options.Progress); err != nil {
		return err
	}
	lab, err := kube.SourceDir()
	if err != nil {
		return err
	}
	f.nodeinit = f.path("nodeinit")
	if err := compile(ctx, lab, f.nodeinit, "./cmd/nodeinit"); err != nil {
		return err
	}
	if f.images, err = serveImages(f.path("images")); err != nil {
		return err
	}
	return f.images.fill(ctx, lab, f.options.Dir)
}

// Registry is the address, with port, of the registry from which all images of the
// nodes come, whatever registry their names tell. Who is in the lab's network may push
// others to it.
func (f *Fleet) Registry() string { return f.images.address }

func (f *Fleet) path(name string) string { return filepath.Join(f.options.Dir, name) }

// Add boots a node and returns when it is Ready.
func (f *Fleet) Add(ctx context.Context, spec node.Spec) (*Node, error) {
	n, err := f.reserve(spec)
	if err != nil {
		return nil, err
	}
	if err := n.PowerOn(ctx); err != nil {
		return nil, errors.Join(err, f.drop(n))
	}
	return n, nil
}

// AddAll boots nodes side by side and returns when they are Ready. Their addresses
// are in the order of the specs.
func (f *Fleet) AddAll(ctx context.Context, specs []node.Spec) error {
	failures := make([]error, len(specs))
	var booted sync.WaitGroup
	for i, spec := range specs {
		n, err := f.reserve(spec)
		if err != nil {
			failures[i] = err
			continue
		}
		booted.Go(func() {
			if err := n.PowerOn(ctx); err != nil {
				failures[i] = errors.Join(err, f.drop(n))
			}
		})
	}
	booted.Wait()
	return errors.Join(failures...)
}

// reserve gives a node its place in the network.
func (f *Fleet) reserve(spec node.Spec) (*Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nodes[spec.Name] != nil || f.next == 250 {
		return nil, fmt.Errorf("realnode: %s exists already, or there are 250 nodes", spec.Name)
	}
	f.next++
	network := vpc.Real()
	n := &Node{fleet: f, spec: spec, wiring: wiring{index: f.next, address: network.Node(f.next), pods: network.Pods(f.next)}}
	f.nodes[spec.Name] = n
	return n, nil
}

// drop ends a node for good.
func (f *Fleet) drop(n *Node) error {
	n.PowerOff()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.nodes, n.spec.Name)
	return errors.Join(removeGroup(n.group()), os.RemoveAll(n.state()))
}

// Node finds a node by its name; nil when there is none.
func (f *Fleet) Node(name string) *Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[name]
}

// Stop ends all nodes and returns when nothing is left of them but Dir. Objects in
// the API stay as they are.
func (f *Fleet) Stop() error {
	f.mu.Lock()
	var all []*Node
	for _, n := range f.nodes {
		all = append(all, n)
	}
	f.mu.Unlock()
	failures := make([]error, len(all))
	var ended sync.WaitGroup
	for i, n := range all {
		ended.Go(func() { failures[i] = f.drop(n) })
	}
	ended.Wait()
	if f.images != nil {
		failures = append(failures, f.images.close())
	}
	if err := errors.Join(errors.Join(failures...), removeGroup(f.group)); err != nil {
		return fmt.Errorf("realnode: stop: %w", err)
	}
	return nil
}
