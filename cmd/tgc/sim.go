package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const simExample = `  # One group behind an Application Load Balancer, with real health checks on
  # loopback: the target 10.1.2.3:8080 is checked at 127.1.2.3:8080.
  tgc sim --group name=web,protocol=HTTP,port=80,loadBalancer=front --dial-map 10.0.0.0/8=127.0.0.0/8

  # Point the AWS CLI at it.
  aws --endpoint-url http://127.0.0.1:8480 elbv2 describe-target-groups

  # A whole world from a file, without throttling, every call taking 80 ms or more.
  tgc sim --seed world.yaml --no-throttling --latency 80ms --latency-spread 20ms

  # See the calls that were made, and make the next registration lose its reply.
  curl http://127.0.0.1:8480/_sim/calls
  curl -d '{"action":"RegisterTargets","kind":"lose","count":1}' http://127.0.0.1:8480/_sim/faults`

// simFlags are the flags of tgc sim that are not settings.
type simFlags struct {
	listen, admin string
	seedFile      string
	groups        []string
	dialMap       []string
	checks        string
	logLimit      int
	speed         float64
	dataPlane     bool
	seedNumber    uint64
	nodes         int
	nodeRange     string
	delays        []string
}

// simCommand is `tgc sim`.
func simCommand() *cobra.Command {
	var flags simFlags
	command := &cobra.Command{
		Use:     "sim",
		Short:   "Run an ELBv2 simulator that speaks AWS's own protocol",
		Long:    "Run an ELBv2 simulator: target groups, targets with health checks and draining, load balancers, listeners,\nquotas and throttling, over AWS's query protocol. An admin API scripts faults and tells which calls were made.\nNothing is stored; the simulator needs no credentials and reaches no network but the targets it checks.",
		Example: simExample,
		Args:    cobra.NoArgs,
	}
	flags.add(command.Flags())
	addSettingFlags(command.Flags())
	var options elbsim.Options
	command.PreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		options, err = flags.options(cmd.Flags())
		return err
	}
	command.RunE = func(cmd *cobra.Command, _ []string) error {
		return flags.run(cmd.Context(), options, cmd.OutOrStdout())
	}
	return command
}

func (f *simFlags) add(set *pflag.FlagSet) {
	set.StringVar(&f.listen, "listen", "127.0.0.1:8480", "address of the AWS API; port 0 picks a free one")
	set.StringVar(&f.admin, "admin-listen", "", "address of the admin API (default: that of the AWS API, under "+elbsim.AdminPath+")")
	set.StringVar(&f.seedFile, "seed", "", "YAML or JSON file with the groups, load balancers and settings to begin with")
	set.StringArrayVar(&f.groups, "group", nil, "group to begin with, as name=NAME[,protocol=HTTP][,port=80][,loadBalancer=NAME][,family=ipv4][,type=ip][,vpc=ID][,path=/][,interval=30s][,region=REGION][,account=ID] (repeatable)")
	set.StringSliceVar(&f.dialMap, "dial-map", nil, "where health checks and traffic find targets, as RANGE=RANGE, such as 10.0.0.0/8=127.0.0.0/8 (repeatable)")
	set.StringVar(&f.checks, "health-checks", "real", "real connects to the targets, pass finds every target healthy, none leaves them initial")
	set.Float64Var(&f.speed, "speed", 1, "how many times faster than the machine's the simulator's time runs: delays, intervals, throttling")
	set.BoolVar(&f.dataPlane, "data-plane", false, "make load balancers carry traffic: their listeners accept connections and forward to the targets")
	set.Uint64Var(&f.seedNumber, "data-plane-seed", 1, "seed of the delays of load balancer nodes")
	set.IntVar(&f.nodes, "nodes", 0, "nodes of each load balancer (default: one per zone, which is three)")
	set.StringVar(&f.nodeRange, "node-range", dataplane.DefaultOptions().Range.String(), "addresses of load balancer nodes; a range of one address gives each node a port of its own")
	set.StringArrayVar(&f.delays, "delay", nil, "how late nodes learn, as TYPE.EVENT=MIN-MAX[+SHARE%-MAX] with type alb or nlb and event register, deregister or health, such as alb.deregister=500ms-5s+5%-40s (repeatable)")
	set.IntVar(&f.logLimit, "log-limit", elbsim.DefaultLogLimit, "number of calls the log keeps")
}

