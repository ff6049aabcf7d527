package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// iamMode is a way to run tgc, with the policy that config/iam has for it.
type iamMode struct {
	policy string
	// start starts tgc for the Service web and the group web.
	start func(e *env, group target.ARN)
}

var iamModes = []iamMode{
	{"controller.json", func(e *env, group target.ARN) {
		e.binding("web", "web", group, asking(&v1beta1.Drain{Mode: v1beta1.DrainSleep}))
		e.controller()
	}},
	{"controller-tags.json", func(e *env, group target.ARN) {
		e.binding("web", "web", group, asking(&v1beta1.Drain{Mode: v1beta1.DrainSleep}), tagged)
		e.controller()
	}},
	{"one-service-arn.json", func(e *env, group target.ARN) {
		e.controller("--service=web", "--target-group-arn="+group.String())
	}},
	{"one-service-name.json", func(e *env, _ target.ARN) {
		e.controller("--service=web", "--target-group-name=web")
	}},
}

// policyDocument is what these tests take of a policy apart.
type policyDocument struct {
	Version   string
	Statement []*policyStatement
}

type policyStatement struct {
	Sid, Effect string
	Action      []string
	Resource    json.RawMessage
	Condition   json.RawMessage `json:",omitempty"`
}

// read reads a file of config/iam, and names the group in it by its ARN.
func (m iamMode) read(t *testing.T, group target.ARN) policyDocument {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../config/iam", m.policy))
	if err != nil {
		t.Fatal(err)
	}
	const example = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef"
	var document policyDocument
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(data), example, group.String())), &document); err != nil {
		t.Fatal(err)
	}
	return document
}

// actions lists what the policy allows, without the service.
func (d policyDocument) actions() []string {
	var all []string
	for _, s := range d.Statement {
		for _, action := range s.Action {
			all = append(all, strings.TrimPrefix(action, "elasticloadbalancing:"))
		}
	}
	slices.Sort(all)
	return all
}

// newIAM makes an env with a group web, which has the tag of controller-tags.json. Its
// simulator enforces the policy of a mode without one of its actions; "" leaves all in.
func newIAM(t *testing.T, m iamMode, without string) (*env, target.ARN) {
	t.Helper()
	e := newEnv(t)
	group := e.group(func(g *elbsim.SeedGroup) { g.Name, g.Tags = "web", map[string]string{"team": "shop"} })
	document := m.read(t, group)
	for i, s := range slices.Backward(document.Statement) {
		s.Action = slices.DeleteFunc(s.Action, func(action string) bool { return action == "elasticloadbalancing:"+without })
		if len(s.Action) == 0 {
			document.Statement = slices.Delete(document.Statement, i, i+1)
		}
	}
	policy, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	e.configure(func(s *elbsim.Settings) { s.IAMPolicy = policy })
	return e, group
}

// Each mode works under its policy, and makes every call that the policy allows.
func TestPoliciesAreEnough(t *testing.T) {
	t.Parallel()
	for _, m := range iamModes {
		t.Run(m.policy, func(t *testing.T) {
			e, group := newIAM(t, m, "")
			web := e.deployment("web", 2)
			e.service("web")
			m.start(e, group)
			e.inStep(group, "web", 2)
			e.health(group, target.Healthy, 2)
			e.scale(web, 1)
			e.inStep(group, "web", 1)
			want := m.read(t, group).actions()
			e.eventually("every call of the policy", func() error {
				var made []string
				for _, call := range e.sim.Calls() {
					made = append(made, call.Action)
				}
				slices.Sort(made)
				return same(slices.Compact(made), want, len(want))
			})
			for _, call := range e.sim.Calls() {
				if call.Code == "AccessDenied" {
					t.Errorf("%s is denied", call.Action)
				}
			}
		})
	}
}

// With one action taken away from its policy a mode says which one is missing.
func TestPoliciesAreLeast(t *testing.T) {
	t.Parallel()
	for _, m := range iamModes {
		for _, action := range m.read(t, target.ARN{}).actions() {
			t.Run(m.policy+" without "+action, func(t *testing.T) {
				e, group := newIAM(t, m, action)
				web := e.deployment("web", 2)
				e.service("web")
				m.start(e, group)
				says := "is not authorized to perform: elasticloadbalancing:" + action
				switch action {
				case "DescribeTargetGroupAttributes":
					note := e.event("web", string(target.DrainDefaults), says).Note
					e.contains(note, "taken for 300 s", "allow the action")
					e.inStep(group, "web", 2)
					return
				case "DeregisterTargets":
					e.inStep(group, "web", 2)
					e.scale(web, 1)
				}
				note := e.event("web", string(target.AccessDenied), says).Note
				e.contains(note, action, "IAM policy")
			})
		}
	}
}

// The policy for groups with a tag lets pods into these only; and out of all, since a
// group that has lost the tag must be left, too.
func TestPolicyByTag(t *testing.T) {
	e, group := newIAM(t, iamMode{policy: "controller-tags.json"}, "")
	other := e.group(func(g *elbsim.SeedGroup) { g.Name, g.LoadBalancer = "api", "api" })
	e.deployment("web", 1)
	e.service("web")
	e.binding("tagged", "web", group, tagged)
	e.binding("other", "web", other)
	e.controller("--sweep-interval=1s")
	e.inStep(group, "web", 1)
	c := e.condition("other", v1beta1.ConditionReady, metav1.ConditionFalse, target.AccessDenied)
	e.contains(c.Message, "RegisterTargets on resource: "+other.String(), "IAM policy")
	e.tag(group, "")
	e.inStepWith(group, nil)
}
