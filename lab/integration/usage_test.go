package integration

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// Exit codes of tgc.
const (
	failed = 1
	misuse = 2
)

// ended runs tgc controller to its end.
func ended(t *testing.T, options rig.ProcessOptions, args ...string) (code int, output string) {
	t.Helper()
	all := append([]string{"controller", "--metrics-bind-address=0", "--health-probe-bind-address=0", "--log-format=text"}, args...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel() // kills what should have ended by itself
	p, err := shared.Run(ctx, all, options)
	if err != nil {
		t.Fatal(err)
	}
	code = p.Wait()
	return code, p.Log()
}

// refused runs tgc controller and wants an exit code and words, and no noise.
func refused(t *testing.T, want int, words []string, options rig.ProcessOptions, args ...string) {
	t.Helper()
	code, output := ended(t, options, args...)
	if code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
	for _, word := range words {
		if !strings.Contains(output, word) {
			t.Errorf("the output does not say %q", word)
		}
	}
	for _, noise := range []string{"goroutine ", "panic", "strconv.", "time: invalid", "level=ERROR"} {
		if strings.Contains(output, noise) {
			t.Errorf("the output says %q", noise)
		}
	}
	if t.Failed() {
		t.Logf("the output is:\n%s", output)
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ args, says []string }{
		"malformed ARN":          {[]string{"--service=web", "--target-group-arn=web"}, []string{"--target-group-arn", `"web" is not an ARN`, "want arn:aws:"}},
		"ARN of something else":  {[]string{"--service=web", "--target-group-arn=arn:aws:s3:eu-central-1:123456789012:bucket"}, []string{"--target-group-arn", "is the ARN of something else", "targetgroup/NAME/ID"}},
		"no group":               {[]string{"--service=web"}, []string{"neither --target-group-arn nor --target-group-name is set"}},
		"two groups":             {[]string{"--service=web", "--target-group-arn=arn:a", "--target-group-name=web"}, []string{"--service \"web\" has 2 target groups, --target-group-arn [arn:a] and --target-group-name [web]: remove all but one"}},
		"group without Service":  {[]string{"--target-group-name=web"}, []string{`--target-group-name [web]: needs --service or --pod-selector`}},
		"malformed name":         {[]string{"--service=web", "--target-group-name=no name"}, []string{"--target-group-name", `"no name"`, "1 to 32 letters, digits and inner hyphens"}},
		"malformed Service":      {[]string{"--service=No_Service", "--target-group-name=web"}, []string{`--service "No_Service"`, "lower-case letters, digits and inner hyphens"}},
		"port out of range":      {[]string{"--service=web", "--target-group-name=web", "--port=70000"}, []string{`--port "70000"`, "want 1 to 65535"}},
		"unknown takeover":       {[]string{"--service=web", "--target-group-name=web", "--takeover=always"}, []string{`--takeover "always": want Guarded or Confirmed`}},
		"malformed region":       {[]string{"--region=Frankfurt"}, []string{`--region "Frankfurt"`, "such as eu-central-1"}},
		"malformed duration":     {[]string{"--sweep-interval=often"}, []string{`--sweep-interval "often": want a duration such as 30s or 5m`}},
		"duration too short":     {[]string{"--sweep-interval=1ms"}, []string{"--sweep-interval 1ms: want 1s or more"}},
		"malformed number":       {[]string{"--kube-api-qps=many"}, []string{`--kube-api-qps "many": want a whole number`}},
		"malformed bool":         {[]string{"--bindings=perhaps"}, []string{`--bindings "perhaps": want true or false`}},
		"malformed address":      {[]string{"--metrics-bind-address=8080"}, []string{`--metrics-bind-address "8080": want host:port, :port, or 0 for none`}},
		"malformed webhook":      {[]string{"--webhook-bind-address=:https"}, []string{`--webhook-bind-address ":https": want host:port or :port with a number`}},
		"malformed webhook name": {[]string{"--webhook-name=Hook"}, []string{`--webhook-name "Hook": want 1 to 63 lower-case letters`}},
		"webhook without":        {[]string{"--webhook-bind-address=:9443", "--service=web", "--target-group-name=web"}, []string{"--webhook-bind-address :9443 needs --bindings"}},
		"unknown log level":      {[]string{"--log-level=loud"}, []string{`--log-level "loud": want debug, info, warn or error`}},
		"unknown log format":     {[]string{"--log-format=xml"}, []string{`--log-format "xml": want json or text`}},
		"nothing to do":          {[]string{"--bindings=false", "--annotations=false"}, []string{"nothing to do: give --service"}},
		"annotations without":    {[]string{"--bindings=false"}, []string{"--annotations needs --bindings"}},
		"unknown flag":           {[]string{"--tarket-group-arn=x"}, []string{"unknown flag: --tarket-group-arn", "--help"}},
		"an argument":            {[]string{"web"}, []string{`unknown command "web"`, "--help"}},
		"several wrong at once":  {[]string{"--log-level=loud", "--sweep-interval=1ms"}, []string{"--log-level", "--sweep-interval"}},
		"malformed lease name":   {[]string{"--leader-elect-duration=1s"}, []string{"--leader-elect-duration 1s: want 3s or more"}},
		"ARN of another service": {[]string{"--service=web", "--target-group-arn=arn:aws:elasticloadbalancing:eu-central-1:12:targetgroup/web/0123456789abcdef"}, []string{"--target-group-arn", `account "12"`, "12 digits"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, misuse, c.says, rig.ProcessOptions{}, c.args...)
		})
	}
}

