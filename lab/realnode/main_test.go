package realnode_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

// shared is the rig of all tests of this package: a start takes seconds.
var shared *rig.Rig

// unsupported is why there are no real nodes here, nil where there are.
var unsupported error

func TestMain(m *testing.M) {
	// Tests wait far more than they compute: many can run on few cores.
	_ = flag.Set("test.parallel", "8")
	flag.Parse()
	if testing.Short() {
		fmt.Println("realnode: skipped by -short")
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	unsupported, err = realnode.EnterForTests(ctx, os.Stderr)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	case unsupported != nil:
		return m.Run()
	case os.Getenv(ownerEnv) != "":
		return own(ctx)
	}
	return runShared(ctx, m)
}

// runShared runs the tests with a rig of two nodes.
func runShared(ctx context.Context, m *testing.M) int {
	var err error
	shared, err = rig.Start(ctx, rig.Options{
		World:     world.Options{RealNodes: true, Nodes: 2, NodeGrace: 20 * time.Second},
		Simulator: simulator(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "realnode:", err)
		return 1
	}
	code := m.Run()
	if err := shared.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "realnode:", err)
		return 1
	}
	return code
}

// needNodes skips a test where there are no real nodes, and says why.
func needNodes(t *testing.T) {
	t.Helper()
	if unsupported != nil {
		t.Skip(unsupported)
	}
}
