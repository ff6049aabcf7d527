package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission/certs"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission/webhook"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/config"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller/annotation"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller/binding"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller/departure"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller/gate"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller/group"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller/injection"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller/podinjection"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller/preflight"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller/status"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain/desk"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/awselb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
)

const controllerExample = `  # All TargetGroupBinding objects and annotated Services of the cluster.
  tgc controller --region eu-central-1

  # One Service and one target group; needs no CRD and only a namespaced Role.
  tgc controller --namespace shop --service web --port http \
    --target-group-arn arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef

  # The pods with some labels, without a Service, in two target groups.
  tgc controller --namespace shop --pod-selector 'app=web,track!=canary' --port 8080 \
    --target-group-name web-internal --target-group-name web-public

  # Against the simulator (tgc sim).
  AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=http://127.0.0.1:8480 \
  AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any tgc controller --region us-east-1`

// controllerCommand is `tgc controller`.
func controllerCommand() *cobra.Command {
	var settings config.Controller
	command := &cobra.Command{
		Use:     "controller",
		Short:   "Keep target groups in step with the pods of a cluster",
		Example: controllerExample,
		Args:    cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			settings.Complete(podNamespace(), cmd.Flags().Changed)
			return config.NameEnv(cmd.Flags(), settings.Check())
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			setUpLogs(settings)
			return runController(cmd.Context(), settings)
		},
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return config.Explain(err) })
	settings.AddFlags(command.Flags())
	return command
}

// setUpLogs makes all parts of the program, client-go's too, log in one form.
func setUpLogs(settings config.Controller) {
	logger := logr.FromSlogHandler(calm{logHandler(settings.Logs)})
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
}

// logHandler writes the log to standard error.
func logHandler(settings config.Logs) slog.Handler {
	level, _ := settings.Level() // checked before
	options := &slog.HandlerOptions{Level: level}
	if settings.LogFormat == "text" {
		return slog.NewTextHandler(os.Stderr, options)
	}
	return slog.NewJSONHandler(os.Stderr, options)
}

// runController wires the controllers together and runs them until ctx ends.
func runController(ctx context.Context, settings config.Controller) error {
	kubeConfig, err := loadKubeConfig(settings)
	if err != nil {
		return err
	}
	if err := preflight.Check(ctx, kubeConfig, settings); err != nil {
		return err
	}
	mgr, err := newManager(kubeConfig, settings)
	if err != nil {
		return err
	}
	if err := kube.AddIndexes(ctx, mgr.GetFieldIndexer(), settings.Scope()); err != nil {
		return err
	}
	if err := addControllers(ctx, mgr, settings); err != nil {
		return err
	}
	ctrl.Log.Info("Starting", "version", version, "revision", revision, "namespace", settings.Namespace)
	if err := mgr.Start(ctx); err != nil {
		return explainEnd(err, settings)
	}
	return nil
}

// explainEnd words the one end of the manager that is no mistake.
func explainEnd(err error, settings config.Controller) error {
	if err.Error() != leaseLost {
		return err
	}
	return fmt.Errorf("the Lease %s/%s could not be renewed in time, or another replica took it: ending, so as not to work beside a new leader",
		settings.LeaseNamespace, settings.LeaseName)
}

func newManager(kubeConfig *rest.Config, settings config.Controller) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1beta1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	renew, retry := settings.LeaseDuration*2/3, settings.LeaseDuration/7
	options := manager.Options{
		Scheme:                        scheme,
		Cache:                         kube.CacheOptions(settings.Scope()),
		Metrics:                       metricsserver.Options{BindAddress: settings.MetricsAddress},
		HealthProbeBindAddress:        settings.HealthAddress,
		LeaderElection:                settings.LeaderElection,
		LeaderElectionID:              settings.LeaseName,
		LeaderElectionNamespace:       settings.LeaseNamespace,
		LeaderElectionReleaseOnCancel: true,
		// A config of its own, so that a busy client never costs the Lease.
		LeaderElectionConfig: rest.CopyConfig(kubeConfig),
		LeaseDuration:        &settings.LeaseDuration,
		RenewDeadline:        &renew,
		RetryPeriod:          &retry,
	}
	var keeper *certs.Keeper
	if settings.Webhook() {
		var err error
		if keeper, options.WebhookServer, err = newWebhook(kubeConfig, settings); err != nil {
			return nil, err
		}
	}
	mgr, err := ctrl.NewManager(kubeConfig, options)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to Kubernetes: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	if keeper != nil {
		return mgr, addWebhook(mgr, keeper)
	}
	return mgr, mgr.AddReadyzCheck("ping", healthz.Ping)
}

