// Package rig is a world with the ELBv2 simulator beside it, in which the real
// tgc runs as a process of its own: what the integration tests, the demo and
// the benchmarks share.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

// DialMap is where the simulator finds pods: those of real nodes at their own
// addresses, others, which have 10.a.b.c, at 127.a.b.c.
func DialMap() []string {
	here := vpc.Real().Prefix().String()
	return []string{here + "=" + here, "10.0.0.0/8=127.0.0.0/8"}
}

// Options of a rig. The zero value is a good one.
type Options struct {
	World world.Options
	// Simulator is what the simulator is made from. Its health checks and its
	// data plane, if it has one, reach the world's pods whatever is said here.
	Simulator elbsim.Options
	// Race builds tgc with the race detector.
	Race bool
	// Progress receives a line now and then when something takes long. Nil:
	// standard error.
	Progress io.Writer
}

// Rig is a running world with a simulator. Its methods are safe for concurrent use.
type Rig struct {
	*world.World
	// Sim is the simulator, which runs in this process and serves at Endpoint.
	Sim      *elbsim.Sim
	Endpoint string
	// API is an administrator's client that knows TargetGroupBindings.
	API client.Client

	executable string
	dir        string
	progress   io.Writer
	simulator  *elbsim.Running
	started    atomic.Int64 // processes
	clocks     sync.Mutex   // what is built for clocks
}

// Start brings a rig up: tgc is built, the world and the simulator are started
// and the CRDs are in force. On an error nothing is left.
func Start(ctx context.Context, options Options) (*Rig, error) {
	if options.Progress == nil {
		options.Progress = os.Stderr
	}
	dir, err := os.MkdirTemp("", "tgc-rig-")
	if err != nil {
		return nil, err
	}
	r := &Rig{dir: dir, executable: filepath.Join(dir, "tgc"), progress: options.Progress}
	if err := r.start(ctx, options); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

func (r *Rig) start(ctx context.Context, options Options) error {
	var args []string
	if options.Race {
		args = []string{withRace}
	}
	err := build(ctx, r.dir, r.progress, args...)
	if err != nil {
		return err
	}
	if r.simulator, err = StartSimulator(options.Simulator); err != nil {
		return err
	}
	r.Sim, r.Endpoint = r.simulator.Sim, r.simulator.Endpoint
	options.World.Cluster.Progress = options.Progress
	options.World.Fleet.Apps = r.withImages(options.World.Fleet.Apps)
	fmt.Fprintln(options.Progress, "starting Kubernetes")
	if r.World, err = world.Start(ctx, options.World); err != nil {
		return err
	}
	if r.API, err = newAPI(r.World); err != nil {
		return err
	}
	return r.installCRDs(ctx)
}

// Image is the image of tgc that pods can have.
const Image = "lab.local/tgc" + realnode.Tag

// withImages adds the images of tgc to other apps.
func (r *Rig) withImages(apps map[string]app.App) map[string]app.App {
	all := map[string]app.App{app.Name(Image): app.Executable(r.executable), ClockImage: app.Executable(r.clockExecutable())}
	maps.Copy(all, apps)
	return all
}

// Stop ends everything and leaves nothing behind.
func (r *Rig) Stop() error {
	var err error
	if r.World != nil {
		err = r.World.Stop()
	}
	if r.simulator != nil {
		err = errors.Join(err, r.simulator.Stop())
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

func newAPI(w *world.World) (client.Client, error) {
	// controller-runtime complains if it has no logger for half a minute.
	log.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1beta1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	config := w.Config()
	config.QPS, config.Burst = 1000, 2000
	return client.New(config, client.Options{Scheme: scheme})
}

// installCRDs applies the project's CRDs and returns when the API server serves them.
func (r *Rig) installCRDs(ctx context.Context) error {
	for _, resource := range []string{v1beta1.Resource, v1beta1.PodInjections} {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := readConfig("crd/"+v1beta1.GroupName+"_"+resource+".yaml", &crd); err != nil {
			return err
		}
		if err := r.API.Create(ctx, &crd); err != nil {
			return fmt.Errorf("install the CRD of %s: %w", resource, err)
		}
	}
	var unserved error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		unserved = errors.Join(r.API.List(ctx, &v1beta1.TargetGroupBindingList{}), r.API.List(ctx, &v1beta1.PodInjectionList{}))
		return unserved == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the API server does not serve the CRDs: %w, %w", err, unserved)
	}
	return nil
}
