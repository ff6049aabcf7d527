package demo

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func TestNoColorWhereThereIsNoTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if Colored(f) {
		t.Error("a file is told to take colours")
	}
}

func TestNoColorEnvironment(t *testing.T) {
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !Colored(f) {
		t.Error("no colours without NO_COLOR")
	}
	t.Setenv("NO_COLOR", "1")
	if Colored(f) {
		t.Error("colours in spite of NO_COLOR")
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if Colored(f) {
		t.Error("colours on a dumb terminal")
	}
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		g := startProgress(terminal{out: &out})
		g.begin("building tgc")
		time.Sleep(time.Second)
		g.begin("building the control plane ... 2s")
		time.Sleep(23 * time.Second)
		g.begin("building the control plane ... 23s")
		time.Sleep(2 * time.Second)
		g.begin("starting Kubernetes")
		time.Sleep(time.Second)
		g.end()
		const want = `  building tgc
  building the control plane
    2 s ...
    10 s ...
    20 s ...
    took 25 s
  starting Kubernetes
`
		if out.String() != want {
			t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
		}
	})
}

func TestNarratorTellsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		start := time.Now()
		n := newNarrator(terminal{out: &out}, newStory(start))
		ctx := t.Context()
		go n.run(ctx)
		// The simulator is the first to know; the pod is seen a little later.
		call := elbsim.Call{Received: start.Add(10 * time.Millisecond), Action: "RegisterTargets", Code: "OK", Targets: []string{keyA}, UserAgent: "tgc/dev"}
		n.add(callSeen{call})
		n.add(podSeen{at: start.Add(11 * time.Millisecond), name: podA, ip: "10.1.1.2", ready: true})
		time.Sleep(lag / 2)
		n.mu.Lock()
		early := out.String()
		n.mu.Unlock()
		if early != "" {
			t.Errorf("told before others had their say:\n%s", early)
		}
		time.Sleep(settle)
		n.mu.Lock()
		defer n.mu.Unlock()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "Ready") || !strings.Contains(lines[1], "RegisterTargets  (+<1 ms after Ready)") {
			t.Errorf("got:\n%s\nwant the pod before the call", out.String())
		}
	})
}

func TestCompare(t *testing.T) {
	healthy := elbsim.TargetState{Target: keyA, State: target.Healthy}
	draining := elbsim.TargetState{Target: keyB, State: target.Draining}
	if err := compare([]string{keyA}, []elbsim.TargetState{healthy}); err != nil {
		t.Errorf("one pod, one healthy target: %v", err)
	}
	for name, c := range map[string]struct {
		pods    []string
		targets []elbsim.TargetState
		want    string
	}{
		"draining":   {[]string{keyA}, []elbsim.TargetState{healthy, draining}, "target " + keyB + " is draining"},
		"missing":    {[]string{keyA, keyB}, []elbsim.TargetState{healthy}, "the ready pod at " + keyB + " is no target"},
		"too many":   {nil, []elbsim.TargetState{healthy}, "target " + keyA + " is healthy without a ready pod"},
		"everything": {[]string{keyB}, []elbsim.TargetState{healthy}, "ready pod; the ready pod at"},
	} {
		if err := compare(c.pods, c.targets); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
