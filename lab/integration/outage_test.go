package integration

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// The API server is killed and started again while pods come and go. All tests
// share it, so this one runs alone: before those that are parallel.
func TestAPIServerRestartDuringChurn(t *testing.T) {
	e := newEnvAlone(t)
	group := e.group()
	web := e.served(group, 3)
	p := e.controller("--leader-elect-duration=60s", "--sweep-interval=1s")
	e.inStep(group, "web", 3)
	stay := e.registered(group)
	e.scale(web, 5) // under way when the API server goes
	before := len(e.calls(group, "DeregisterTargets"))
	if err := shared.RestartAPIServer(e.ctx); err != nil {
		t.Fatal(err)
	}
	e.inStep(group, "web", 5)
	// The controller is known to follow the new API server by now; whatever it
	// made of the outage came before.
	if calls := e.calls(group, "DeregisterTargets"); len(calls) > before {
		t.Errorf("targets %v were there, and these calls were made: %+v", stay, calls)
	}
	e.scale(web, 2)
	e.inStep(group, "web", 2)
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