// newWebhook makes the server of the webhook, and what keeps its certificates.
func newWebhook(kubeConfig *rest.Config, settings config.Controller) (*certs.Keeper, ctrlwebhook.Server, error) {
	host, port, err := settings.WebhookListen()
	if err != nil {
		return nil, nil, err
	}
	client, err := kubernetes.NewForConfig(kubeConfig)
	if err != nil {
		return nil, nil, err
	}
	keeper := &certs.Keeper{
		Client: client, Namespace: settings.WebhookNamespace, Name: settings.WebhookName, Hosts: settings.WebhookHosts,
	}
	server := ctrlwebhook.NewServer(ctrlwebhook.Options{Host: host, Port: port, TLSOpts: []func(*tls.Config){
		func(c *tls.Config) { c.GetCertificate = keeper.GetCertificate },
	}})
	return keeper, server, nil
}

// addWebhook makes every replica serve the webhook, the leader or not, once it has
// a certificate.
func addWebhook(mgr manager.Manager, keeper *certs.Keeper) error {
	mgr.GetWebhookServer().Register(webhook.Path, &ctrlwebhook.Admission{Handler: &webhook.Pods{Reader: mgr.GetCache()}})
	if err := mgr.AddReadyzCheck("webhook", keeper.Ready); err != nil {
		return err
	}
	return mgr.Add(keeper)
}

func loadKubeConfig(settings config.Controller) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = settings.Kubeconfig
	kubeConfig, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, errors.New("no access to a Kubernetes API: give --kubeconfig, set KUBECONFIG to a file that exists, or run in a pod with a ServiceAccount")
	case err != nil:
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	kubeConfig.QPS, kubeConfig.Burst = float32(settings.KubeQPS), 2*settings.KubeQPS
	kubeConfig.UserAgent = "tgc/" + version
	return kubeConfig, nil
}

// addControllers wires the controllers: each is told what it needs, and wakes the
// next through a function or a queue.
func addControllers(ctx context.Context, mgr manager.Manager, settings config.Controller) error {
	flagBindings, err := settings.FlagBindings()
	if err != nil {
		return err
	}
	region, err := defaultRegion(ctx, settings)
	if err != nil {
		return err
	}
	meter := metrics.New(ctrlmetrics.Registry)
	registry, board := controller.NewRegistry(), controller.NewBoard()
	events, err := addRecorder(mgr)
	if err != nil {
		return err
	}
	answers := controller.NewAnswers()
	gates := &gate.Reconciler{
		Client: mgr.GetClient(), Registry: registry, Answers: answers, Board: board, Events: events, Metrics: meter,
		Flags: flagBindings, Objects: settings.Bindings,
	}
	groups := &group.Reconciler{
		Cluster: kube.NewCluster(mgr.GetCache()), Registry: registry, Board: board, Answers: answers,
		Metrics: meter, Events: events, Sweep: settings.SweepInterval, WakeGates: gates.WakeFor,
		Services: settings.Scope().Pods == nil,
	}
	bindings := &binding.Reconciler{
		Client: mgr.GetClient(), Accounts: newAccounts(meter, pace.Documented()), Registry: registry, Board: board, Events: events,
		Region: region, Flags: flagBindings, Objects: settings.Bindings, Fresh: settings.SweepInterval,
		WakeGroup: groups.Wake.Add, WakeGates: gates.WakeFor,
	}
	groups.Undecided, groups.Lost, groups.Freed = bindings.Undecided, bindings.Lost, bindings.Freed
	injections := &injection.Reconciler{
		Client: mgr.GetClient(), Cluster: groups.Cluster, Registry: registry, Board: board, Events: events,
		Image: settings.DrainImage, Endpoint: settings.DrainEndpoint,
	}
	bindings.Filed = injections.Wake.Add
	departures := &departure.Reconciler{
		Client: mgr.GetClient(), Cluster: groups.Cluster, Registry: registry, Board: board, Events: events, Metrics: meter,
		Standing: groups.Standing, Groupless: bindings.Groupless,
	}
	groups.Leaving = departures.Wake
	controllers := []interface{ SetupWithManager(ctrl.Manager) error }{groups, bindings, gates}
	if settings.Bindings {
		controllers = append(controllers, &status.Reconciler{Client: mgr.GetClient(), Board: board},
			injections, &podinjection.Reconciler{Client: mgr.GetClient()}, departures)
		if settings.DrainAddress != "0" {
			controllers = append(controllers, &desk.Desk{
				Address: settings.DrainAddress, Pods: mgr.GetClient(), Live: mgr.GetAPIReader(),
			})
		}
	}
	if settings.Annotations {
		controllers = append(controllers, &annotation.Reconciler{Client: mgr.GetClient(), Events: events})
	}
	for _, c := range controllers {
		if err := c.SetupWithManager(mgr); err != nil {
			return err
		}
	}
	return nil
}

