package config

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
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
		{"--port http --target-group-name web", []string{`--port "http": needs --service`, `--target-group-name "web": needs --service`}},
		{"--service web", []string{"neither", "set one"}},
		{"--service web --target-group-name web --target-group-arn " + arn, []string{"both set"}},
		{"--service web --target-group-arn arn:aws:s3:::x", []string{`--target-group-arn: "arn:aws:s3:::x"`}},
		{"--service web --target-group-name web --port 70000", []string{`--port "70000"`, "1 to 65535"}},
		{"--service web --target-group-name web --takeover Always", []string{`--takeover "Always": want Guarded or Confirmed`}},
	} {
		c := parse(t, nil, strings.Fields(test.arguments)...)
		err := c.Check()
		if (err != nil) != (test.wants != nil) {
			t.Errorf("%s: got %v, want %q", test.arguments, err, test.wants)
			continue
		}
		for _, want := range test.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want it to say %q", test.arguments, err, want)
			}
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
