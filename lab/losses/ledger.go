package losses

import (
	"bufio"
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
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
	signalled   time.Time // by SIGTERM
	ended       time.Time
	code        int // of its exit
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
		l.note(c.Pod, func(p *life) { p.target = net.JoinHostPort(c.Address.String(), strconv.Itoa(podPort)) })
		terminate, ended := make(chan struct{}), make(chan struct{})
		defer close(ended)
		go func() {
			select {
			case <-c.Terminate:
				l.note(c.Pod, func(p *life) { p.signalled = time.Now() })
				close(terminate)
			case <-ended:
			}
		}()
		attended := *c
		attended.Terminate = terminate
		code := program(kill, &attended)
		l.note(c.Pod, func(p *life) { p.ended, p.code = time.Now(), code })
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
func (l *ledger) watch(ctx context.Context, client kubernetes.Interface, realNodes bool) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	var reading sync.WaitGroup
	read := map[types.UID]bool{}
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
		if realNodes && pod.Status.Phase == corev1.PodRunning && !read[pod.UID] {
			read[pod.UID] = true
			l.note(pod.Name, func(p *life) { p.target = net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(podPort)) })
			reading.Go(func() { l.read(ctx, client, pod.Name) })
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

// read takes notes of a real container to its end. What cannot be read is missing in
// the report, which says so of losses that it leaves unexplained.
func (l *ledger) read(ctx context.Context, client kubernetes.Interface, pod string) {
	stream, err := client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		return
	}
	defer stream.Close()
	for lines := bufio.NewScanner(stream); lines.Scan(); {
		note, is := app.ParseNote(lines.Bytes())
		switch {
		case !is:
		case note.Event == app.Terminated:
			l.note(pod, func(p *life) { p.signalled = note.At })
		case note.Event == app.Exited:
			l.note(pod, func(p *life) { p.ended, p.code = note.At, note.Code })
		}
	}
}

// leavers are the lives of the pods that were told to end.
func (l *ledger) leavers() []life {
	l.mu.Lock()
	defer l.mu.Unlock()
	var leavers []life
	for _, p := range l.lives {
		leaver := *p
		// A watch may be slower than the node.
		if s := leaver.signalled; !s.IsZero() && (leaver.told.IsZero() || s.Before(leaver.told)) {
			leaver.told = s
		}
		if !leaver.told.IsZero() {
			leavers = append(leavers, leaver)
		}
	}
	return leavers
}

// allNews is what nodes have learned, in order.
func (l *ledger) allNews() []dataplane.News {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]dataplane.News{}, l.news...)
}

// knowledge is what each of so many nodes knows at a moment: the states of
// targets by address. What is gone is left out.
func knowledge(news []dataplane.News, nodes int, at time.Time) []map[string]target.State {
	known := make([]map[string]target.State, nodes)
	for i := range known {
		known[i] = map[string]target.State{}
	}
	for _, n := range news {
		switch {
		case n.At.After(at):
		case n.State == "":
			delete(known[n.Node], n.Target)
		default:
			known[n.Node][n.Target] = n.State
		}
	}
	return known
}