func TestBadEnvironment(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ env, says []string }{
		"malformed duration": {[]string{"TGC_SWEEP_INTERVAL=often"}, []string{`TGC_SWEEP_INTERVAL "often": want a duration such as 30s or 5m`}},
		"malformed bool":     {[]string{"TGC_LEADER_ELECT=maybe"}, []string{`TGC_LEADER_ELECT "maybe": want true or false`}},
		"unknown log level":  {[]string{"TGC_LOG_LEVEL=loud"}, []string{`--log-level "loud"`, "--log-level was set by the environment variable TGC_LOG_LEVEL"}},
		"malformed ARN":      {[]string{"TGC_SERVICE=web", "TGC_TARGET_GROUP_ARN=web"}, []string{`"web" is not an ARN`, "TGC_TARGET_GROUP_ARN"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, misuse, c.says, rig.ProcessOptions{Env: c.env})
		})
	}
}

// The kubelet gives each pod TGC_PORT=tcp://... if a Service of its namespace is
// called tgc. That is not the port of a binding.
func TestServiceLinksAreNotFlags(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.served(group, 1)
	e.controllerWith(rig.ProcessOptions{Env: []string{"TGC_PORT=tcp://10.96.0.7:8080", "TGC_SERVICE_HOST=10.96.0.7"}})
	e.inStep(group, "web", 1)
}

func TestNoRegionForAFlagBinding(t *testing.T) {
	t.Parallel()
	refused(t, failed, []string{"no AWS region: give --region, set AWS_REGION, or name the target group by ARN"},
		rig.ProcessOptions{Env: []string{"AWS_REGION="}}, "--service=web", "--target-group-name=web", "--namespace=default")
}

func TestNoKubeconfig(t *testing.T) {
	t.Parallel()
	refused(t, failed, []string{"no access to a Kubernetes API: give --kubeconfig, set KUBECONFIG"}, rig.ProcessOptions{Env: []string{"KUBECONFIG="}})
	refused(t, failed, []string{"kubeconfig", "/nowhere", "no such file"}, rig.ProcessOptions{}, "--kubeconfig=/nowhere")
}

func TestUnreachableAPIServer(t *testing.T) {
	t.Parallel()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	host := "https://" + nobody.Addr().String()
	refused(t, failed, []string{"the Kubernetes API at " + host + " does not answer", "connection refused", "check the server in the kubeconfig and the network"},
		rig.ProcessOptions{Config: &rest.Config{Host: host}})
}

func TestUnknownUserOfTheAPIServer(t *testing.T) {
	t.Parallel()
	config := shared.World.Config()
	config.CertData, config.KeyData, config.BearerToken = nil, nil, "forged"
	refused(t, failed, []string{"does not know the credentials", "renew the token or certificate"}, rig.ProcessOptions{Config: config})
}

func TestMissingRights(t *testing.T) {
	e := newEnv(t)
	config, err := shared.ConfigFor("nobody-in-particular")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, failed, []string{"not allowed to list, watch pods in namespace " + e.namespace, "Role", "targetgroupbindings.targetgroupcontroller.io"},
		rig.ProcessOptions{Config: config}, "--namespace="+e.namespace)
	refused(t, failed, []string{"not allowed to list, watch pods in all namespaces", "ClusterRole"}, rig.ProcessOptions{Config: config})
}

// With flags the rights of the file in config are all that is needed; without the
// Lease's, its absence is told.
func TestMissingRightOnTheLease(t *testing.T) {
	e := newEnv(t)
	config := e.account(oneService, "tgc")
	refused(t, failed, []string{"not allowed to get, update leases.coordination.k8s.io in namespace " + e.namespace},
		rig.ProcessOptions{Config: config}, "--namespace="+e.namespace, "--service=web", "--target-group-name=web", "--leader-elect-lease=other")
}

// A stand-in for clusters without a CRD, since the rig's has both. One that was set up
// before there were PodInjections knows the other.
func TestMissingCRD(t *testing.T) {
	for missing, known := range map[string][]metav1.APIResource{
		"TargetGroupBinding": nil,
		"PodInjection":       {{Name: v1beta1.Resource, Kind: "TargetGroupBinding", Namespaced: true}},
	} {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			answer := func(path string, with any) {
				mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					_ = json.NewEncoder(w).Encode(with)
				})
			}
			answer("/version", version.Info{GitVersion: "v1.0.0"})
			if known != nil {
				answer("/apis/"+v1beta1.GroupVersion.String(), metav1.APIResourceList{
					TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: v1beta1.GroupVersion.String(), APIResources: known,
				})
			}
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			refused(t, failed, []string{"knows no " + missing + " of", "install the CRD", "--service or --pod-selector with a target group"},
				rig.ProcessOptions{Config: &rest.Config{Host: server.URL}})
		})
	}
}
