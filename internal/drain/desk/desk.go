// Package desk answers pods that ask how far their leaving is. Every replica of the
// controller has one and answers from its own cache of pods, so that it makes no
// difference which is the leader, or whether one is.
package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
)

const (
	// guests bounds the questions that wait for an answer at a time: far more than pods
	// leave at once, and few enough for their memory not to matter.
	guests = 4096
	// headerLimit, idleLimit and maxHeader bound what a connection may cost that asks
	// nothing, or asks at length.
	headerLimit = 5 * time.Second
	idleLimit   = 10 * time.Second
	maxHeader   = 4 << 10
	// The API server is asked about containers that end while their pod stays, so many
	// times a second, and in a burst.
	liveQPS, liveBurst = 20, 100
	// liveLimit bounds the wait for that, and stopLimit that for the last answers.
	liveLimit, stopLimit = 8 * time.Second, 2 * time.Second
)

// Desk is an HTTP server for pods that leave. It is a Runnable of the manager.
type Desk struct {
	// Address is where it listens.
	Address string
	// Pods is the cache of pods, and Live reads them from the API server.
	Pods client.Reader
	Live client.Reader

	seats  chan struct{}
	asking flowcontrol.RateLimiter

	mu     sync.Mutex
	synced func() bool
	since  map[types.UID]time.Time
	bells  map[types.UID]*bell
}

// bell is rung when there may be news of a pod.
type bell struct {
	rung    chan struct{}
	waiting int
}

// The API server is asked for single pods, besides what caches list and watch.
//
// +kubebuilder:rbac:groups="",resources=pods,verbs=get

// SetupWithManager makes the manager run the desk.
func (d *Desk) SetupWithManager(mgr ctrl.Manager) error {
	d.open()
	informer, err := mgr.GetCache().GetInformer(context.Background(), &corev1.Pod{}, ctrlcache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { d.note(obj) },
		UpdateFunc: func(_, obj any) { d.note(obj) },
		DeleteFunc: d.forget,
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	d.synced = handler.HasSynced
	return mgr.Add(d)
}

// open makes the desk ready to take in pods.
func (d *Desk) open() {
	d.seats = make(chan struct{}, guests)
	d.asking = flowcontrol.NewTokenBucketRateLimiter(liveQPS, liveBurst)
	d.since, d.bells = map[types.UID]time.Time{}, map[types.UID]*bell{}
}

// NeedLeaderElection is false: every replica answers.
func (d *Desk) NeedLeaderElection() bool { return false }

// note takes in a pod. The moment at which its deregistration is seen is what counts
// from then on, by a clock of this process; it is later than the deregistration was.
func (d *Desk) note(obj any) {
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.DeletionTimestamp == nil || !kube.HasHook(pod) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, noted := d.since[pod.UID]
	if said := kube.Deregistered(pod); said != nil && said.Status == corev1.ConditionTrue && !noted {
		d.since[pod.UID] = time.Now()
	}
	d.ring(pod.UID)
}

// forget drops a pod that is gone.
func (d *Desk) forget(obj any) {
	if missed, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = missed.Obj
	}
	if pod, ok := obj.(*corev1.Pod); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.since, pod.UID)
		d.ring(pod.UID)
	}
}

// ring wakes who waits for news of a pod. The caller holds the lock.
func (d *Desk) ring(uid types.UID) {
	if b := d.bells[uid]; b != nil {
		close(b.rung)
		b.rung = make(chan struct{})
	}
}

// Start serves until ctx ends. Then those who wait are answered at once, and ask
// another replica.
func (d *Desk) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.Address)
	if err != nil {
		return fmt.Errorf("listen for pods that leave: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+drain.Path, d)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve pods that leave: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if server.Shutdown(stop) != nil {
		return server.Close()
	}
	return nil
}

// ServeHTTP answers one question.
func (d *Desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case d.seats <- struct{}{}:
		defer func() { <-d.seats }()
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many pods are waiting", http.StatusServiceUnavailable)
		return
	}
	if !d.synced() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	query := r.URL.Query()
	answer, err := d.answer(r.Context(), question{
		name:  types.NamespacedName{Namespace: query.Get(drain.ParamNamespace), Name: query.Get(drain.ParamName)},
		uid:   types.UID(query.Get(drain.ParamUID)),
		known: query.Get(drain.ParamKnown),
	})
	switch {
	case errors.Is(err, errUnknown):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, "cannot tell at the moment", http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // who does not hear it asks again
	}
}

// question is what a pod asks.
type question struct {
	name  types.NamespacedName
	uid   types.UID
	known string
}

var errUnknown = errors.New("no such pod")

// answer waits until there is something else to say than what is known, for a while.
func (d *Desk) answer(ctx context.Context, q question) (drain.Answer, error) {
	late := time.NewTimer(drain.LongPoll)
	defer late.Stop()
	for {
		news, leave := d.listen(q.uid)
		answer, err := d.look(ctx, q)
		if err != nil || answer.Known() != q.known {
			leave()
			return answer, err
		}
		select {
		case <-news:
			leave()
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		leave()
		return answer, nil
	}
}

// listen gives what is closed when there may be news of a pod, and what to call when
// it is listened to no more.
func (d *Desk) listen(uid types.UID) (<-chan struct{}, func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.bells[uid]
	if b == nil {
		b = &bell{rung: make(chan struct{})}
		d.bells[uid] = b
	}
	b.waiting++
	return b.rung, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if b.waiting--; b.waiting == 0 {
			delete(d.bells, uid)
		}
	}
}

// look tells what is known of a pod now. That a pod stays is said only if the API
// server says so now: the kubelet may have seen its deletion before the cache, and a pod
// that is told to stay stops at once. A pod that the cache does not have asks again.
func (d *Desk) look(ctx context.Context, q question) (drain.Answer, error) {
	pod, err := q.pod(ctx, d.Pods)
	switch {
	case err != nil:
		return drain.Answer{}, err
	case pod.DeletionTimestamp == nil:
		return d.ask(ctx, q)
	}
	d.mu.Lock()
	since, noted := d.since[q.uid]
	d.mu.Unlock()
	if !noted {
		since = time.Now() // the cache is a moment ahead of what it tells us
	}
	return kube.AnswerOf(pod, since), nil
}

// ask asks the API server. A pod that it says to be leaving has not been noted yet.
func (d *Desk) ask(ctx context.Context, q question) (drain.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, liveLimit)
	defer cancel()
	if err := d.asking.Wait(ctx); err != nil {
		return drain.Answer{}, err
	}
	pod, err := q.pod(ctx, d.Live)
	if err != nil {
		return drain.Answer{}, err
	}
	return kube.AnswerOf(pod, time.Now()), nil
}

// pod reads the pod that is asked about.
func (q question) pod(ctx context.Context, from client.Reader) (*corev1.Pod, error) {
	var pod corev1.Pod
	err := from.Get(ctx, q.name, &pod)
	if apierrors.IsNotFound(err) || err == nil && pod.UID != q.uid {
		return nil, errUnknown
	}
	return &pod, err
}
