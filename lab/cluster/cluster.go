// Package cluster runs a real Kubernetes control plane on this machine: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler, each a process of
// its own, listening on 127.0.0.1 only. No root, no containers, no downloads
// other than Go modules.
//
// There are no nodes; package node adds them. Nothing is left behind: the
// processes die with the program that started them, however it ends, and the
// state directory is removed at Stop, or by the next Start when the program was
// killed.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/kube"
)

// Options of a control plane. The zero value is a good one.
type Options struct {
	// Executable is the control plane built from cmd/kube. Empty: it is
	// taken from the cache or built, see [kube.Executable].
	Executable string
	// Progress receives a line now and then when something takes long, and
	// the ends of the logs when the start fails. Nil: standard error.
	Progress io.Writer
	// Address is where the API server listens. Zero: a free port of 127.0.0.1.
	// Whatever else it is must not be reached from other machines.
	Address netip.AddrPort
	// NodeGrace is how long the lease of a node may be silent until the node
	// counts as lost. Zero: 40 s, as in a real cluster.
	NodeGrace time.Duration
	// APIServer, ControllerManager and Scheduler are further arguments of the
	// processes' command lines. They win over the lab's own.
	APIServer, ControllerManager, Scheduler []string
}

// Cluster is a running control plane. Its methods may be called at any time
// from any goroutine.
type Cluster struct {
	options Options
	state   *state
	pki     *authority
	ports   ports
	address netip.AddrPort // of the API server
	admin   *rest.Config
	client  kubernetes.Interface

	etcd, apiserver, controllers, scheduler *process
}

// Start brings a control plane up and returns when it serves: the API server is
// ready, the controllers and the scheduler are healthy, and the default
// namespace can take pods. On an error, also when ctx ends meanwhile, nothing
// is left running.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	if options.Progress == nil {
		options.Progress = os.Stderr
	}
	if options.NodeGrace == 0 {
		options.NodeGrace = 40 * time.Second
	}
	if options.Executable == "" {
		executable, err := kube.Executable(ctx, options.Progress)
		if err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
		options.Executable = executable
	}
	c, err := prepare(options)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := c.start(ctx); err != nil {
		if ctx.Err() == nil {
			c.printLogs()
		}
		return nil, errors.Join(fmt.Errorf("cluster: %w", err), c.Stop())
	}
	return c, nil
}

// prepare makes everything that the processes find on disk.
func prepare(options Options) (_ *Cluster, err error) {
	c := &Cluster{options: options}
	if c.state, err = newState(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.state.remove()
		}
	}()
	if c.pki, err = newAuthority(); err != nil {
		return nil, err
	}
	if c.ports, err = freePorts(); err != nil {
		return nil, err
	}
	c.address = options.Address
	if !c.address.IsValid() {
		c.address = netip.AddrPortFrom(loopback(), uint16(c.ports.apiserver))
	}
	if err := c.writeFiles(); err != nil {
		return nil, err
	}
	if c.admin, err = c.ConfigFor("admin", superusers); err != nil {
		return nil, err
	}
	c.client, err = kubernetes.NewForConfig(c.admin)
	return c, err
}

// writeFiles lays out certificates, keys and kubeconfigs in the state directory.
func (c *Cluster) writeFiles() error {
	serving, err := c.pki.serving(c.address.Addr())
	if err != nil {
		return err
	}
	accounts, err := c.pki.newKey()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"ca.crt":      c.pki.certPEM,
		"serving.crt": serving.cert,
		"serving.key": serving.key,
		"sa.key":      accounts,
	}
	for name, content := range files {
		if err := os.WriteFile(c.path(name), content, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	for name, user := range map[string]string{
		"kubeconfig":                  "admin",
		controllerManager + ".config": "system:" + controllerManager,
		scheduler + ".config":         "system:" + scheduler,
	} {
		config, err := c.ConfigFor(user, superusers)
		if err != nil {
			return err
		}
		if err := WriteKubeconfig(c.path(name), config, "default"); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) start(ctx context.Context) error {
	c.etcd = c.process(etcd, c.etcdArgs())
	c.apiserver = c.process(apiserver, c.apiserverArgs())
	c.controllers = c.process(controllerManager, c.controllerManagerArgs())
	c.scheduler = c.process(scheduler, c.schedulerArgs())
	for _, p := range []*process{c.etcd, c.apiserver} {
		if err := p.start(); err != nil {
			return err
		}
	}
	if err := c.awaitAPIServer(ctx); err != nil {
		return err
	}
	for _, p := range []*process{c.controllers, c.scheduler} {
		if err := p.start(); err != nil {
			return err
		}
	}
	return c.awaitControllers(ctx)
}

// process describes one part of the control plane; it is not started yet.
func (c *Cluster) process(part string, args []string) *process {
	return &process{
		name:       part,
		executable: c.options.Executable,
		args:       append([]string{part}, args...),
		log:        c.path(part + ".log"),
	}
}

func (c *Cluster) path(name string) string { return filepath.Join(c.state.dir, name) }

// processes lists what was started, in the order in which it is stopped.
func (c *Cluster) processes() []*process {
	var all []*process
	for _, p := range []*process{c.scheduler, c.controllers, c.apiserver, c.etcd} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// Stop kills all processes and removes the state directory. It takes
// milliseconds: nothing of a lab is worth a graceful end. Further calls do
// nothing.
func (c *Cluster) Stop() error {
	for _, p := range c.processes() {
		p.kill()
	}
	return c.state.remove()
}

// StopAPIServer kills the API server alone: an outage.
func (c *Cluster) StopAPIServer() { c.apiserver.kill() }

// StartAPIServer ends an outage. It returns when the API server is ready, on
// the same address as before.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	if err := c.apiserver.start(); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	if err := c.awaitAPIServer(ctx); err != nil {
		return fmt.Errorf("cluster: restart: %w", err)
	}
	return nil
}

// RestartAPIServer kills the API server and starts it again.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	c.StopAPIServer()
	return c.StartAPIServer(ctx)
}

// LogDir is the directory with one log file for each process, such as
// kube-apiserver.log. It lives until Stop.
func (c *Cluster) LogDir() string { return c.state.dir }
