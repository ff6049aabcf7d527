package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

// installed builds the program and puts beside it what it needs to know.
func installed(t *testing.T, pod drain.Pod) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "tgc")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	known, err := json.Marshal(pod)
	if err == nil {
		err = os.WriteFile(podFile(program), known, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func podFile(program string) string { return filepath.Join(filepath.Dir(program), drain.PodFile) }

// brief makes a wait of three seconds, and endless one that nobody sits out.
var (
	brief   = drain.Pod{Namespace: "shop", Name: "web-0", UID: "uid-0"}
	endless = drain.Pod{Namespace: "shop", Name: "web-0", UID: "uid-0", HoldSeconds: 3600}
)

func TestHookBecomesTheOneThatWasThereBefore(t *testing.T) {
	program := installed(t, brief)
	out, err := exec.CommandContext(t.Context(), program, "wait", "--", "sh", "-c", "echo before; exit 7").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.HasSuffix(string(out), "\nbefore\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestHookEndsWell(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), installed(t, brief), "wait").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A hook that is told to end does so, and runs nothing after it. It needs little memory,
// since it gets it from the container.
func TestHookEndsOnSIGTERM(t *testing.T) {
	command := exec.CommandContext(t.Context(), installed(t, endless), "wait", "--", "false")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "waiting") {
		t.Errorf("said %q, %v", line, err)
	}
	if used := mostMemory(t, command.Process.Pid); used > 16<<10 {
		t.Errorf("it used %d KiB of memory, want 16 MiB at most", used)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
}

// mostMemory is the most memory, in KiB, that a process has had since it executed its
// program. What wait tells of it counts from the fork, when it had all of this test's.
func mostMemory(t *testing.T, pid int) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("%v in:\n%s", err, status)
	}
	return kib
}

// What is broken is told: of a hook that fails the kubelet makes an event.
func TestBrokenHookFails(t *testing.T) {
	program := installed(t, brief)
	if err := os.Remove(podFile(program)); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{"wait": "cannot wait", "": "usage", "wait now": "usage"} {
		out, err := exec.CommandContext(t.Context(), program, strings.Fields(args)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}