// addSettingFlags adds the flags that change settings. Their defaults are told,
// but only flags that were given change what the seed file says.
func addSettingFlags(set *pflag.FlagSet) {
	d := elbsim.DefaultSettings()
	set.Duration("latency", time.Duration(d.Latency.Fixed), "time every call takes")
	set.Duration("latency-spread", time.Duration(d.Latency.Spread), "mean of the random time that comes on top, exponentially distributed")
	set.Bool("no-throttling", false, "switch throttling off")
	set.StringArray("bucket", nil, "throttling bucket, as CLASS=CAPACITY/PER-SECOND with class registration, describe, mutating or total (repeatable; AWS's if not given)")
	set.String("throttle-code", d.ThrottleCode, "error code of throttled calls: Throttling or ThrottlingException")
	set.Duration("deregistration-delay", time.Duration(d.DeregistrationDelay), "deregistration delay of groups that do not set it")
	set.Duration("alb-registration", time.Duration(d.ALBRegistration), "how long registration takes behind an Application Load Balancer")
	set.Duration("nlb-registration", time.Duration(d.NLBRegistration), "how long registration takes behind a Network Load Balancer")
	set.Duration("visibility-lag", time.Duration(d.VisibilityLag), "how far answers about target health lag behind")
	set.String("reregister", string(d.Reregister), "registering a draining target: revive puts it back to initial, refuse answers InvalidTarget")
	set.String("bad-target", string(d.BadTarget), "one bad target of a call: fail-all applies nothing, fail-alone applies the others")
	set.Int("targets-per-group", d.Quotas.TargetsPerGroup, "quota of targets in one group, 0 for none")
	set.Int("targets-per-call", d.Quotas.TargetsPerCall, "refuse calls with more targets than this, 0 for any number")
	set.StringSlice("deny", nil, "actions that are answered with AccessDenied, such as RegisterTargets (repeatable)")
	set.StringArray("credential", nil, "known access key, as KEY[=ACCOUNT]; once one is given all others are refused (repeatable)")
}

// settingSetters put one flag each into the settings.
var settingSetters = map[string]func(*elbsim.Settings, string) error{
	"latency":              func(s *elbsim.Settings, v string) error { return s.Latency.Fixed.UnmarshalText([]byte(v)) },
	"latency-spread":       func(s *elbsim.Settings, v string) error { return s.Latency.Spread.UnmarshalText([]byte(v)) },
	"throttle-code":        func(s *elbsim.Settings, v string) error { s.ThrottleCode = v; return nil },
	"deregistration-delay": func(s *elbsim.Settings, v string) error { return s.DeregistrationDelay.UnmarshalText([]byte(v)) },
	"alb-registration":     func(s *elbsim.Settings, v string) error { return s.ALBRegistration.UnmarshalText([]byte(v)) },
	"nlb-registration":     func(s *elbsim.Settings, v string) error { return s.NLBRegistration.UnmarshalText([]byte(v)) },
	"visibility-lag":       func(s *elbsim.Settings, v string) error { return s.VisibilityLag.UnmarshalText([]byte(v)) },
	"reregister":           func(s *elbsim.Settings, v string) error { s.Reregister = model.Reregister(v); return nil },
	"bad-target":           func(s *elbsim.Settings, v string) error { s.BadTarget = model.BadTarget(v); return nil },
	"targets-per-group":    func(s *elbsim.Settings, v string) error { return setInt(&s.Quotas.TargetsPerGroup, v) },
	"targets-per-call":     func(s *elbsim.Settings, v string) error { return setInt(&s.Quotas.TargetsPerCall, v) },
}

func setInt(into *int, text string) (err error) {
	*into, err = strconv.Atoi(text)
	return err
}

// options puts together what the simulator is made from: AWS's defaults, the
// seed file over them, the flags over both.
func (f *simFlags) options(set *pflag.FlagSet) (elbsim.Options, error) {
	settings := elbsim.DefaultSettings()
	var seed elbsim.Seed
	if f.seedFile != "" {
		data, err := os.ReadFile(f.seedFile)
		if err != nil {
			return elbsim.Options{}, err
		}
		if seed, settings, err = elbsim.ReadSeed(data, settings); err != nil {
			return elbsim.Options{}, fmt.Errorf("seed file %s: %w", f.seedFile, err)
		}
	}
	for _, text := range f.groups {
		group, err := parseSeedGroup(text)
		if err != nil {
			return elbsim.Options{}, err
		}
		seed.Groups = append(seed.Groups, group)
	}
	check, err := f.checkFunc()
	plane, planeErr := f.planeOptions()
	if f.speed <= 0 {
		planeErr = errors.Join(planeErr, fmt.Errorf("speed %v: want more than 0", f.speed))
	}
	options := elbsim.Options{Settings: &settings, Seed: seed, Check: check, LogLimit: f.logLimit, Speed: f.speed, DataPlane: plane}
	return options, errors.Join(err, planeErr, applySettings(set, &settings))
}

