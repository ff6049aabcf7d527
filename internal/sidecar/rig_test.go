package sidecar_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/sidecar"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// world is a simulated account with one group, in a synctest bubble.
type world struct {
	t     *testing.T
	sim   *elbsim.Sim
	group target.ARN
	pods  []*pod
}

// web is the group of a world: an Application Load Balancer's, checked every 10 s.
var web = elbsim.SeedGroup{
	Name: "web", LoadBalancer: "front", Port: 8080, HealthCheck: elbsim.SeedCheck{Interval: elbsim.Duration(10 * time.Second)},
	Attributes: map[string]string{target.DelayAttribute: "30"},
}

// inWorld runs a test in a world, in a bubble.
func inWorld(t *testing.T, change func(*elbsim.Settings), test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		settings := elbsim.DefaultSettings()
		settings.Buckets = nil
		if change != nil {
			change(&settings)
		}
		sim, err := elbsim.New(elbsim.Options{Settings: &settings, Check: elbsim.AlwaysPass})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, sim: sim, group: plant(t, sim, web)}
		ctx, stop := context.WithCancel(context.Background())
		defer synctest.Wait()
		defer stop()
		go sim.Run(ctx)
		defer w.endAll()
		test(w)
	})
}

func plant(t *testing.T, sim *elbsim.Sim, group elbsim.SeedGroup) target.ARN {
	t.Helper()
	arn, err := sim.PlantGroup(group)
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

// pod is a Sidecar that runs.
type pod struct {
	t *testing.T
	*sidecar.Sidecar
	stop  context.CancelFunc
	log   *logged
	ended chan error
	gone  chan struct{}
}

// logged is a log that tests read.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// usual are settings that say little, of the pod with a number.
func usual(number int) sidecar.Settings {
	return sidecar.Settings{
		Groups: []target.Ref{{Name: "web"}}, Region: elbsim.DefaultRegion, Addrs: []netip.Addr{addr(number)},
		WaitInService: true, InServiceTimeout: 5 * time.Minute, Sweep: 5 * time.Minute,
		Grace: 2 * time.Minute, Shutdown: 5 * time.Second,
	}
}

func addr(number int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 1, byte(number / 256), byte(number % 256)})
}

func (w *world) start(cfg sidecar.Settings) *pod {
	w.t.Helper()
	accounts := elb.NewAccounts(
		func(_ context.Context, login elb.Login) (elb.Client, error) {
			return w.sim.Client(elbsim.DefaultAccount, login.Region), nil
		},
		func(_, _ string) *pace.Budget { return pace.New(pace.OneOfMany()) },
	)
	p := &pod{t: w.t, log: &logged{}, ended: make(chan error, 1), gone: make(chan struct{})}
	s, err := sidecar.New(cfg, sidecar.Surroundings{
		Accounts: accounts, Metrics: metrics.New(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(p.log, nil)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	p.Sidecar = s
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() {
		defer close(p.gone)
		p.ended <- s.Run(ctx)
	}()
	w.pods = append(w.pods, p)
	return p
}

// endAll waits for the end of all pods, which the bubble asks for.
func (w *world) endAll() {
	for _, p := range w.pods {
		p.stop()
	}
	for _, p := range w.pods {
		<-p.gone
	}
}

// ends waits for the end of the pod.
func (p *pod) ends() error {
	p.stop()
	return <-p.ended
}

// until lets time pass until something holds, for an hour at most.
func (w *world) until(what string, holds func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > time.Hour {
			w.t.Fatalf("an hour has passed and still not: %s", what)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
	}
	return time.Since(began)
}

// in are the numbers of the pods that are registered, in order.
func (w *world) in() (numbers []int) {
	w.t.Helper()
	for _, group := range w.sim.Groups() {
		if group.ARN != w.group.String() {
			continue
		}
		for _, t := range group.Targets {
			if t.State != target.Draining {
				host := netip.MustParseAddrPort(t.Target).Addr().As4()
				numbers = append(numbers, int(host[2])*256+int(host[3]))
			}
		}
	}
	slices.Sort(numbers)
	return numbers
}

func (w *world) isIn(numbers ...int) bool { return slices.Equal(w.in(), numbers) }

// calls are the calls made so far, in order.
func (w *world) calls() (actions []string) {
	for _, call := range w.sim.Calls() {
		actions = append(actions, call.Action)
	}
	return actions
}

func (w *world) fault(f elbsim.Fault) {
	w.t.Helper()
	if _, err := w.sim.AddFault(f); err != nil {
		w.t.Fatal(err)
	}
}

func (p *pod) expectLog(want ...string) {
	p.t.Helper()
	for _, text := range want {
		if !strings.Contains(p.log.String(), text) {
			p.t.Errorf("the log does not say %q:\n%s", text, p.log)
		}
	}
}

func (w *world) sum() map[string]int {
	sum := map[string]int{}
	for _, call := range w.sim.Calls() {
		sum[fmt.Sprint(call.Action, " ", call.Code)]++
	}
	return sum
}

// copyOf copies the files of a directory.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "copy"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "copy")
}
