// Package node is the nodes of the lab: one small kubelet for any number of Node
// objects, all in this process. A container is a goroutine that serves on an
// address of its own (packages app and vpc); everything else is as a kubelet
// does it: probes, readiness gates, hooks, SIGTERM and grace, restarts with
// back-off, init containers and native sidecars, status and events.
//
// Honoured from a pod's spec: containers and init containers (image as the name
// of an app, command, args, env from values, fields, ConfigMaps and Secrets,
// ports, lifecycle, the three probes by httpGet, tcpSocket and exec, mounts of
// emptyDir volumes), readinessGates, restartPolicy, terminationGracePeriodSeconds,
// hostNetwork.
//
// Not done, and said so by an event LabUnsupported on the pod that asks for it:
// volumes other than a plain emptyDir and the ServiceAccount's token, resource limits, ephemeral
// containers, gRPC probes (taken as passed), host ports, security contexts,
// activeDeadlineSeconds. Not done and not said: logs, exec and port-forward of
// kubectl, changes of images in place, node-pressure eviction. Exec probes and
// exec hooks run as processes of this machine with the container's environment.
//
// There is no file system for each container. A volume is a directory of this
// machine, and the words of a command that are paths in a mounted volume are
// rewritten to there: of a container's command and args, and of exec probes and
// hooks. Paths that a program makes up by itself, or reads elsewhere, are not; nor
// is a mount read-only.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

// Options of a fleet. Only Config is required.
type Options struct {
	// Config is an administrator's access.
	Config *rest.Config
	// Log receives what containers print (level Debug) and what goes wrong.
	// Nil: nothing is logged.
	Log *slog.Logger
	// Apps are added to those of [app.BuiltIn], by image name.
	Apps map[string]app.App
	// Dial is how probes and httpGet hooks connect; the address is one of the
	// cluster. Nil: [vpc.DialContext].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// RestartDelay is the pause before the second restart of a container; it
	// doubles up to MaxRestartDelay. The first restart is at once. Zero: 200 ms
	// and 5 s; a kubelet has 10 s and 5 min.
	RestartDelay, MaxRestartDelay time.Duration
	// LeaseEvery is how often nodes renew their leases. Zero: 10 s.
	LeaseEvery time.Duration
	// Reuse gives the lowest free address to the next pod, so that addresses
	// return at once. Default: each address rests as long as possible.
	Reuse bool
	// IPv6 gives pods and nodes a second address, see [vpc.IPv6].
	IPv6 bool
	// PodsPerNode is the capacity that nodes report. Zero: 250, the most.
	PodsPerNode int
}

// Fleet runs the pods of all its nodes.
type Fleet struct {
	options  Options
	client   kubernetes.Interface
	network  *vpc.Network
	apps     map[string]app.App
	events   record.EventRecorder
	ctx      context.Context
	cancel   context.CancelFunc
	informer cache.SharedIndexInformer
	ended    sync.WaitGroup
	writes   chan struct{}
	volumes  string // the directory of all volumes

	mu    sync.Mutex
	nodes map[string]*Node
	pods  map[types.UID]*pod
	next  byte
}

// parallelWrites bounds the status writes in flight of the whole fleet.
const parallelWrites = 32

// Start makes a fleet without nodes and returns when it watches pods. It runs
// until Stop; ctx is for the start alone.
func Start(ctx context.Context, options Options) (*Fleet, error) {
	f, err := newFleet(options)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	if f.volumes, err = os.MkdirTemp("", "lab-volumes-"); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	if f.network, err = vpc.Reserve(); err != nil {
		return nil, fmt.Errorf("node: %w", errors.Join(err, os.Remove(f.volumes)))
	}
	f.startEvents()
	if err := f.startWatch(ctx); err != nil {
		f.Stop()
		return nil, fmt.Errorf("node: %w", err)
	}
	return f, nil
}

func newFleet(options Options) (*Fleet, error) {
	withDefaults(&options)
	config := rest.CopyConfig(options.Config)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	f := &Fleet{
		options: options,
		client:  client,
		apps:    app.BuiltIn(),
		writes:  make(chan struct{}, parallelWrites),
		nodes:   map[string]*Node{},
		pods:    map[types.UID]*pod{},
	}
	for image, a := range options.Apps {
		f.apps[image] = a
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f, nil
}

func withDefaults(o *Options) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = vpc.DialContext
	}
	if o.RestartDelay == 0 {
		o.RestartDelay = 200 * time.Millisecond
	}
	if o.MaxRestartDelay == 0 {
		o.MaxRestartDelay = 5 * time.Second
	}
	if o.LeaseEvery == 0 {
		o.LeaseEvery = 10 * time.Second
	}
	if o.PodsPerNode == 0 {
		o.PodsPerNode = 250
	}
}

func (f *Fleet) startEvents() {
	broadcaster := record.NewBroadcaster(record.WithContext(f.ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: f.client.CoreV1().Events("")})
	f.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "lab-kubelet"})
	f.ended.Go(func() {
		<-f.ctx.Done()
		broadcaster.Shutdown()
	})
}

// startWatch follows all pods that have a node, with one watch for the fleet.
func (f *Fleet) startWatch(ctx context.Context) error {
	scheduled := fields.OneTermNotEqualSelector("spec.nodeName", "")
	source := cache.NewListWatchFromClient(f.client.CoreV1().RESTClient(), "pods", "", scheduled)
	f.informer = cache.NewSharedIndexInformer(source, &corev1.Pod{}, 0, nil)
	handler, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.observe(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { f.observe(o.(*corev1.Pod)) },
		DeleteFunc: f.removed,
	})
	if err != nil {
		return err
	}
	f.ended.Go(func() { f.informer.Run(f.ctx.Done()) })
	if !cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
		return errors.Join(errors.New("watch pods"), ctx.Err())
	}
	return nil
}

// observe takes the newest state of a pod from the API.
func (f *Fleet) observe(object *corev1.Pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.pods[object.UID]; p != nil {
		p.observe(object)
		return
	}
	if n := f.nodes[object.Spec.NodeName]; n != nil && !n.off() {
		f.admit(n, object)
	}
}

// admit starts a pod. The caller holds f.mu.
func (f *Fleet) admit(n *Node, object *corev1.Pod) {
	if object.Status.Phase == corev1.PodSucceeded || object.Status.Phase == corev1.PodFailed {
		if object.DeletionTimestamp == nil {
			return
		}
	}
	p := newPod(n, object)
	f.pods[object.UID] = p
	f.ended.Go(func() {
		p.run()
		f.forget(p)
		close(p.gone)
	})
}

func (f *Fleet) forget(p *pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pods[p.uid] == p {
		delete(f.pods, p.uid)
	}
}

// removed hears that a pod is gone from the API.
func (f *Fleet) removed(o any) {
	if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = unknown.Obj
	}
	object, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.pods[object.UID]; p != nil {
		p.removed()
	}
}

// Stop kills all containers and returns when everything has ended. Objects in
// the API are left as they are.
func (f *Fleet) Stop() {
	f.cancel()
	f.mu.Lock()
	for _, p := range f.pods {
		p.restoreWires()
	}
	f.mu.Unlock()
	f.ended.Wait()
	f.network.Release()
	if err := os.RemoveAll(f.volumes); err != nil {
		f.options.Log.Warn("volumes not removed", "error", err)
	}
}

// Network is the address range of the fleet.
func (f *Fleet) Network() *vpc.Network { return f.network }

// Node finds a node by its name; nil when there is none.
func (f *Fleet) Node(name string) *Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[name]
}
