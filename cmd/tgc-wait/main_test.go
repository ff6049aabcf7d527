package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain/wait"
)

// installed builds the program and installs it with settings.
func installed(t *testing.T, settings wait.Settings) string {
	t.Helper()
	built := filepath.Join(t.TempDir(), "tgc-wait")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", built, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	folder := t.TempDir()
	if err := wait.Install(built, folder, settings); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, wait.Program)
}

// brief settings make a wait that is over at once: less than what a hook leaves of the
// grace period.
var brief = wait.Settings{Namespace: "shop", Name: "web-0", UID: "uid-0", Late: -3 * time.Second}

// endless ones make a wait that nobody sits out.
var endless = wait.Settings{Namespace: "shop", Name: "web-0", UID: "uid-0", Hold: time.Hour}

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
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
	usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok || usage.Maxrss > 16<<10 {
		t.Errorf("it used %d KiB of memory, want 16 MiB at most", usage.Maxrss)
	}
}

// What is broken is told: of a hook that fails the kubelet makes an event.
func TestBrokenHookFails(t *testing.T) {
	program := installed(t, brief)
	if err := os.Remove(filepath.Join(filepath.Dir(program), "wait.json")); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{"wait": "cannot wait", "": "usage", "wait now": "usage"} {
		out, err := exec.CommandContext(t.Context(), program, strings.Fields(args)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}
