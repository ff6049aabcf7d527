package realnode_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

// ownerEnv makes the test binary the owner of a world, to be killed.
const ownerEnv = "TGC_LAB_TEST_OWNER"

// own runs a world until it is killed.
func own(ctx context.Context) int {
	w, err := world.Start(ctx, world.Options{RealNodes: true, Nodes: 1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(w.LogDir())
	select {}
}

// A program that is killed takes its nodes with it. What is left of it in the file
// system, its control groups, goes with the next start.
func TestKilledOwnerLeavesNothing(t *testing.T) {
	needNodes(t)
	t.Parallel()
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), ownerEnv+"=1", "TMPDIR="+t.TempDir(), "TGC_LAB_NETWORK=")
	owner.Stderr = t.Output()
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	defer owner.Process.Kill()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(line)
	if len(processesOf(t, dir)) < 3 || len(groupsOf(t, owner.Process.Pid)) == 0 {
		t.Fatalf("processes %v, groups %v", processesOf(t, dir), groupsOf(t, owner.Process.Pid))
	}
	owner.Process.Kill()
	owner.Wait()
	eventually(t, "all processes gone", func() error {
		if left := processesOf(t, dir); len(left) > 0 {
			return fmt.Errorf("still running: %v", left)
		}
		return nil
	})
	next, err := startFleet(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Stop(); err != nil {
		t.Error(err)
	}
	if left := groupsOf(t, owner.Process.Pid); len(left) > 0 {
		t.Errorf("the next start left control groups: %v", left)
	}
}

// processesOf lists the processes with a word in their command line.
func processesOf(t *testing.T, word string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may have ended
		if line := strings.ReplaceAll(string(text), "\x00", " "); strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return found
}

func groupsOf(t *testing.T, pid int) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"/sys/fs/cgroup/tgc-lab-%s-*", "/sys/fs/cgroup/*/tgc-lab-%s-*"} {
		found, err := filepath.Glob(fmt.Sprintf(pattern, strconv.Itoa(pid)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// patience is only for tests that would hang otherwise.
const patience = 5 * time.Minute

// eventually waits until a condition holds, and fails with its last error.
func eventually(t testing.TB, what string, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
