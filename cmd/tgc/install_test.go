package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

// TestInstall runs the command as admission has it run: with the environment that
// the init container gets. Both programs are the test's own executable.
func TestInstall(t *testing.T) {
	self, err := os.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	image, folder := t.TempDir(), t.TempDir()
	for _, program := range []string{"tgc", waitProgram} {
		if err := os.WriteFile(filepath.Join(image, program), self, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // an init container may run again
		command := exec.CommandContext(t.Context(), filepath.Join(image, "tgc"), "install", folder)
		command.Env = append(os.Environ(), asProgram+"=1",
			"TGC_POD_NAMESPACE=shop", "TGC_POD_NAME=web-1", "TGC_POD_UID=0123",
			"TGC_HOLD_SECONDS=45", "TGC_LATE_SECONDS=120", "TGC_SHUTDOWN_SECONDS=30",
			"TGC_DRAIN_ENDPOINT=tgc-drain.test:8082")
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	raw, err := os.ReadFile(filepath.Join(folder, drain.PodFile))
	if err != nil {
		t.Fatal(err)
	}
	var pod drain.Pod
	want := drain.Pod{Namespace: "shop", Name: "web-1", UID: "0123", HoldSeconds: 45, LateSeconds: 120, ShutdownSeconds: 30, Endpoint: "tgc-drain.test:8082"}
	if err := json.Unmarshal(raw, &pod); err != nil || pod != want {
		t.Errorf("got %+v, %v, want %+v", pod, err, want)
	}
	output, err := exec.CommandContext(t.Context(), filepath.Join(folder, "tgc"), "-test.list=^TestInstall$").Output()
	if err != nil || !strings.Contains(string(output), "TestInstall") {
		t.Errorf("the copy does not run: %v\n%s", err, output)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 2 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
}

func TestInstallWithoutAFolder(t *testing.T) {
	pod := drain.Pod{Namespace: "shop", Name: "web-1", UID: "0123"}
	if err := install(filepath.Join(t.TempDir(), "missing"), os.Args[0], pod); err == nil {
		t.Error("installed into a folder that does not exist")
	}
}

func TestInstallTellsWhatIsMissing(t *testing.T) {
	for _, pod := range []drain.Pod{
		{Namespace: "shop", Name: "web-1"},
		{Namespace: "shop", UID: "0123"},
		{Name: "web-1", UID: "0123"},
		{Namespace: "shop", Name: "web-1", UID: "0123", HoldSeconds: -1},
	} {
		if err := install(t.TempDir(), os.Args[0], pod); err == nil {
			t.Errorf("installed %+v", pod)
		}
	}
}
