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
// the init container gets. The test's own executable is the program.
func TestInstall(t *testing.T) {
	if folder := os.Getenv("TEST_INSTALL"); folder != "" {
		os.Args = []string{"tgc", "install", folder}
		if code := run(); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		return
	}
	folder := t.TempDir()
	for range 2 { // an init container may run again
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInstall$")
		command.Env = append(os.Environ(), "TEST_INSTALL="+folder,
			"TGC_POD_NAMESPACE=shop", "TGC_POD_NAME=web-1", "TGC_POD_UID=0123",
			"TGC_HOLD_SECONDS=45", "TGC_LATE_SECONDS=120", "TGC_SHUTDOWN_SECONDS=30")
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	raw, err := os.ReadFile(filepath.Join(folder, drain.PodFile))
	if err != nil {
		t.Fatal(err)
	}
	var pod drain.Pod
	want := drain.Pod{Namespace: "shop", Name: "web-1", UID: "0123", HoldSeconds: 45, LateSeconds: 120, ShutdownSeconds: 30}
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
	if err := install(filepath.Join(t.TempDir(), "missing"), os.Args[0], drain.Pod{}); err == nil {
		t.Error("installed into a folder that does not exist")
	}
}
