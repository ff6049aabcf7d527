package sidecar_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/sidecar"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// joined starts a pod and waits until it is in service. Pod 9 is another one that is
// healthy, so that no pod of a test is the last.
func (w *world) joined(cfg sidecar.Settings) *pod {
	w.t.Helper()
	p := w.start(cfg)
	w.until("the pod is in service", func() bool { return strings.Contains(p.log.String(), "In service") })
	return p
}

func (w *world) register(numbers ...int) {
	w.t.Helper()
	client := w.sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion)
	var targets []target.Target
	for _, n := range numbers {
		targets = append(targets, target.Target{Key: target.Key{Addr: addr(n), Port: 8080}})
	}
	if err := client.RegisterTargets(w.t.Context(), w.group, targets); err != nil {
		w.t.Fatal(err)
	}
	w.until("the others are healthy", func() bool {
		for _, group := range w.sim.Groups() {
			for _, t := range group.Targets {
				if t.State != target.Healthy {
					return false
				}
			}
		}
		return true
	})
	w.sim.ClearCalls()
}

func TestPodComesAndLeaves(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(9)
		p := w.joined(usual(1))
		joined := []string{"DescribeTargetGroups", "DescribeTargetHealth", "RegisterTargets", "DescribeTargetHealth"}
		if got := w.calls(); !slices.Equal(got, joined) {
			t.Errorf("calls to be in service: %v, want %v", got, joined)
		}
		p.stop()
		took := w.until("the pod is deregistered", func() bool { return w.isIn(9) })
		if took > time.Second {
			t.Errorf("it took %v to deregister the pod", took)
		}
		began := time.Now()
		if err := <-p.ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
		if held := time.Since(began).Round(time.Second); held != 45*time.Second {
			t.Errorf("the pod was held for %v, want 45s: the delay of 30s and 15s more", held)
		}
		p.expectLog("Registered", "In service", "Deregistered", "the pod may stop")
	})
}

func TestGraceThatIsTooShort(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(9)
		cfg := usual(1)
		cfg.Grace = 30 * time.Second
		p := w.joined(cfg)
		began := time.Now()
		if err := p.ends(); !errors.Is(err, sidecar.ErrForced) {
			t.Errorf("it ended with %v", err)
		}
		if got := time.Since(began).Round(time.Second); got != 23*time.Second {
			t.Errorf("the pod was held for %v, want 23s: what the grace period of 30s leaves beside the shutdown", got)
		}
		p.expectLog("set terminationGracePeriodSeconds of the pod to 55")
	})
}

func TestOthersAreLeftAlone(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(7, 8, 9)
		p := w.joined(usual(1))
		if err := p.ends(); err != nil {
			t.Error(err)
		}
		if !w.isIn(7, 8, 9) {
			t.Errorf("left are %v", w.in())
		}
	})
}

func TestTargetThatSomebodyRemovedComesBack(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(9)
		p := w.joined(usual(1))
		client := w.sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion)
		if err := client.DeregisterTargets(t.Context(), w.group, []target.Target{{Key: target.Key{Addr: addr(1), Port: 8080}}}); err != nil {
			t.Fatal(err)
		}
		if took := w.until("it is back", func() bool { return w.isIn(1, 9) }); took > usual(1).Sweep {
			t.Errorf("it took %v", took)
		}
		p.expectLog("Somebody deregistered the target")
	})
}

// A drain hook without the end of the pod is that of a container that is restarted.
func TestDrainedPodThatStaysComesBack(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(9)
		p := w.joined(usual(1))
		began := time.Now()
		<-p.Leave("test")
		if held := time.Since(began).Round(time.Second); held != 45*time.Second {
			t.Errorf("the hook was held for %v, want 45s", held)
		}
		if !w.isIn(9) {
			t.Errorf("registered are %v", w.in())
		}
		w.until("it is back", func() bool { return w.isIn(1, 9) })
		if got := time.Since(began).Round(time.Second); got != usual(1).Grace+5*time.Second {
			t.Errorf("it came back after %v, want just after the grace period", got)
		}
		p.expectLog("only a container was restarted")
		if err := p.ends(); err != nil || !w.isIn(9) {
			t.Errorf("ended with %v, registered are %v", err, w.in())
		}
	})
}

