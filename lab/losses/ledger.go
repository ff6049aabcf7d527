package losses

import (
	"bufio"
	"context"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
)

// life of a pod. Times are zero while nothing of the kind has happened.
type life struct {
	pod, target string
	told        time.Time // by the deletion of its object, as a watch shows it
	ill         time.Time // since when its liveness probe is made to fail
	runs        []run     // of its container
}

// run of a container.
type run struct {
	started   time.Time // when it began to serve
	signalled time.Time // by SIGTERM
	ended     time.Time
	code      int // of its exit
}

// last run; one of which nothing is known if there was none.
func (p *life) last() *run {
	if len(p.runs) == 0 {
		p.runs = append(p.runs, run{})
	}
	return &p.runs[len(p.runs)-1]
}

// ledger keeps what happens to pods and what the load balancer's nodes learn.
// Make one with newLedger; any number of goroutines may use it.
type ledger struct {
	mu    sync.Mutex
	lives map[string]*life // by pod
	news  []dataplane.News
}

func newLedger() *ledger { return &ledger{lives: map[string]*life{}} }

// attend makes a program whose beginning and end are noted. SIGTERM is noted
// before the program hears of it.
func (l *ledger) attend(program app.App) app.App {
	return func(kill context.Context, c *app.Container) int {
		l.note(c.Pod, func(p *life) {
			p.target = net.JoinHostPort(c.Address.String(), strconv.Itoa(podPort))
			p.runs = append(p.runs, run{})
		})
		terminate, ended := make(chan struct{}), make(chan struct{})
		defer close(ended)
		go func() {
			select {
			case <-c.Terminate:
				l.note(c.Pod, func(p *life) { p.last().signalled = time.Now() })
				close(terminate)
			case <-ended:
			}
		}()
		attended := *c
		attended.Terminate = terminate
		attended.Started = func() {
			l.note(c.Pod, func(p *life) { p.last().started = time.Now() })
			c.Started()
		}
		code := program(kill, &attended)
		l.note(c.Pod, func(p *life) { p.last().ended, p.last().code = time.Now(), code })
		return code
	}
}

func (l *ledger) note(pod string, change func(*life)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.lives[pod]
	if p == nil {
		p = &life{pod: pod}
		l.lives[pod] = p
	}
	change(p)
}

// hear takes what a node has learned.
func (l *ledger) hear(n dataplane.News) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.news = append(l.news, n)
}

// watch notes when pods are told to end. On real nodes it also reads what their
// containers say of themselves, since nobody attends them there. The function it
// gives ends it.
func (l *ledger) watch(ctx context.Context, client kubernetes.Interface, namespace string, realNodes bool) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	var reading sync.WaitGroup
	read := map[string]bool{} // by container, each anew when it was restarted
	see := func(object any) {
		pod, is := object.(*corev1.Pod)
		if !is {
			return
		}
		if pod.DeletionTimestamp != nil {
			l.note(pod.Name, func(p *life) {
				if p.told.IsZero() {
					p.told = time.Now()
				}
			})
		}
		// Handlers are called one after the other.
		if container := running(pod); realNodes && container != "" && !read[container] {
			read[container] = true
			l.note(pod.Name, func(p *life) { p.target = net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(podPort)) })
			reading.Go(func() { l.read(ctx, client, namespace, pod.Name) })
		}
	}
	// It fails only for informers that have been stopped.
	_, _ = factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: see, UpdateFunc: func(_, object any) { see(object) },
	})
	factory.StartWithContext(ctx)
	return func() {
		cancel()
		factory.Shutdown()
		reading.Wait()
	}
}

// running is the id of a pod's container that runs; empty if none does.
func running(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == name && c.State.Running != nil {
			return c.ContainerID
		}
	}
	return ""
}

// read takes notes of a real container to its end. What cannot be read is missing in
// the report, which says so of losses that it leaves unexplained.
func (l *ledger) read(ctx context.Context, client kubernetes.Interface, namespace, pod string) {
	stream, err := client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: name, Follow: true}).Stream(ctx)
	if err != nil {
		return
	}
	defer stream.Close()
	for lines := bufio.NewScanner(stream); lines.Scan(); {
		note, is := app.ParseNote(lines.Bytes())
		switch {
		case !is:
		case note.Event == app.Started:
			l.note(pod, func(p *life) { p.runs = append(p.runs, run{started: note.At}) })
		case note.Event == app.Terminated:
			l.note(pod, func(p *life) { p.last().signalled = note.At })
		case note.Event == app.Exited:
			l.note(pod, func(p *life) { p.last().ended, p.last().code = note.At, note.Code })
		}
	}
}

// all lives of pods.
func (l *ledger) all() []life {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []life
	for _, p := range l.lives {
		copied := *p
		copied.runs = slices.Clone(p.runs)
		// A watch may be slower than the node. A container that is restarted gets
		// SIGTERM too, but its last run does not.
		if s := copied.last().signalled; !copied.told.IsZero() && !s.IsZero() && s.Before(copied.told) {
			copied.told = s
		}
		all = append(all, copied)
	}
	return all
}

// leavers are the lives of the pods that were told to end.
func (l *ledger) leavers() []life {
	return slices.DeleteFunc(l.all(), func(p life) bool { return p.told.IsZero() })
}

// runs is how many times the container of a pod has begun to serve.
func (l *ledger) runs(pod string) (served int) {
	for _, p := range l.all() {
		for _, r := range p.runs {
			if p.pod == pod && !r.started.IsZero() {
				served++
			}
		}
	}
	return served
}

// allNews is what nodes have learned, in order.
func (l *ledger) allNews() []dataplane.News {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]dataplane.News{}, l.news...)
}

// balancerNode is one node of a load balancer.
type balancerNode struct {
	balancer string // name
	index    int    // of the load balancer's, from 0
	address  string // where load is sent
}

// is tells whether a load balancer's node of that index is meant.
func (n balancerNode) is(balancer string, index int) bool {
	return n.balancer == balancer && n.index == index
}

// knowledge is what each node knows at a moment: the states of targets by address.
// What is gone is left out.
func knowledge(news []dataplane.News, nodes []balancerNode, at time.Time) []map[string]target.State {
	known := make([]map[string]target.State, len(nodes))
	for i := range known {
		known[i] = map[string]target.State{}
	}
	for _, n := range news {
		i := slices.IndexFunc(nodes, func(node balancerNode) bool { return node.is(n.LoadBalancer, n.Node) })
		switch {
		case n.At.After(at):
		case n.State == "":
			delete(known[i], n.Target)
		default:
			known[i][n.Target] = n.State
		}
	}
	return known
}
