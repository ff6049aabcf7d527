package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// events lists what the controller told of an object.
func (e *env) events(object string) []eventsv1.Event {
	e.Helper()
	var list eventsv1.EventList
	if err := shared.API.List(e.ctx, &list, client.InNamespace(e.namespace)); err != nil {
		e.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(event eventsv1.Event) bool {
		return event.Regarding.Name != object || event.ReportingController != "targetgroupcontroller"
	})
}

func TestBehaviour38And43_UnchangedWorldIsLeftInPeace(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	web := e.served(group, 2)
	e.controller("--sweep-interval=1s")
	e.inStep(group, "web", 2)
	e.health(group, target.Healthy, 2)
	e.eventually("status is complete", func() error {
		if s := e.status("web"); s.Healthy != 2 {
			return fmt.Errorf("have %+v", s)
		}
		return nil
	})
	writes, told, version := len(e.writes(group)), len(e.events("web")), e.version("web")
	e.looks(group, 4)
	if now := len(e.writes(group)); now != writes {
		t.Errorf("%d writes to AWS although nothing changed", now-writes)
	}
	if now := e.version("web"); now != version {
		t.Errorf("the binding was written, from version %s to %s", version, now)
	}
	e.scale(web, 3)
	e.inStep(group, "web", 3)
	e.eventually("one event more for one change", func() error {
		if now := len(e.events("web")); now != told+1 {
			return fmt.Errorf("%d events before, %d now", told, now)
		}
		return nil
	})
}

// version is that of a binding; any write changes it.
func (e *env) version(binding string) string {
	e.Helper()
	var b v1beta1.TargetGroupBinding
	if err := shared.API.Get(e.ctx, client.ObjectKey{Namespace: e.namespace, Name: binding}, &b); err != nil {
		e.Fatal(err)
	}
	return b.ResourceVersion
}

func TestBehaviour39_RestartWithUnchangedWorld(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	web := e.served(group, 3)
	first := e.controller()
	e.inStep(group, "web", 3)
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	if code := first.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	before := len(e.writes(group))
	e.controller("--sweep-interval=1s")
	e.looks(group, 2)
	if now := len(e.writes(group)); now != before {
		t.Errorf("the restart cost %d writes", now-before)
	}
	e.scale(web, 4)
	e.inStep(group, "web", 4)
}

// lease reads who holds the Lease.
func (e *env) holder() (string, error) {
	var lease coordinationv1.Lease
	err := shared.API.Get(e.ctx, client.ObjectKey{Namespace: e.namespace, Name: "targetgroupcontroller"}, &lease)
	if err != nil || lease.Spec.HolderIdentity == nil {
		return "", err
	}
	return *lease.Spec.HolderIdentity, nil
}

// released fails if somebody holds the Lease.
func (e *env) released() {
	e.Helper()
	if holder, err := e.holder(); err != nil || holder != "" {
		e.Errorf("the Lease is held by %q, %v", holder, err)
	}
}