// applySettings puts the flags that were given into settings.
func applySettings(set *pflag.FlagSet, settings *elbsim.Settings) error {
	var failures []error
	set.Visit(func(flag *pflag.Flag) {
		if apply, is := settingSetters[flag.Name]; is {
			failures = append(failures, apply(settings, flag.Value.String()))
		}
	})
	deny, _ := set.GetStringSlice("deny")
	settings.Deny = append(settings.Deny, deny...)
	credentials, _ := set.GetStringArray("credential")
	for _, text := range credentials {
		key, account, _ := strings.Cut(text, "=")
		settings.Credentials = append(settings.Credentials, elbsim.Credential{AccessKey: key, Account: account})
	}
	return errors.Join(append(failures, applyBuckets(set, settings))...)
}

func applyBuckets(set *pflag.FlagSet, settings *elbsim.Settings) error {
	buckets, _ := set.GetStringArray("bucket")
	for _, text := range buckets {
		class, numbers, _ := strings.Cut(text, "=")
		capacity, rate, _ := strings.Cut(numbers, "/")
		var bucket model.Bucket
		if err := errors.Join(setInt(&bucket.Capacity, capacity), setInt(&bucket.PerSecond, rate)); err != nil {
			return fmt.Errorf("bucket %q: want CLASS=CAPACITY/PER-SECOND: %w", text, err)
		}
		if _, known := model.DefaultBuckets()[model.Class(class)]; !known {
			return fmt.Errorf("bucket %q: there is no class %q", text, class)
		}
		settings.Buckets[model.Class(class)] = bucket
	}
	if off, _ := set.GetBool("no-throttling"); off {
		settings.Buckets = nil
	}
	return nil
}

// parseSeedGroup reads name=web,protocol=HTTP,port=80.
func parseSeedGroup(text string) (elbsim.SeedGroup, error) {
	var group elbsim.SeedGroup
	for field := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(field, "=")
		set, known := seedGroupFields[name]
		if !known {
			return group, fmt.Errorf("group %q: there is no field %q", text, name)
		}
		if err := set(&group, value); err != nil {
			return group, fmt.Errorf("group %q: %s: %w", text, name, err)
		}
	}
	if group.Name == "" {
		return group, fmt.Errorf("group %q: a name is needed, as in name=web", text)
	}
	return group, nil
}

var seedGroupFields = map[string]func(*elbsim.SeedGroup, string) error{
	"name":         func(g *elbsim.SeedGroup, v string) error { g.Name = v; return nil },
	"type":         func(g *elbsim.SeedGroup, v string) error { g.Type = target.Type(v); return nil },
	"family":       func(g *elbsim.SeedGroup, v string) error { g.Family = target.Family(v); return nil },
	"protocol":     func(g *elbsim.SeedGroup, v string) error { g.Protocol = v; return nil },
	"port":         func(g *elbsim.SeedGroup, v string) error { return setInt(&g.Port, v) },
	"vpc":          func(g *elbsim.SeedGroup, v string) error { g.VPC = v; return nil },
	"loadBalancer": func(g *elbsim.SeedGroup, v string) error { g.LoadBalancer = v; return nil },
	"path":         func(g *elbsim.SeedGroup, v string) error { g.HealthCheck.Path = v; return nil },
	"interval":     func(g *elbsim.SeedGroup, v string) error { return g.HealthCheck.Interval.UnmarshalText([]byte(v)) },
	"region":       func(g *elbsim.SeedGroup, v string) error { g.Region = v; return nil },
	"account":      func(g *elbsim.SeedGroup, v string) error { g.Account = v; return nil },
}

func (f *simFlags) checkFunc() (elbsim.CheckFunc, error) {
	dial, err := elbsim.ParseDialMap(f.dialMap)
	if err != nil {
		return nil, err
	}
	switch f.checks {
	case "real":
		return elbsim.Prober{Dial: dial}.Check, nil
	case "pass":
		return elbsim.AlwaysPass, nil
	case "none":
		return nil, nil
	}
	return nil, fmt.Errorf("health checks %q: want real, pass or none", f.checks)
}

