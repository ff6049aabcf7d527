// Package integration runs the real tgc against a real Kubernetes API server with
// its controllers, loopback nodes whose pods serve HTTP, and the simulator over
// AWS's wire protocol. Each test has a namespace, target groups and controllers
// of its own, and they run side by side.
package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/cluster"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/node"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

// shared is the rig of all tests of the package.
var shared *rig.Rig

func TestMain(m *testing.M) {
	// Tests wait far more than they compute: many can run on few cores.
	_ = flag.Set("test.parallel", "16")
	flag.Parse()
	if testing.Short() {
		fmt.Println("integration: skipped by -short")
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	shared, err = rig.Start(context.Background(), rig.Options{
		World: world.Options{Nodes: 3, Fleet: node.Options{IPv6: true, Apps: map[string]app.App{witnessed: witnessedWeb}}, Cluster: cluster.Options{
			// Some clusters are stricter about owners than others.
			APIServer: []string{"--enable-admission-plugins=OwnerReferencesPermissionEnforcement"},
		}},
		Race: true,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	if err := said.follow(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	code := m.Run()
	if err := shared.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	return code
}
