package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
)

const arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef"

// parse reads a command line as `tgc controller` does, run in a pod of namespace "pod".
func parse(t *testing.T, environment map[string]string, arguments ...string) Controller {
	t.Helper()
	var c Controller
	set := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	c.AddFlags(set)
	if err := set.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (string, bool) { value, found := environment[name]; return value, found }
	if err := FromEnv(set, lookup); err != nil {
		t.Fatal(err)
	}
	c.Complete("pod", set.Changed)
	return c
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		arguments string
		wants     []string // in the error; none for no error
	}{
		{"", nil},
		{"--service web --target-group-arn " + arn, nil},
		{"--service web --target-group-name web --port http --bindings --annotations", nil},
		{"--metrics-bind-address 0 --health-probe-bind-address 127.0.0.1:0", nil},
		{"--log-level loud --log-format xml", []string{`--log-level "loud"`, `--log-format "xml"`}},
		{"--sweep-interval 10ms", []string{"--sweep-interval 10ms: want 1s or more"}},
		{"--leader-elect-duration 1s --kube-api-qps 0", []string{"--leader-elect-duration 1s", "--kube-api-qps 0"}},
		{"--metrics-bind-address 8080", []string{`--metrics-bind-address "8080": want host:port`}},
		{"--health-probe-bind-address 8081", []string{`--health-probe-bind-address "8081"`}},
		{"--bindings=false", []string{"--annotations needs --bindings", "nothing to do: give --service"}},
		{"--port http --target-group-name web", []string{`--port http: needs --service`, `--target-group-name [web]: needs --service`}},
		{"--service web", []string{"neither", "set one"}},
		{"--service web --target-group-name web --target-group-arn " + arn, []string{"has 2 target groups", "remove all but one"}},
		{"--service web --target-group-arn arn:aws:s3:::x", []string{`--target-group-arn: "arn:aws:s3:::x"`}},
		{"--service web --target-group-name web --port 70000", []string{`--port "70000"`, "1 to 65535"}},
		{"--pod-selector app=web --port http --target-group-name web", nil},
		{"--pod-selector app=web,!canary --port 80 --register-at Running --target-group-name a --target-group-name b --target-group-arn " + arn, nil},
		{"--pod-selector app=web --target-group-name web", []string{`--pod-selector "app=web" needs --port`}},
		{"--pod-selector app=web --port http", []string{"neither --target-group-arn nor --target-group-name is set"}},
		{"--pod-selector app=web --service web --port http --target-group-name web", []string{`--service "web" and --pod-selector "app=web" are both set: remove one`}},
		{"--pod-selector app=(web --port http --target-group-name web", []string{`--pod-selector "app=(web"`, "as kubectl -l takes them"}},
		{"--pod-selector , --port http --target-group-name web", []string{`--pod-selector ","`}},
		{"--pod-selector app=web --port 0 --target-group-name web", []string{`--port "0"`, "1 to 65535"}},
		{"--pod-selector app=web --port http --target-group-name web --register-at Started", []string{`--register-at "Started": want Ready or Running`}},
		{"--pod-selector app=web --port http --target-group-name web --target-group-arn " + arn, []string{`two target groups are called "web"`}},
		{"--pod-selector app=web --port http --target-group-name a_b --target-group-arn x", []string{`--target-group-name "a_b"`, `--target-group-arn: "x"`}},
		{"--service web --target-group-name web --register-at Running", []string{`--register-at "Running": needs --pod-selector`}},
		{"--register-at Running", []string{`--register-at Running: needs --service or --pod-selector`}},
		{"--service web --target-group-name web --takeover Always", []string{`--takeover "Always": want Guarded or Confirmed`}},
	} {
		c := parse(t, nil, strings.Fields(test.arguments)...)
		expect(t, test.arguments, c.Check(), test.wants)
	}
}

// expect checks that the error about a command line says all that is wanted; that there
// is none where nothing is.
func expect(t *testing.T, arguments string, err error, wants []string) {
	t.Helper()
	if (err != nil) != (wants != nil) {
		t.Errorf("%s: got %v, want %q", arguments, err, wants)
		return
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to say %q", arguments, err, want)
		}
	}
}

func TestCompleteOfOneService(t *testing.T) {
	one := parse(t, nil, "--service", "web")
	if one.Namespace != "pod" || one.LeaseNamespace != "pod" || one.Bindings || one.Annotations {
		t.Errorf("--service alone gives %+v", one)
	}
	all := parse(t, nil)
	if all.Namespace != "" || all.LeaseNamespace != "pod" || !all.Bindings || !all.Annotations {
		t.Errorf("no flags give %+v", all)
	}
	both := parse(t, nil, "--service", "web", "--namespace", "shop", "--bindings")
	if both.Namespace != "shop" || !both.Bindings || both.Annotations {
		t.Errorf("--service with --bindings gives %+v", both)
	}
}

// Where flags are all that is said, no more is watched than they name.
func TestBehaviour37_ScopeOfTheFlags(t *testing.T) {
	for _, c := range []struct{ arguments, want string }{
		{"", "{ }"},
		{"--service web", "{pod web}"},
		{"--service web --bindings", "{pod }"},
		{"--pod-selector app=web,!canary", "{pod  app=web,!canary}"},
		{"--pod-selector app=web --bindings --namespace shop", "{shop }"},
	} {
		controller := parse(t, nil, strings.Fields(c.arguments)...)
		scope := controller.Scope()
		got := fmt.Sprintf("{%s %s}", scope.Namespace, scope.Service)
		if scope.Pods != nil {
			got = fmt.Sprintf("{%s %s %s}", scope.Namespace, scope.Service, scope.Pods)
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.arguments, got, c.want)
		}
	}
}

func TestBehaviour37_OneBindingForEachGroup(t *testing.T) {
	environment := map[string]string{"TGC_POD_SELECTOR": "app=web", "TGC_PORT": "http", "TGC_TARGET_GROUP_NAME": "one,two", "TGC_REGISTER_AT": "Running"}
	c := parse(t, environment)
	bindings, err := c.FlagBindings()
	if err != nil || len(bindings) != 2 {
		t.Fatalf("got %+v, %v", bindings, err)
	}
	for i, name := range []string{"one", "two"} {
		b := bindings[i]
		if b.ID.String() != "pod/pods/"+name || b.Group.Name != name || b.Selector.String() != "app=web" || b.Port.Name != "http" || b.RegisterAt != desired.AtRunning {
			t.Errorf("got %+v", b)
		}
	}
}

func TestEnvironmentTwins(t *testing.T) {
	environment := map[string]string{"TGC_SERVICE": "web", "TGC_BINDINGS": "true", "TGC_LOG_LEVEL": "debug"}
	c := parse(t, environment, "--log-level", "warn")
	if c.Service != "web" || c.LogLevel != "warn" {
		t.Errorf("service %q, log level %q: a flag counts more than its twin, and the twin more than the default", c.Service, c.LogLevel)
	}
	if !c.Bindings {
		t.Error("what a twin sets does not count as given")
	}

	set := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	new(Controller).AddFlags(set)
	err := FromEnv(set, func(name string) (string, bool) { return "many", name == "TGC_KUBE_API_QPS" })
	if err == nil || !strings.Contains(err.Error(), `TGC_KUBE_API_QPS "many"`) {
		t.Errorf("got %v for a value that is no number", err)
	}
}