// addRecorder makes what writes events, under the name of this replica.
func addRecorder(mgr manager.Manager) (*kube.Recorder, error) {
	client, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return nil, err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	events := kube.NewRecorder(mgr.GetScheme(), mgr.GetCache(), client.EventsV1(), hostname)
	return events, mgr.Add(events)
}

// defaultRegion is the region of groups that are named by name. Doing without is
// wrong only where such a group is certain to come up.
func defaultRegion(ctx context.Context, settings config.Controller) (string, error) {
	if settings.Region != "" {
		return settings.Region, nil
	}
	region, err := awselb.Region(ctx)
	if err != nil && len(settings.TargetGroupNames)+len(settings.TargetGroupTags) > 0 {
		return "", err
	}
	return region, nil
}

// newAccounts opens accounts through the AWS SDK, metered and within limits.
func newAccounts(meter *metrics.Metrics, limits pace.Limits) *elb.Accounts {
	open := func(ctx context.Context, login elb.Login) (elb.Client, error) {
		client, err := awselb.New(ctx, awselb.Options{
			Region: login.Region, RoleARN: login.Role, ExternalID: login.ExternalID, Version: version,
		})
		if err != nil {
			return nil, err
		}
		return meter.Client(client), nil
	}
	budget := func(_, _ string) *pace.Budget { return pace.New(limits, meter.Waited) }
	return elb.NewAccounts(open, budget)
}

// podNamespace is the namespace of the pod that the program runs in; empty elsewhere.
func podNamespace() config.PodNamespace {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return config.PodNamespace(namespace)
	}
	mounted, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return ""
	}
	return config.PodNamespace(strings.TrimSpace(string(mounted)))
}

// leaseLost is the error by which controller-runtime says that it has the Lease no
// more, whether it lost it or gave it up.
const leaseLost = "leader election lost"

// calm is a handler that leaves out what the libraries log as errors at every
// orderly stop: that the Lease was given up, as it was told to be, and which
// requests were cut off by the end.
type calm struct{ slog.Handler }

// Handle is slog.Handler's.
func (c calm) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= slog.LevelError && (says(record, leaseLost) || says(record, context.Canceled.Error())) {
		return nil
	}
	return c.Handler.Handle(ctx, record)
}

// WithAttrs is slog.Handler's.
func (c calm) WithAttrs(attrs []slog.Attr) slog.Handler { return calm{c.Handler.WithAttrs(attrs)} }

// WithGroup is slog.Handler's.
func (c calm) WithGroup(name string) slog.Handler { return calm{c.Handler.WithGroup(name)} }

// says tells whether an attribute of the record ends with this text, as errors do
// with their cause.
func says(record slog.Record, text string) bool {
	found := false
	record.Attrs(func(attr slog.Attr) bool {
		found = strings.HasSuffix(attr.Value.String(), text)
		return !found
	})
	return found
}
