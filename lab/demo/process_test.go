package demo_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/demo"
)

func TestOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	var out bytes.Buffer
	if err := demo.Run(t.Context(), demo.Options{Once: true, Out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"RegisterTargets", "DeregisterTargets", "initial → healthy", "healthy → draining", "draining → gone",
		"(PodReady)", "not Ready", "kubectl rollout restart", "Each act ended as it should",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing is told of %q", want)
		}
	}
	if t.Failed() || strings.Contains(out.String(), "is answered with") {
		t.Errorf("a call failed, or something is missing:\n%s", out.String())
	}
}

// patience bounds waits that are expected to be short.
const patience = 3 * time.Minute

func TestInterruptLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts control planes")
	}
	lab := filepath.Join(t.TempDir(), "lab")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", lab, "../cmd/lab").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, moment := range []struct {
		words string
		fresh bool // without a built control plane
	}{
		{"demonstrated", false},
		{"building tgc", false},
		{"building the control plane", true},
		{"starting Kubernetes", false},
		{"starting tgc controller", false},
		{"A Deployment appears", false},
		{"healthy → draining", false},
	} {
		t.Run(moment.words, func(t *testing.T) { interruptAt(t, lab, moment.words, moment.fresh) })
	}
}

// interruptAt runs the demo until it prints some words, and then does what
// Ctrl-C in a terminal does.
func interruptAt(t *testing.T, lab, words string, fresh bool) {
	temp := t.TempDir()
	command := exec.Command(lab, "demo", "--listen=127.0.0.1:0")
	command.Env = append(os.Environ(), "TMPDIR="+temp)
	if fresh {
		command.Env = append(command.Env, "TGC_LAB_CACHE="+t.TempDir())
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	found, output := make(chan struct{}), make(chan string, 1)
	go follow(reader, words, found, output)
	ended := make(chan error, 1)
	go func() {
		ended <- command.Wait()
		writer.Close()
	}()
	select {
	case <-found:
	case <-time.After(patience):
		t.Errorf("%q was not printed within %s", words, patience)
	}
	if words != "demonstrated" {
		time.Sleep(300 * time.Millisecond) // into the middle of it
	}
	interrupted := time.Now()
	if err := syscall.Kill(-command.Process.Pid, syscall.SIGINT); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v, want no error", err)
		}
		t.Logf("ended within %s", time.Since(interrupted).Round(time.Millisecond))
	case <-time.After(patience):
		t.Errorf("still there %s after the interrupt", patience)
		command.Process.Kill()
		<-ended
	}
	for _, left := range append(processesOf(t, temp), filesIn(t, temp)...) {
		t.Errorf("left behind: %s", left)
	}
	if text := <-output; t.Failed() {
		t.Logf("output:\n%s", text)
	}
}

// follow closes found at the first line with the words, and gives all lines.
func follow(r io.Reader, words string, found chan<- struct{}, output chan<- string) {
	var text strings.Builder
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		fmt.Fprintln(&text, scanner.Text())
		if found != nil && strings.Contains(scanner.Text(), words) {
			close(found)
			found = nil
		}
	}
	output <- text.String()
}

// processesOf lists the processes whose environment names a directory.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, path := range environments {
		environment, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(environment, []byte(dir)) {
			continue // it has ended meanwhile, or is somebody else's
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		left = append(left, "process "+strings.ReplaceAll(string(line), "\x00", " "))
	}
	return left
}

// filesIn lists what is in a temporary directory, but for the empty directory
// in which all labs of a user have theirs.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	var left []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		labs := entry.IsDir() && entry.Name() == fmt.Sprintf("tgc-lab-%d", os.Getuid())
		if path != dir && !labs {
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}