// planeOptions is nil if there is to be no data plane. Wrong flags are told all
// the same.
func (f *simFlags) planeOptions() (*dataplane.Options, error) {
	o := dataplane.DefaultOptions()
	o.Seed, o.Nodes = f.seedNumber, f.nodes
	dial, dialErr := elbsim.ParseDialMap(f.dialMap)
	o.Dial = dial.Dial
	prefix, rangeErr := netip.ParsePrefix(f.nodeRange)
	o.Range = prefix
	failures := []error{dialErr, rangeErr}
	if f.nodes < 0 || f.nodes > 255 {
		failures = append(failures, fmt.Errorf("nodes %d: want 0 to 255", f.nodes))
	}
	for _, text := range f.delays {
		failures = append(failures, setDelay(&o, text))
	}
	if err := errors.Join(failures...); err != nil || !f.dataPlane {
		return nil, err
	}
	return &o, nil
}

// setDelay reads alb.deregister=500ms-5s.
func setDelay(o *dataplane.Options, text string) (err error) {
	name, value, _ := strings.Cut(text, "=")
	spreads := map[string]*routing.Spread{
		"alb.register": &o.ALB.Register, "alb.deregister": &o.ALB.Deregister, "alb.health": &o.ALB.Health,
		"nlb.register": &o.NLB.Register, "nlb.deregister": &o.NLB.Deregister, "nlb.health": &o.NLB.Health,
	}
	into, known := spreads[name]
	if !known {
		return fmt.Errorf("delay %q: there is no %q", text, name)
	}
	*into, err = routing.ParseSpread(value)
	return err
}

// run serves until ctx ends.
func (f *simFlags) run(ctx context.Context, options elbsim.Options, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	sim, err := elbsim.New(options)
	if err != nil {
		return err
	}
	faces, err := f.faces(ctx, sim)
	if err != nil {
		return err
	}
	serving, running := sync.WaitGroup{}, sync.WaitGroup{}
	running.Go(func() { sim.Run(ctx) })
	failures := make([]error, len(faces))
	for i, face := range faces {
		serving.Go(func() {
			failures[i] = face.serve(ctx)
			stop() // one face down brings all down
		})
	}
	announceErr := announce(out, sim, faces)
	if announceErr != nil {
		stop()
	}
	running.Wait()
	serving.Wait()
	return errors.Join(append(failures, announceErr)...)
}

// face is one listening server.
type face struct {
	listener net.Listener
	handler  http.Handler
	admin    string // URL of the admin API
}

// faces listens: on one address, or on two if the admin API has its own.
func (f *simFlags) faces(ctx context.Context, sim *elbsim.Sim) ([]face, error) {
	var network net.ListenConfig
	listener, err := network.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return nil, err
	}
	main := face{listener: listener, handler: sim.Handler()}
	main.admin = main.url() + elbsim.AdminPath
	if f.admin == "" {
		return []face{main}, nil
	}
	second, err := network.Listen(ctx, "tcp", f.admin)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	admin := face{listener: second, handler: sim.AdminHandler()}
	main.handler, main.admin = sim.AWSHandler(), admin.url()
	return []face{main, admin}, nil
}

func (f face) url() string { return "http://" + f.listener.Addr().String() }

// shutdownGrace is how long calls under way may take once the simulator stops.
const shutdownGrace = 3 * time.Second

// serve answers requests until ctx ends. Calls that hang then end as well.
func (f face) serve(ctx context.Context) error {
	requests, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	server := &http.Server{
		Handler:           f.handler,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		release()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	if err := server.Serve(f.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// announce writes a line for each group and, with a data plane, for each listener,
// then the line that says that all is ready.
func announce(out io.Writer, sim *elbsim.Sim, faces []face) error {
	for _, group := range sim.Groups() {
		fmt.Fprintf(out, "group name=%s arn=%s\n", group.Name, group.ARN)
	}
	if sim.CarriesTraffic() {
		balancers, err := sim.LoadBalancers()
		if err != nil {
			return err
		}
		for _, b := range balancers {
			for _, l := range b.Listeners {
				fmt.Fprintf(out, "listener loadbalancer=%s port=%d nodes=%s\n", b.Name, l.Port, strings.Join(l.Nodes, ","))
			}
		}
	}
	fmt.Fprintf(out, "ready endpoint=%s admin=%s page=%[2]s/\n", faces[0].url(), faces[0].admin)
	return nil
}
