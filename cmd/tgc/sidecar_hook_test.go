package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hooked is a pod whose application has the hook that the sidecar installs.
type hooked struct {
	simulated
	program string
	// volume is what the containers share.
	volume, address string
}

func newHooked(t *testing.T) hooked {
	t.Helper()
	dir := t.TempDir() + string(filepath.Separator)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, ".", "../tgc-wait").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return hooked{simulate(t), filepath.Join(dir, "tgc"), t.TempDir(), freeAddress(t)}
}

// freeAddress is one of loopback that nobody has.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// start starts the sidecar, or starts it again, and waits until it serves.
func (h hooked) start(args ...string) *process {
	h.t.Helper()
	p := h.sidecarOf(h.program, append([]string{"--state-dir", h.volume, "--hook-dir", h.volume, "--bind-address", h.address}, args...)...)
	p.says("Serving")
	return p
}

// hook is a hook that runs.
type hook struct {
	t       *testing.T
	command *exec.Cmd
	output  *bufio.Reader
}

// stop begins what the kubelet does at the deletion of the pod, and waits until the
// application's hook has had an answer of the sidecar.
func (h hooked) stop(command ...string) hook {
	h.t.Helper()
	run := hook{t: h.t, command: exec.CommandContext(h.t.Context(), filepath.Join(h.volume, "tgc"), append([]string{"wait"}, command...)...)}
	output, err := run.command.StdoutPipe()
	if err == nil {
		err = run.command.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	run.output = bufio.NewReader(output)
	for {
		line, err := run.output.ReadString('\n')
		if err != nil {
			h.t.Fatalf("it has ended: %q, %v", line, err)
		}
		if strings.Contains(line, "still registered") {
			return run
		}
	}
}

// ends waits for the end of the hook, and gives what it still had to say.
func (h hook) ends() string {
	h.t.Helper()
	said, err := io.ReadAll(h.output)
	if err == nil {
		err = h.command.Wait()
	}
	if err != nil {
		h.t.Errorf("the hook: %v\n%s", err, said)
	}
	return string(said)
}

// never is longer than any test waits.
const never = time.Hour

// A sidecar that is killed amid a drain and started again goes on with it, and the hook
// holds the application until then. What was the hook before is run after that.
func TestHookOutlastsTheSidecar(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	released := filepath.Join(h.volume, "released")
	first := h.start("--grace-period", (2 * never).String(), "--hold", never.String(), "--drain-token", "secret")
	first.says("In service")
	hook := h.stop("--", "/bin/ls", released)
	first.says("Deregistered:")
	first.signal(syscall.SIGKILL)
	if err := <-first.ended; err == nil {
		t.Error("the sidecar was not killed")
	}
	again := h.start("--grace-period", (2 * never).String(), "--drain-token", "secret", "--post-deregister-command", "/bin/touch "+released)
	if said := hook.ends(); !strings.HasSuffix(said, "\n"+released+"\n") {
		t.Errorf("the hook said\n%s", said)
	}
	h.expect(other)
	again.says("going on with that")
	again.signal(syscall.SIGTERM)
	again.exits(0)
}

// Without a sidecar the hook holds the application for as long as it may: the kubelet
// restarts no container of a pod that is being deleted.
func TestHookHoldsWithoutTheSidecar(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	p := h.start("--grace-period", "8s", "--shutdown-period", "1s", "--hold", never.String())
	p.says("In service")
	hook := h.stop()
	p.says("Deregistered:")
	p.signal(syscall.SIGKILL)
	if err := <-p.ended; err == nil {
		t.Error("the sidecar was not killed")
	}
	if said := hook.ends(); !strings.Contains(said, "the grace period is used up") {
		t.Errorf("the hook said\n%s", said)
	}
	h.expect(other)
}

// Who has no right to drain the pod has it no more by way of the hook's questions.
func TestHookNeedsTheToken(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	p := h.start("--drain-token", "secret")
	p.says("In service")
	if code, _ := p.get("/drain?uid=", ""); code != http.StatusUnauthorized {
		t.Errorf("without the token: %d", code)
	}
	h.expect(own, other)
	if said := h.stop().ends(); !strings.Contains(said, "no load balancer sends requests any more") {
		t.Errorf("the hook said\n%s", said)
	}
	h.expect(other)
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

func TestHookThatCannotBeInstalled(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	p := h.sidecarOf(h.program, "--hook-dir", filepath.Join(h.volume, "missing"))
	p.exits(exitFailure)
	if !strings.Contains(p.text(), "--hook-dir") || !strings.Contains(p.text(), "emptyDir") {
		t.Errorf("it says:\n%s", p.text())
	}
	if left, err := os.ReadDir(h.volume); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