// The hook of a native sidecar's pod comes first, and SIGTERM once the others ended.
func TestEndAfterDrainIsAtOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(9)
		p := w.joined(usual(1))
		<-p.Leave("test")
		began := time.Now()
		if err := p.ends(); err != nil || time.Since(began) > time.Second {
			t.Errorf("ended with %v after %v", err, time.Since(began))
		}
	})
}

func TestLastHealthyPodWaitsForAnother(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.joined(usual(1))
		p.stop()
		time.Sleep(10 * time.Second)
		if !w.isIn(1) {
			t.Fatal("the only healthy pod was deregistered though there was time")
		}
		w.register(9)
		w.until("another is healthy", func() bool { return w.isIn(9) })
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
	})
}

func TestLastHealthyPodGoesInTime(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		p := w.joined(usual(1))
		if err := p.ends(); err != nil || !w.isIn() {
			t.Errorf("ended with %v, registered are %v", err, w.in())
		}
	})
}

func TestFaults(t *testing.T) {
	for name, fault := range map[string]elbsim.Fault{
		"lost reply of the registration":     {Action: "RegisterTargets", Kind: elbsim.FaultLose, Count: 1},
		"lost reply of the deregistration":   {Action: "DeregisterTargets", Kind: elbsim.FaultLose, Count: 2},
		"hanging registration":               {Action: "RegisterTargets", Kind: elbsim.FaultHang, Count: 1},
		"throttled":                          {Kind: elbsim.FaultThrottle, Count: 4},
		"throttled deregistration":           {Action: "DeregisterTargets", Kind: elbsim.FaultThrottle, Count: 2},
		"failing":                            {Kind: elbsim.FaultFail, Code: "InternalFailure", Count: 4},
		"group that cannot be read at first": {Action: "DescribeTargetGroups", Kind: elbsim.FaultFail, Code: "AccessDenied", Count: 2},
		"delay that may not be read":         {Action: "DescribeTargetGroupAttributes", Kind: elbsim.FaultFail, Code: "AccessDenied"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.register(9)
				w.fault(fault)
				cfg := usual(1)
				cfg.Grace = 10 * time.Minute
				p := w.joined(cfg)
				if !w.isIn(1, 9) {
					t.Errorf("registered are %v", w.in())
				}
				if err := p.ends(); err != nil || !w.isIn(9) {
					t.Errorf("ended with %v, registered are %v", err, w.in())
				}
			})
		})
	}
}

// Whoever is told to end while it registers leaves nothing behind.
func TestEndDuringRegistration(t *testing.T) {
	for name, fault := range map[string]elbsim.Fault{
		"hanging":   {Action: "RegisterTargets", Kind: elbsim.FaultHang, Count: 1},
		"lost":      {Action: "RegisterTargets", Kind: elbsim.FaultLose, Count: 1},
		"throttled": {Action: "RegisterTargets", Kind: elbsim.FaultThrottle, Count: 3},
		"listing":   {Action: "DescribeTargetHealth", Kind: elbsim.FaultHang, Count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.register(9)
				w.fault(fault)
				p := w.start(usual(1))
				w.until("it has called", func() bool { return slices.Contains(w.calls(), fault.Action) })
				if err := p.ends(); err != nil || !w.isIn(9) {
					t.Errorf("ended with %v, registered are %v", err, w.in())
				}
			})
		})
	}
}

func TestGroupThatComesLater(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		cfg := usual(1)
		cfg.Groups = []target.Ref{{Name: "api"}}
		p := w.start(cfg)
		time.Sleep(10 * time.Minute)
		p.expectLog("TargetGroupNotFound", "create the target group", "not in service after 5m0s")
		group := web
		group.Name, group.LoadBalancer = "api", "other"
		plant(t, w.sim, group)
		w.until("it is in service", func() bool { return strings.Contains(p.log.String(), "In service") })
		if err := p.ends(); err != nil {
			t.Error(err)
		}
	})
}

// A group that is deleted while the pod is in it has let go.
func TestGroupThatVanishes(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(9)
		cfg := usual(1)
		cfg.Grace = 10 * time.Minute // since nobody knows the group's delay any more
		p := w.joined(cfg)
		if err := w.sim.VanishGroup(w.group); err != nil {
			t.Fatal(err)
		}
		if err := p.ends(); err != nil {
			t.Errorf("ended with %v\n%s", err, p.log)
		}
		p.expectLog("TargetGroupNotFound")
	})
}

