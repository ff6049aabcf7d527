package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/cluster"
)

// ownerEnv makes the test binary the owner of a control plane, to be killed.
const ownerEnv = "TGC_LAB_TEST_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(ownerEnv) == "" {
		os.Exit(m.Run())
	}
	c, err := cluster.Start(context.Background(), cluster.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(c.LogDir())
	select {}
}

func TestKilledOwnerLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), ownerEnv+"=1")
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
	if len(processesOf(t, dir)) == 0 {
		t.Fatal("no processes found")
	}
	owner.Process.Kill()
	owner.Wait()
	for deadline := time.Now().Add(2 * time.Minute); len(processesOf(t, dir)) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("still running: %v", processesOf(t, dir))
		}
		time.Sleep(10 * time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cluster.Start(ctx, cluster.Options{Executable: "/nonexistent"}); err == nil {
		t.Fatal("started")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the next start left the state directory: %v", err)
	}
}
