package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// commandLine starts tgc with nothing but these arguments, as a ServiceAccount with the
// rights of a file. What a pod would have of its own comes by the environment: its
// namespace and, since all tests share one network, an address for the other endpoints.
func (e *env) commandLine(rights, address string, args ...string) *rig.Process {
	e.Helper()
	p, err := shared.Run(context.WithoutCancel(e.ctx), append([]string{"controller"}, args...), rig.ProcessOptions{
		Config: e.account(rights, "tgc"),
		Env: []string{
			"AWS_ENDPOINT_URL=" + e.sim.Endpoint, "AWS_REGION=", "POD_NAMESPACE=" + e.namespace,
			"TGC_HEALTH_PROBE_BIND_ADDRESS=" + address + ":8081", "TGC_DRAIN_BIND_ADDRESS=" + address + ":8082",
		},
	})
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		if code := p.Stop(); code != 0 {
			e.Errorf("exit code %d", code)
		}
		if log := p.Log(); e.Failed() || strings.Contains(log, `"level":"ERROR"`) || strings.Contains(log, "forbidden") {
			e.Errorf("log of tgc:\n%s", log)
		}
	})
	return p
}

// anAddress is one on which no other process listens.
func (e *env) anAddress() string {
	e.Helper()
	host, _, err := net.SplitHostPort(shared.NextDesk())
	if err != nil {
		e.Fatal(err)
	}
	return host
}

// listening makes pods serve on a port.
func listening(port int32) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort = port }
}

// inStepOn is inStep for pods that serve on another port.
func (e *env) inStepOn(port string, group target.ARN, name string, n int) {
	e.Helper()
	e.eventually(fmt.Sprintf("%d pods of %s registered", n, name), func() error {
		return same(e.registered(group), onPort(e.pods(name), port), n)
	})
}

// The earlier controller for one Service was started like this, for pods that listen on
// 9000.
func TestCommandLineOfTheControllerForOneService(t *testing.T) {
	e := newEnv(t)
	group, address := e.group(), e.anAddress()
	web := e.deployment("web", 2, listening(9000))
	e.service("web", corev1.ServicePort{Name: "http", Port: 9000, TargetPort: intstr.FromInt32(9000)})
	e.commandLine(oneService, address,
		"-region", "eu-central-1", "-targetgrouparn", group.String(), "-service", "web", "-port", "9000", "-http", address+":8080")
	e.inStepOn("9000", group, "web", 2)
	e.health(group, target.Healthy, 2)

	leaver := e.list("web")[0]
	e.delete(&leaver)
	e.eventually("the deleted pod is no target", func() error {
		return noneOf(e.registered(group), []string{leaver.Status.PodIP + ":9000"})
	})
	e.inStepOn("9000", group, "web", 2)
	pod := e.list("web")[0]
	e.ready(&pod, false)
	e.inStepOn("9000", group, "web", 1)
	e.ready(&pod, true)
	e.scale(web, 3)
	e.inStepOn("9000", group, "web", 3)
	e.exportsWhatRulesNeed("http://"+address+":8080/metrics", group)
}

// What docs/migrating.md makes of the flags of kube-ingress-aws-controller in AWS CNI
// mode: --target-cni-namespace, --target-cni-pod-labelselector, --target-port and
// --metrics-address, for the groups of one stack.
func TestCommandLineOfTheCNIMode(t *testing.T) {
	e := newEnv(t)
	address := e.anAddress()
	stack := func(g *elbsim.SeedGroup) { g.Tags = map[string]string{"stack": "kube-ing"} }
	groups := []target.ARN{
		e.group(stack, func(g *elbsim.SeedGroup) { g.Name, g.Port = "http", 9999 }),
		e.group(stack, func(g *elbsim.SeedGroup) { g.Name, g.Port = "https", 9999 }),
	}
	e.deployment("skipper", 2, listening(9999))
	e.deployment("other", 1, listening(9999))
	e.commandLine(onePodSelector, address,
		"-region", "eu-central-1", "-namespace", e.namespace, "-pod-selector", "app=skipper", "-port", "9999", "-register-at", "Running",
		"-target-group-tag", "stack=kube-ing", "-metrics-bind-address", address+":7979")
	for _, group := range groups {
		e.inStepOn("9999", group, "skipper", 2)
		e.health(group, target.Healthy, 2)
	}

	// By force, which the earlier one did not see.
	leaver := e.list("skipper")[0]
	e.delete(&leaver, client.GracePeriodSeconds(0))
	for _, group := range groups {
		e.eventually("the deleted pod is no target", func() error {
			return noneOf(e.registered(group), []string{leaver.Status.PodIP + ":9999"})
		})
		e.inStepOn("9999", group, "skipper", 2)
		e.exportsWhatRulesNeed("http://"+address+":7979/metrics", group)
	}
}

// metricName is a metric in an expression of Prometheus, or what a rule records.
var metricName = regexp.MustCompile(`[\w:]*(?:tgc|leader_election)_[\w:]+`)

// exportsWhatRulesNeed waits until a metrics page has every metric that the recording
// and alerting rules are made of, and knows of the group.
func (e *env) exportsWhatRulesNeed(url string, group target.ARN) {
	e.Helper()
	var file struct {
		Groups []struct{ Rules []struct{ Expr string } }
	}
	e.read("../../config/prometheus/rules.yaml", &file)
	var needed []string
	for _, g := range file.Groups {
		for _, rule := range g.Rules {
			needed = append(needed, metricName.FindAllString(rule.Expr, -1)...)
		}
	}
	slices.Sort(needed)
	needed = slices.DeleteFunc(slices.Compact(needed), func(name string) bool { return strings.Contains(name, ":") })
	if len(needed) < 5 {
		e.Fatalf("the rules are made of %q only: has their form changed?", needed)
	}
	e.eventually("metrics", func() error {
		page, err := rig.Get(e.ctx, url)
		if err != nil {
			return err
		}
		var missing []error
		for _, name := range needed {
			if !strings.Contains(page, "\n"+name+"{") && !strings.Contains(page, "\n"+name+" ") {
				missing = append(missing, errors.New("no "+name))
			}
		}
		return errors.Join(append(missing, has(page, `tgc_targets{state="registered",target_group="`+group.String()+`"}`))...)
	})
}
