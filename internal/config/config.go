// Package config holds what users can set, as flags with environment twins.
package config

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
)

// The forms of names, as Kubernetes and AWS have them.
var (
	regionForm  = regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)+$`)
	serviceForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// Controller is everything that can be set of `tgc controller`.
type Controller struct {
	Region    string
	Namespace string

	// The bindings made of flags, one of each target group; none if both Service and
	// PodSelector are empty.
	Service          string
	PodSelector      string
	Port             string
	RegisterAt       string
	TargetGroupARNs  []string
	TargetGroupNames []string
	TargetGroupTags  []string
	Takeover         string

	Bindings    bool
	Annotations bool

	MetricsAddress string
	HealthAddress  string

	LeaderElection bool
	LeaseName      string
	LeaseNamespace string
	LeaseDuration  time.Duration

	// DrainImage holds this program, for the drain mode Hold. Such pods are answered at
	// DrainAddress, which they reach as DrainEndpoint.
	DrainImage    string
	DrainAddress  string
	DrainEndpoint string

	// The webhook; none if its address is 0.
	WebhookAddress   string
	WebhookName      string
	WebhookNamespace string
	WebhookHosts     []string

	SweepInterval time.Duration
	Kubeconfig    string
	KubeQPS       int
	Logs
}

// AddFlags makes a flag of each field, with its default.
func (c *Controller) AddFlags(set *pflag.FlagSet) {
	set.StringVar(&c.Region, "region", "", "AWS region of target groups that are named by name (default: AWS_REGION, the shared configuration)")
	set.StringVarP(&c.Namespace, "namespace", "n", "", "namespace to watch (default: all; with --service or --pod-selector, that of the pod or \"default\")")
	set.StringVar(&c.Service, "service", "", "Service whose pods are registered in the target group of the next flags")
	set.StringVar(&c.PodSelector, "pod-selector", "", "labels of the pods to register, without a Service, as kubectl -l takes them, such as 'app=web,track notin (canary)'")
	set.StringVar(&c.Port, "port", "", "port of that Service (default: its only port) or, as it must be given, of those pods, by name or number")
	set.StringVar(&c.RegisterAt, "register-at", "", "from when on the pods of --pod-selector are registered: Ready, or Running, which leaves it to the load balancer's health checks who serves (default: Ready)")
	set.StringSliceVar(&c.TargetGroupARNs, "target-group-arn", nil, "ARN of the target group of --service or --pod-selector; of the latter there may be several")
	set.StringSliceVar(&c.TargetGroupNames, "target-group-name", nil, "name of the target group of --service or --pod-selector; of the latter there may be several")
	set.StringSliceVar(&c.TargetGroupTags, "target-group-tag", nil, "tag, as key=value, of the target groups of --service or --pod-selector: all groups that have all tags given get the pods")
	set.StringVar(&c.Takeover, "takeover", string(plan.Guarded), "targets in those target groups that nothing explains: Guarded removes them only while they are a minority, Confirmed always")
	set.BoolVar(&c.Bindings, "bindings", true, "watch TargetGroupBinding objects (default: false with --service or --pod-selector)")
	set.BoolVar(&c.Annotations, "annotations", true, "watch annotated Services, which needs --bindings (default: false with --service or --pod-selector)")
	set.StringVar(&c.MetricsAddress, "metrics-bind-address", ":8080", "address of /metrics; 0 serves none")
	set.StringVar(&c.HealthAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 serves none")
	set.BoolVar(&c.LeaderElection, "leader-elect", true, "work only while holding the Lease, so that several replicas can run")
	set.StringVar(&c.LeaseName, "leader-elect-lease", "targetgroupcontroller", "name of the Lease")
	set.StringVar(&c.LeaseNamespace, "leader-elect-namespace", "", "namespace of the Lease (default: that of the pod, or --namespace)")
	set.DurationVar(&c.LeaseDuration, "leader-elect-duration", 15*time.Second, "how long a leader that falls silent keeps the Lease")
	set.StringVar(&c.DrainImage, "drain-image", "", "image of tgc, whose program is put into pods of bindings with the drain mode Hold")
	set.StringVar(&c.DrainAddress, "drain-bind-address", ":8082", "address where pods with the drain mode Hold ask when they were deregistered; 0 serves none")
	set.StringVar(&c.DrainEndpoint, "drain-endpoint", "", "host:port by which pods reach that address, several with commas (default: that of the Service tgc-drain)")
	set.StringVar(&c.WebhookAddress, "webhook-bind-address", "0", "address of the webhook that puts gates and drain hooks into pods, such as :9443; 0 serves none")
	set.StringVar(&c.WebhookName, "webhook-name", "tgc-webhook", "name of the webhook's Service, MutatingWebhookConfiguration and Secret")
	set.StringVar(&c.WebhookNamespace, "webhook-namespace", "", "namespace of that Service and Secret (default: that of the pod, or --namespace)")
	set.StringSliceVar(&c.WebhookHosts, "webhook-host", nil, "names or addresses by which API servers call the webhook (default: that of the Service)")
	set.DurationVar(&c.SweepInterval, "sweep-interval", 5*time.Minute, "how often an unchanged target group is looked at for drift")
	set.StringVar(&c.Kubeconfig, "kubeconfig", "", "kubeconfig file (default: KUBECONFIG, the pod's ServiceAccount, ~/.kube/config)")
	set.IntVar(&c.KubeQPS, "kube-api-qps", 100, "requests per second to the Kubernetes API, twice that in a burst")
	c.Logs.addFlags(set)
	addAliases(set, map[string]string{"targetgrouparn": "target-group-arn", "http": "metrics-bind-address"})
}

// PodNamespace is the namespace the program runs in, if it knows.
type PodNamespace string

// Complete fills in what follows from other settings. given tells whether a flag
// was set by the user.
func (c *Controller) Complete(pod PodNamespace, given func(flag string) bool) {
	if c.ByFlags() {
		c.Namespace = first(c.Namespace, string(pod), "default")
		c.Bindings = c.Bindings && given("bindings")
		c.Annotations = c.Annotations && given("annotations")
	}
	c.LeaseNamespace = first(c.LeaseNamespace, string(pod), c.Namespace, "default")
	c.WebhookNamespace = first(c.WebhookNamespace, string(pod), c.Namespace, "default")
	c.DrainEndpoint = first(c.DrainEndpoint, "tgc-drain."+first(string(pod), c.Namespace, "default")+".svc:8082")
	if len(c.WebhookHosts) == 0 {
		c.WebhookHosts = []string{c.WebhookName + "." + c.WebhookNamespace + ".svc"}
	}
}

// Check tells everything that is wrong, each with the flag, its value and the remedy.
func (c *Controller) Check() error {
	_, bindings := c.FlagBindings()
	_, _, webhook := c.WebhookListen()
	return errors.Join(
		c.Logs.check(),
		unless(c.Region == "" || regionForm.MatchString(c.Region), "--region %q: want one such as eu-central-1", c.Region),
		unless(c.SweepInterval >= time.Second, "--sweep-interval %s: want 1s or more; every sweep of a group costs a call", c.SweepInterval),
		unless(c.LeaseDuration >= 3*time.Second, "--leader-elect-duration %s: want 3s or more", c.LeaseDuration),
		unless(c.KubeQPS >= 1, "--kube-api-qps %d: want 1 or more", c.KubeQPS),
		unless(isAddress(c.MetricsAddress), "--metrics-bind-address %q: want host:port, :port, or 0 for none", c.MetricsAddress),
		unless(isAddress(c.HealthAddress), "--health-probe-bind-address %q: want host:port, :port, or 0 for none", c.HealthAddress),
		unless(isAddress(c.DrainAddress), "--drain-bind-address %q: want host:port, :port, or 0 for none", c.DrainAddress),
		unless(areEndpoints(c.DrainEndpoint), "--drain-endpoint %q: want host:port, several with commas", c.DrainEndpoint),
		webhook,
		unless(serviceForm.MatchString(c.WebhookName), "--webhook-name %q: want 1 to 63 lower-case letters, digits and inner hyphens", c.WebhookName),
		unless(c.Bindings || !c.Webhook(), "--webhook-bind-address %s needs --bindings: what is put into pods is said in TargetGroupBindings", c.WebhookAddress),
		bindings,
		unless(c.Bindings || !c.Annotations, "--annotations needs --bindings: the annotations of a Service are made into a TargetGroupBinding"),
		unless(c.Bindings || c.ByFlags(), "nothing to do: give --service or --pod-selector with a target group, or --bindings"),
	)
}

// Webhook tells whether the webhook is served.
func (c *Controller) Webhook() bool { return c.WebhookAddress != "0" }

// WebhookListen is where the webhook is served.
func (c *Controller) WebhookListen() (host string, port int, err error) {
	if !c.Webhook() {
		return "", 0, nil
	}
	host, text, err := net.SplitHostPort(c.WebhookAddress)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("--webhook-bind-address %q: want host:port or :port with a number from 1 to 65535, or 0 for none", c.WebhookAddress)
	}
	return host, port, nil
}

// unless gives an error unless the condition holds.
func unless(holds bool, format string, args ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// isAddress tells whether a server can listen there, or is to listen nowhere.
func isAddress(address string) bool {
	_, _, err := net.SplitHostPort(address)
	return err == nil || address == "0"
}

// areEndpoints tells whether a client can connect to each of some endpoints.
func areEndpoints(list string) bool {
	for endpoint := range strings.SplitSeq(list, ",") {
		host, port, err := net.SplitHostPort(strings.TrimSpace(endpoint))
		if err != nil || host == "" || port == "" {
			return false
		}
	}
	return true
}

func first(values ...string) string {
	for _, value := range values {
		if strings.TrimSpace(value) != "" {
			return value
		}
	}
	return ""
}
