package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// simFlags are the flags of tgc sim that are not settings.
type simFlags struct {
	listen, admin string
	seedFile      string
	policyFile    string
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

func (f *simFlags) add(set *pflag.FlagSet) {
	set.StringVar(&f.listen, "listen", "127.0.0.1:8480", "address of the AWS API; port 0 picks a free one")
	set.StringVar(&f.admin, "admin-listen", "", "address of the admin API (default: that of the AWS API, under "+elbsim.AdminPath+")")
	set.StringVar(&f.seedFile, "seed", "", "YAML or JSON file with the groups, load balancers and settings to begin with")
	set.StringVar(&f.policyFile, "iam-policy", "", "JSON file with an IAM policy that all calls must comply with; what it does not allow is answered with AccessDenied")
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
			return elbsim.Options{}, fmt.Errorf("--seed %s: %w", f.seedFile, err)
		}
		if seed, settings, err = elbsim.ReadSeed(data, settings); err != nil {
			return elbsim.Options{}, fmt.Errorf("--seed %s: %w", f.seedFile, err)
		}
	}
	for _, text := range f.groups {
		group, err := parseSeedGroup(text)
		if err != nil {
			return elbsim.Options{}, err
		}
		seed.Groups = append(seed.Groups, group)
	}
	dial, dialErr := elbsim.ParseDialMap(f.dialMap)
	if dialErr != nil {
		dialErr = fmt.Errorf("--dial-map: %w", dialErr)
	}
	check, checkErr := f.checkFunc(dial)
	plane, planeErr := f.planeOptions(dial)
	options := elbsim.Options{Settings: &settings, Seed: seed, Check: check, LogLimit: f.logLimit, Speed: f.speed, DataPlane: plane}
	return options, errors.Join(dialErr, checkErr, planeErr, f.checkNumbers(), f.readPolicy(&settings), applySettings(set, &settings))
}

// readPolicy puts the policy of the file into settings, unless it is wrong.
func (f *simFlags) readPolicy(settings *elbsim.Settings) error {
	if f.policyFile == "" {
		return nil
	}
	document, err := os.ReadFile(f.policyFile)
	if err != nil {
		return fmt.Errorf("--iam-policy %s: %w", f.policyFile, err)
	}
	with := *settings
	with.IAMPolicy = document
	if err := with.Validate(); err != nil {
		return fmt.Errorf("--iam-policy %s: %w", f.policyFile, err)
	}
	*settings = with
	return nil
}

// checkNumbers names numbers that make no sense.
func (f *simFlags) checkNumbers() error {
	var failures []error
	if !(f.speed > 0) || math.IsInf(f.speed, 0) {
		failures = append(failures, fmt.Errorf("--speed %v: want more than 0", f.speed))
	}
	if f.logLimit < 1 {
		failures = append(failures, fmt.Errorf("--log-limit %d: want at least 1", f.logLimit))
	}
	if f.nodes < 0 || f.nodes > 255 {
		failures = append(failures, fmt.Errorf("--nodes %d: want 0 to 255", f.nodes))
	}
	return errors.Join(failures...)
}

// applySettings puts the flags that were given into settings.
func applySettings(set *pflag.FlagSet, settings *elbsim.Settings) error {
	var failures []error
	set.Visit(func(flag *pflag.Flag) {
		if apply, is := settingSetters[flag.Name]; is {
			err := apply(settings, flag.Value.String())
			if err == nil {
				err = settings.Validate()
			}
			if err != nil {
				failures = append(failures, fmt.Errorf("--%s: %w", flag.Name, err))
			}
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
			return fmt.Errorf("--bucket %q: want CLASS=CAPACITY/PER-SECOND: %w", text, err)
		}
		if _, known := model.DefaultBuckets()[model.Class(class)]; !known {
			return fmt.Errorf("--bucket %q: there is no class %q: want registration, describe, mutating or total", text, class)
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
			return group, fmt.Errorf("--group %q: there is no field %q: want one of %s", text, name, strings.Join(slices.Sorted(maps.Keys(seedGroupFields)), ", "))
		}
		if err := set(&group, value); err != nil {
			return group, fmt.Errorf("--group %q: %s: %w", text, name, err)
		}
	}
	if group.Name == "" {
		return group, fmt.Errorf("--group %q: a name is needed, as in name=web", text)
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

func (f *simFlags) checkFunc(dial elbsim.DialMap) (elbsim.CheckFunc, error) {
	switch f.checks {
	case "real":
		return elbsim.Prober{Dial: dial.Dial}.Check, nil
	case "pass":
		return elbsim.AlwaysPass, nil
	case "none":
		return nil, nil
	}
	return nil, fmt.Errorf("--health-checks %q: want real, pass or none", f.checks)
}

// planeOptions is nil if there is to be no data plane. Wrong flags are told all
// the same.
func (f *simFlags) planeOptions(dial elbsim.DialMap) (*dataplane.Options, error) {
	o := dataplane.DefaultOptions()
	o.Seed, o.Nodes = f.seedNumber, f.nodes
	o.Dial = dial.Dial
	var failures []error
	prefix, err := netip.ParsePrefix(f.nodeRange)
	if err != nil {
		failures = append(failures, fmt.Errorf("--node-range %q: want a range such as 127.127.0.0/16: %w", f.nodeRange, err))
	}
	o.Range = prefix
	for _, text := range f.delays {
		if err := elbsim.SetDelay(&o, text); err != nil {
			failures = append(failures, fmt.Errorf("--delay: %w", err))
		}
	}
	if err := errors.Join(failures...); err != nil || !f.dataPlane {
		return nil, err
	}
	return &o, nil
}
