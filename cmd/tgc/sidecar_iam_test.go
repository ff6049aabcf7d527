package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// policy is what these tests take apart of config/iam/sidecar.json.
type policy struct {
	Version   string
	Statement []*policyStatement
}

type policyStatement struct {
	Effect   string
	Action   []string
	Resource json.RawMessage
}

const actionPrefix = "elasticloadbalancing:"

func readPolicy(t *testing.T) policy {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "config", "iam", "sidecar.json"))
	if err != nil {
		t.Fatal(err)
	}
	var p policy
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// actions lists what the policy allows, without the service.
func (p policy) actions() []string {
	var all []string
	for _, s := range p.Statement {
		for _, action := range s.Action {
			all = append(all, strings.TrimPrefix(action, actionPrefix))
		}
	}
	slices.Sort(all)
	return all
}

// without takes an action away, and the statement that had nothing else.
func (p policy) without(action string) policy {
	p.Statement = slices.DeleteFunc(p.Statement, func(s *policyStatement) bool {
		s.Action = slices.DeleteFunc(s.Action, func(a string) bool { return a == actionPrefix+action })
		return len(s.Action) == 0
	})
	return p
}

// enforcing makes a simulator that answers what the policy does not allow with
// AccessDenied.
func enforcing(t *testing.T, p policy) simulated {
	t.Helper()
	document, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return simulate(t, func(s *elbsim.Settings) { s.IAMPolicy = document })
}

// made are the actions of all calls, each once.
func (s simulated) made() (actions []string) {
	for _, call := range s.Calls() {
		actions = append(actions, call.Action)
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

// The sidecar comes, is in service and leaves under its policy, with all that makes it
// call AWS, and makes every call that the policy allows.
func TestSidecarPolicyIsEnough(t *testing.T) {
	program := program(t)
	for _, named := range []string{"by name", "by ARN"} {
		t.Run(named, func(t *testing.T) {
			t.Parallel()
			sim := enforcing(t, readPolicy(t))
			group := "-target-group-name=web"
			if named == "by ARN" {
				group = "--target-group-arn=" + sim.Groups()[0].ARN
			}
			p := sim.sidecar(program, group, "--grace-period=4s", "--shutdown-period=1s", "--sweep-interval=1s")
			p.says("In service")
			p.says("grace period is too short") // which it knows from the attributes
			p.signal(syscall.SIGTERM)
			p.exits(exitForced) // since the group's hold is 45 s
			sim.expect(other)
			if made, want := sim.made(), readPolicy(t).actions(); !slices.Equal(made, want) {
				t.Errorf("called %v, the policy allows %v", made, want)
			}
			for _, call := range sim.Calls() {
				if call.Code == "AccessDenied" {
					t.Errorf("%s is denied", call.Action)
				}
			}
		})
	}
}

// With one action taken away from its policy the sidecar says which one is missing, and
// whose policy lacks it.
func TestSidecarPolicyIsLeast(t *testing.T) {
	program := program(t)
	for _, action := range readPolicy(t).actions() {
		t.Run("without "+action, func(t *testing.T) {
			t.Parallel()
			sim := enforcing(t, readPolicy(t).without(action))
			p := sim.sidecar(program, "-target-group-name=web", "--grace-period=4s", "--shutdown-period=1s", "--sweep-interval=1s")
			denied := "is not authorized to perform: " + actionPrefix + action
			switch action {
			case "DescribeTargetGroupAttributes":
				p.says("In service")
				p.says(string(target.DrainDefaults))
				p.says(denied)
			case "DeregisterTargets":
				p.says("In service")
				p.signal(syscall.SIGTERM)
				p.says(denied)
				p.says("in the IAM policy of that user or role")
				p.exits(exitForced)
				sim.expect(own, other)
			default:
				p.says(denied)
				p.says("in the IAM policy of that user or role")
				sim.expect(other)
			}
		})
	}
}

// The policy lets the pod into the groups that it names, and into no others.
func TestSidecarPolicyIsForItsGroups(t *testing.T) {
	sim := enforcing(t, readPolicy(t))
	group, err := sim.PlantGroup(elbsim.SeedGroup{Name: "api", LoadBalancer: "back", Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	p := sim.sidecarOf(program(t), "-target-group-name=api")
	p.says("RegisterTargets on resource: " + group.String())
	p.says("Registered")
	p.signal(syscall.SIGTERM)
	p.exits(0)
	sim.expect(other)
}