func TestBehaviour39_StandbyTakesOver(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	web := e.served(group, 2)
	leader := e.controller()
	e.inStep(group, "web", 2)
	standby := e.controller()
	if !standby.AwaitLog(e.ctx, "Attempting to acquire leader lease") {
		t.Fatal("the second replica ended")
	}
	before := len(e.writes(group))
	if code := leader.Stop(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	if !standby.AwaitLog(e.ctx, "Successfully acquired lease") {
		t.Fatal("the standby ended")
	}
	e.scale(web, 3)
	e.inStep(group, "web", 3)
	if writes := e.writes(group)[before:]; len(carried(writes, "RegisterTargets")) != 1 || len(carried(writes, "DeregisterTargets")) != 0 {
		t.Errorf("the change of leaders cost %+v", writes)
	}
}

// A leader that dies without a word is succeeded when its Lease has run out.
func TestBehaviour39_StandbySucceedsADeadLeader(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	web := e.served(group, 1)
	short := "--leader-elect-duration=5s"
	leader := e.controller(short)
	e.inStep(group, "web", 1)
	e.controller(short)
	leader.Kill()
	e.scale(web, 2)
	e.inStep(group, "web", 2)
}

// A call that hangs for a while is finished before the program ends and gives up
// its Lease.
func TestGracefulStopFinishesTheCallUnderWay(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.fault(elbsim.Fault{Action: "RegisterTargets", Kind: elbsim.FaultHang, Duration: elbsim.Duration(2 * time.Second)})
	e.served(group, 2)
	p := e.controller()
	e.eventually("a call hangs", func() error { return e.underWay(group) })
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if call := e.calls(group, "RegisterTargets")[0]; !call.Applied || call.Code != elbsim.CodeOK {
		t.Errorf("the call came to %+v, want it finished", call)
	}
	e.released()
	if containsError(p) {
		t.Errorf("an orderly stop logs errors")
	}
}

func (e *env) underWay(group target.ARN) error {
	if !slices.ContainsFunc(e.calls(group, "RegisterTargets"), func(c elbsim.Call) bool { return c.Code == "" }) {
		return fmt.Errorf("none does")
	}
	return nil
}

// One that never ends is given up.
func TestGracefulStopGivesUpACallThatHangs(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.fault(elbsim.Fault{Action: "RegisterTargets", Kind: elbsim.FaultHang})
	e.served(group, 1)
	p := e.controller()
	e.eventually("a call hangs", func() error { return e.underWay(group) })
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	e.released()
}

func TestBehaviour44_EndpointsAndMetrics(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	web := e.served(group, 2)
	p := e.controller()
	e.inStep(group, "web", 2)
	e.health(group, target.Healthy, 2)
	e.scale(web, 1)
	e.inStep(group, "web", 1)
	for _, path := range []string{"/healthz", "/readyz"} {
		if err := p.Healthy(e.ctx, path); err != nil {
			t.Error(err)
		}
	}
	arn := `target_group="` + group.String() + `"`
	for _, state := range []string{"desired", "registered", "healthy", "draining"} {
		e.metric(p, "tgc_targets{", `state="`+state+`"`, arn)
	}
	e.metric(p, "tgc_target_changes_total{", `operation="RegisterTargets"`, `reason="PodReady"`, arn)
	e.metric(p, "tgc_target_changes_total{", `operation="DeregisterTargets"`, `reason="PodTerminating"`, arn)
	e.metric(p, "tgc_change_acceptance_seconds_count{", `operation="RegisterTargets"`)
	e.metric(p, "tgc_aws_calls_total{", `operation="DescribeTargetHealth"`, `outcome="ok"`)
	e.metric(p, "tgc_aws_call_duration_seconds_count{", `operation="DescribeTargetGroups"`)
	e.metric(p, "tgc_budget_wait_seconds_count{", `class="registration"`)
	e.metric(p, "tgc_target_group_last_success_timestamp_seconds{", arn)
}

func TestBehaviour42_StatusAndTable(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.served(group, 3)
	e.controller()
	e.inStep(group, "web", 3)
	e.health(group, target.Healthy, 3)
	e.eventually("status", func() error {
		s := e.status("web")
		if s.Desired != 3 || s.Registered != 3 || s.Healthy != 3 || s.Draining != 0 || s.Held != 0 ||
			s.TargetGroupName != group.Name || s.TargetGroupARN != group.String() || len(s.Targets) != 3 {
			return fmt.Errorf("have %+v", s)
		}
		return nil
	})
	c := e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	if c.ObservedGeneration != 1 {
		t.Errorf("the condition was observed at generation %d", c.ObservedGeneration)
	}
	row := e.row("web")
	for column, want := range map[string]string{
		"Target-Group": group.Name, "Service": "web", "Port": "80", "Ready": "True", "Reason": "Synced",
		"Desired": "3", "Registered": "3", "Healthy": "3",
	} {
		if row[column] != want {
			t.Errorf("kubectl get shows %s %q, want %q", column, row[column], want)
		}
	}
	update(e, e.bindingNamed("web"), func(b *v1beta1.TargetGroupBinding) {
		b.Spec.Takeover = v1beta1.TakeoverConfirmed
	})
	e.eventually("the next generation is observed", func() error {
		if s := e.status("web"); s.ObservedGeneration != 2 || s.Conditions[0].ObservedGeneration != 2 {
			return fmt.Errorf("have %+v", s)
		}
		return nil
	})
}

// row is a binding as kubectl get shows it, by column.
func (e *env) row(binding string) map[string]string {
	e.Helper()
	clients, err := kubernetes.NewForConfig(shared.World.Config())
	if err != nil {
		e.Fatal(err)
	}
	path := fmt.Sprintf("/apis/%s/namespaces/%s/targetgroupbindings/%s", v1beta1.GroupVersion, e.namespace, binding)
	raw, err := clients.RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").Do(e.ctx).Raw()
	if err != nil {
		e.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(raw, &table); err != nil {
		e.Fatal(err)
	}
	row := map[string]string{}
	for i, column := range table.ColumnDefinitions {
		row[column.Name] = fmt.Sprint(table.Rows[0].Cells[i])
	}
	return row
}

func containsError(p *rig.Process) bool { return logs(p, "level=ERROR") || logs(p, "Error:") }