func TestGroupThatNoPodCanBeIn(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		plant(t, w.sim, elbsim.SeedGroup{Name: "nodes", Type: target.TypeInstance})
		plant(t, w.sim, elbsim.SeedGroup{Name: "six", Family: target.IPv6, Protocol: "TCP"})
		cfg := usual(1)
		cfg.Groups = []target.Ref{{Name: "nodes"}, {Name: "six"}, {Name: "web"}}
		p := w.start(cfg)
		w.until("it is registered where it can be", func() bool { return w.isIn(1) })
		p.expectLog("TargetTypeMismatch: target group nodes is of type instance", "AddressFamilyMismatch", "POD_IPS")
		if err := p.ends(); err != nil {
			t.Error(err)
		}
	})
}

func TestFatalTimeout(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(9)
		cfg := usual(1)
		cfg.InServiceFatal, cfg.InServiceTimeout = true, time.Minute
		w.fault(elbsim.Fault{Action: "RegisterTargets", Kind: elbsim.FaultFail, Code: "AccessDenied"})
		p := w.start(cfg)
		err := <-p.ended
		if err == nil || !strings.Contains(err.Error(), "not in service after 1m0s") || !strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("ended with %v", err)
		}
	})
}

// crash ends the process without a word: what it has not done stays undone.
func (w *world) crash(p *pod) {
	w.fault(elbsim.Fault{Kind: elbsim.FaultFail, Code: "InternalFailure"})
	if p.ends() == nil {
		w.t.Error("a process that could not call AWS left in order")
	}
	w.sim.ClearFaults()
}

func TestRestartedWhileRegistered(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(9)
		cfg := usual(1)
		cfg.StateDir, cfg.Grace = t.TempDir(), 10*time.Second
		w.crash(w.joined(cfg))
		if !w.isIn(1, 9) {
			t.Fatalf("registered are %v", w.in())
		}
		w.sim.ClearCalls()
		began := time.Now()
		p := w.joined(cfg)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v to be in service again", took)
		}
		if calls := w.calls(); slices.Contains(calls, "RegisterTargets") {
			t.Errorf("it was registered again: %v", calls)
		}
		cfg.Hold = new(time.Duration)
		if err := p.ends(); err == nil || !w.isIn(9) {
			t.Errorf("ended with %v, registered are %v", err, w.in())
		}
	})
}

// Without a memory a healthy target may be an earlier pod's of the same address.
func TestAddressOfAnEarlierPod(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(1, 9)
		p := w.start(usual(1))
		time.Sleep(5 * time.Second)
		if strings.Contains(p.log.String(), "In service") {
			t.Error("the health of an earlier pod was taken for its own")
		}
		p.expectLog("HealthUnconfirmed")
		w.until("its own checks must have told", func() bool { return strings.Contains(p.log.String(), "In service") })
	})
}

func TestRestartedDuringTheDrain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.register(9)
		cfg := usual(1)
		cfg.StateDir = t.TempDir()
		p := w.joined(cfg)
		over := p.Leave("test")
		w.until("it is deregistered", func() bool { return w.isIn(9) })
		kept := copyOf(t, cfg.StateDir)
		began := time.Now()
		// Another process begins with what the first had written by now.
		cfg.StateDir = kept
		again := w.start(cfg)
		time.Sleep(10 * time.Second)
		again.expectLog("going on with that")
		if !w.isIn(9) {
			t.Fatalf("registered are %v: a pod that leaves was registered again", w.in())
		}
		<-over
		<-again.Leave("test")
		if held := time.Since(began).Round(time.Second); held < 45*time.Second {
			t.Errorf("the pod was held for %v after the restart, want 45s", held)
		}
		if err := errors.Join(p.ends(), again.ends()); err != nil {
			t.Error(err)
		}
	})
}

func TestStateDirThatCannotBeWritten(t *testing.T) {
	cfg := usual(1)
	cfg.StateDir = filepath.Join(t.TempDir(), "missing")
	_, err := sidecar.New(cfg, sidecar.Surroundings{})
	if err == nil || !strings.Contains(err.Error(), "--state-dir") || !strings.Contains(err.Error(), "emptyDir") {
		t.Errorf("got %v", err)
	}
}
