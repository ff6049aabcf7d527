package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/sidecar"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Sidecar is everything that can be set of `tgc sidecar`.
type Sidecar struct {
	TargetGroupARNs  []string
	TargetGroupNames []string
	Region           string
	RoleARN          string
	ExternalID       string

	// TargetIDs are the pod's addresses: one, or one of each family.
	TargetIDs []string
	Port      int

	WaitFor              []string
	WaitInService        bool
	WaitInServiceTimeout time.Duration
	StartSpread          time.Duration
	SweepInterval        time.Duration

	PreRegister    Command
	PostRegister   Command
	PostDeregister Command
	Shell          bool
	FailOn         []string

	GracePeriod    time.Duration
	ShutdownPeriod time.Duration
	Hold           time.Duration

	BindAddress string
	DrainToken  string
	StateDir    string
	HookDir     string
	Logs
}

// Command is a command that is run at a moment in the life of a target.
type Command struct {
	// Line is as the user wrote it; empty for none.
	Line    string
	Timeout time.Duration
}

// What the sidecar may be told to fail on.
const (
	FailPreRegister    = "pre-register"
	FailInService      = "in-service"
	FailPostRegister   = "post-register"
	FailPostDeregister = "post-deregister"
)

var failures = []string{FailPreRegister, FailInService, FailPostRegister, FailPostDeregister}

// AddFlags makes a flag of each field, with its default.
func (s *Sidecar) AddFlags(set *pflag.FlagSet) {
	set.StringSliceVar(&s.TargetGroupARNs, "target-group-arn", nil, "ARN of a target group to register in (repeatable)")
	set.StringSliceVar(&s.TargetGroupNames, "target-group-name", nil, "name of a target group to register in (repeatable)")
	set.StringVar(&s.Region, "region", "", "AWS region of target groups that are named by name (default: AWS_REGION, the shared configuration, the instance's)")
	set.StringVar(&s.RoleARN, "assume-role-arn", "", "role to assume for all calls to AWS (default: the pod's own)")
	set.StringVar(&s.ExternalID, "assume-role-external-id", "", "external id that the trust policy of that role asks for")
	set.StringSliceVar(&s.TargetIDs, "target-id", nil, "address to register, or one of each family (default: POD_IP or POD_IPS, else the only address of the network interfaces)")
	set.IntVar(&s.Port, "port", 0, "port to register (default: that of the target group)")
	set.StringSliceVar(&s.WaitFor, "wait-for", nil, "register only once this answers: tcp://HOST:PORT accepts connections, http://HOST:PORT/PATH says 200 to 399 (repeatable)")
	set.BoolVar(&s.WaitInService, "wait-in-service", true, "wait until the load balancers find the target healthy, before /in-service says so and the post-register command is run")
	set.DurationVar(&s.WaitInServiceTimeout, "wait-in-service-timeout", 5*time.Minute, "after how long to report that it is not; it is waited for all the same")
	set.DurationVar(&s.StartSpread, "start-spread", 0, "wait a random time of up to this before the first call, so that many pods that start at once do not all call AWS at once")
	set.DurationVar(&s.SweepInterval, "sweep-interval", 5*time.Minute, "how often to look whether the target is still registered; more seldom in a large target group")
	s.PreRegister.addFlags(set, FailPreRegister, "before the target is registered")
	s.PostRegister.addFlags(set, FailPostRegister, "after the target is registered, and in service with --wait-in-service")
	s.PostDeregister.addFlags(set, FailPostDeregister, "after the target is deregistered and drained")
	set.BoolVar(&s.Shell, "shell", false, "run commands by /bin/sh -c; without, a command is split at blanks, or written as a JSON array of strings")
	set.StringSliceVar(&s.FailOn, "fail-on", nil, "deregister and exit with code 1 if this fails: "+strings.Join(failures, ", ")+" (repeatable; default: failures are reported only)")
	set.DurationVar(&s.GracePeriod, "grace-period", 30*time.Second, "the pod's terminationGracePeriodSeconds, from which follows how long a drain may take")
	set.DurationVar(&s.ShutdownPeriod, "shutdown-period", 5*time.Second, "how much of the grace period the other containers need to stop, after the drain")
	set.DurationVar(&s.Hold, "hold", 0, "how long to go on serving after the deregistration (default: by the type of the target group and its deregistration delay)")
	set.StringVar(&s.BindAddress, "bind-address", ":9480", "address of /healthz, /in-service, /drain and /metrics; 0 serves none")
	set.StringVar(&s.DrainToken, "drain-token", "", "token that callers of /drain must send, as \"Authorization: Bearer TOKEN\" (default: anybody who reaches the address may call)")
	set.StringVar(&s.StateDir, "state-dir", "", "directory, on an emptyDir volume, that keeps a drain from being forgotten when the container is restarted")
	set.StringVar(&s.HookDir, "hook-dir", "", "directory, on an emptyDir volume that the other containers mount too, to put the program of their preStop hook into: DIR/tgc wait")
	s.Logs.addFlags(set)
	addAliases(set, map[string]string{
		"pre-register-command-timeout":    "pre-register-timeout",
		"post-deregister-command-timeout": "post-deregister-timeout",
	})
}

func (c *Command) addFlags(set *pflag.FlagSet, name, when string) {
	set.StringVar(&c.Line, name+"-command", "", "command to run "+when)
	set.DurationVar(&c.Timeout, name+"-timeout", 5*time.Second, "how long that command may take")
}

// Complete fills in the addresses of the pod if none is given: those of the
// environment, else those that the network interfaces leave no choice about.
func (s *Sidecar) Complete(lookup func(string) (string, bool), interfaces []netip.Addr) error {
	for _, name := range []string{"POD_IP", "POD_IPS"} {
		if value, found := lookup(name); found && len(s.TargetIDs) == 0 && value != "" {
			s.TargetIDs = strings.Split(value, ",")
		}
	}
	if len(s.TargetIDs) > 0 {
		return nil
	}
	usable := slices.DeleteFunc(slices.Clone(interfaces), func(a netip.Addr) bool { return !a.IsGlobalUnicast() })
	for _, addr := range usable {
		s.TargetIDs = append(s.TargetIDs, addr.Unmap().String())
	}
	if _, err := s.addresses(); err != nil {
		return fmt.Errorf("--target-id is not given, nor POD_IP, and the network interfaces have %s: give the address to register (env POD_IP from the field status.podIP)", listOr(s.TargetIDs, "no address of use"))
	}
	return nil
}

func listOr(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}

// Check tells everything that is wrong, each with the flag, its value and the remedy.
func (s *Sidecar) Check() error {
	_, groups := s.Groups()
	_, addresses := s.addresses()
	return errors.Join(
		groups, addresses, s.checkWaits(), s.checkCommands(), s.checkTimes(), s.Logs.check(),
		unless(s.Region == "" || regionForm.MatchString(s.Region), "--region %q: want one such as eu-central-1", s.Region),
		unless(s.ExternalID == "" || s.RoleARN != "", "--assume-role-external-id %q needs --assume-role-arn, the role whose trust policy asks for it", s.ExternalID),
		unless(s.Port >= 0 && s.Port <= 65535, "--port %d: want 1 to 65535, or 0 for that of the target group", s.Port),
		unless(isAddress(s.BindAddress), "--bind-address %q: want host:port, :port, or 0 for none", s.BindAddress),
		unless(s.HookDir == "" || s.BindAddress != "0", "--hook-dir %q needs --bind-address, where the hook asks", s.HookDir),
	)
}

func (s *Sidecar) checkTimes() error {
	return errors.Join(
		unless(s.WaitInServiceTimeout > 0, "--wait-in-service-timeout %s: want more than 0; --wait-in-service=false does not wait", s.WaitInServiceTimeout),
		unless(s.StartSpread >= 0, "--start-spread %s: want 0 or more", s.StartSpread),
		unless(s.SweepInterval >= time.Second, "--sweep-interval %s: want 1s or more; every sweep costs a call", s.SweepInterval),
		unless(s.GracePeriod > 0, "--grace-period %s: want the pod's terminationGracePeriodSeconds, more than 0", s.GracePeriod),
		unless(s.ShutdownPeriod >= 0 && s.ShutdownPeriod < s.GracePeriod, "--shutdown-period %s: want 0 or more, and less than --grace-period %s", s.ShutdownPeriod, s.GracePeriod),
		unless(s.Hold >= 0, "--hold %s: want more than 0, or 0 for that of the target group", s.Hold),
	)
}

func (s *Sidecar) checkWaits() error {
	var all []error
	for _, door := range s.WaitFor {
		parsed, err := url.Parse(door)
		fits := err == nil && slices.Contains([]string{"tcp", "http", "https"}, parsed.Scheme) && parsed.Hostname() != ""
		if fits && parsed.Scheme == "tcp" {
			fits = parsed.Port() != "" && parsed.Path == ""
		}
		all = append(all, unless(fits, "--wait-for %q: want tcp://HOST:PORT or http://HOST:PORT/PATH", door))
	}
	return errors.Join(all...)
}

func (s *Sidecar) checkCommands() error {
	var all []error
	for _, named := range []struct {
		name    string
		command Command
	}{{FailPreRegister, s.PreRegister}, {FailPostRegister, s.PostRegister}, {FailPostDeregister, s.PostDeregister}} {
		if _, err := s.argv(named.command); err != nil {
			all = append(all, fmt.Errorf("--%s-command %q: %w", named.name, named.command.Line, err))
		}
		all = append(all, unless(named.command.Timeout > 0, "--%s-timeout %s: want more than 0", named.name, named.command.Timeout))
	}
	for _, event := range s.FailOn {
		all = append(all, unless(slices.Contains(failures, event), "--fail-on %q: want one of %s", event, strings.Join(failures, ", ")))
	}
	return errors.Join(all...)
}

// Groups are the target groups, in the order given.
func (s *Sidecar) Groups() ([]target.Ref, error) {
	fields := kube.RefFields{ARN: "--target-group-arn", Name: "--target-group-name"}
	var refs []target.Ref
	var all []error
	add := func(arn, name string) {
		ref, err := fields.Ref(arn, name)
		switch {
		case err != nil:
			all = append(all, err)
		case !slices.Contains(refs, ref):
			refs = append(refs, ref)
		}
	}
	for _, arn := range s.TargetGroupARNs {
		add(arn, "")
	}
	for _, name := range s.TargetGroupNames {
		add("", name)
	}
	if len(s.TargetGroupARNs)+len(s.TargetGroupNames) == 0 {
		add("", "")
	}
	return refs, errors.Join(all...)
}

// addresses are the pod's: one, or one of each family.
func (s *Sidecar) addresses() ([]netip.Addr, error) {
	var addrs []netip.Addr
	families := map[target.Family]bool{}
	for _, id := range s.TargetIDs {
		addr, err := netip.ParseAddr(strings.TrimSpace(id))
		if err != nil || !addr.IsGlobalUnicast() || addr.Zone() != "" {
			return nil, fmt.Errorf("--target-id %q: want the pod's address, such as 10.1.2.3", id)
		}
		addr = addr.Unmap()
		if family := target.FamilyOf(addr); families[family] {
			return nil, fmt.Errorf("--target-id %s: want one address, or one of each family", strings.Join(s.TargetIDs, ","))
		}
		families[target.FamilyOf(addr)] = true
		addrs = append(addrs, addr)
	}
	if len(addrs) == 0 {
		return nil, errors.New("--target-id: want the pod's address, such as 10.1.2.3")
	}
	return addrs, nil
}

// argv is a command as a program and its arguments; empty for no command.
func (s *Sidecar) argv(c Command) ([]string, error) {
	line := strings.TrimSpace(c.Line)
	switch {
	case line == "":
		return nil, nil
	case s.Shell:
		return []string{"/bin/sh", "-c", line}, nil
	case strings.HasPrefix(line, "["):
		var argv []string
		if err := json.Unmarshal([]byte(line), &argv); err != nil || len(argv) == 0 || argv[0] == "" {
			return nil, errors.New(`want a JSON array of strings, such as ["/bin/notify", "--up"]`)
		}
		return argv, nil
	case strings.ContainsAny(line, "\"'\\$`|&;<>()*?~#\n"):
		return nil, errors.New("it has characters that only a shell understands: add --shell, or write it as a JSON array of strings")
	}
	return strings.Fields(line), nil
}

// Settings are what the sidecar is told. These settings were completed and checked.
func (s *Sidecar) Settings() (sidecar.Settings, error) {
	groups, err := s.Groups()
	if err != nil {
		return sidecar.Settings{}, err
	}
	addrs, err := s.addresses()
	if err != nil {
		return sidecar.Settings{}, err
	}
	settings := sidecar.Settings{
		Groups: groups, Region: s.Region, Role: s.RoleARN, ExternalID: s.ExternalID, Addrs: addrs, Port: uint16(s.Port),
		WaitInService: s.WaitInService, InServiceTimeout: s.WaitInServiceTimeout, InServiceFatal: slices.Contains(s.FailOn, FailInService),
		StartSpread: s.StartSpread, Sweep: s.SweepInterval, Grace: s.GracePeriod, Shutdown: s.ShutdownPeriod,
		DrainToken: s.DrainToken, StateDir: s.StateDir,
	}
	if s.BindAddress != "0" {
		settings.Bind = s.BindAddress
	}
	if s.Hold > 0 {
		settings.Hold = &s.Hold
	}
	for _, place := range s.WaitFor {
		parsed, err := url.Parse(place)
		if err != nil {
			return sidecar.Settings{}, err
		}
		settings.WaitFor = append(settings.WaitFor, parsed)
	}
	for name, command := range map[string]struct {
		from Command
		to   *sidecar.Command
	}{
		FailPreRegister:    {s.PreRegister, &settings.PreRegister},
		FailPostRegister:   {s.PostRegister, &settings.PostRegister},
		FailPostDeregister: {s.PostDeregister, &settings.PostDeregister},
	} {
		argv, err := s.argv(command.from)
		if err != nil {
			return sidecar.Settings{}, err
		}
		*command.to = sidecar.Command{Name: name, Argv: argv, Timeout: command.from.Timeout, Fatal: slices.Contains(s.FailOn, name)}
	}
	return settings, nil
}

// InterfaceAddrs are the addresses of the machine's network interfaces.
func InterfaceAddrs() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the network interfaces: %w", err)
	}
	var addrs []netip.Addr
	for _, addr := range found {
		if prefix, err := netip.ParsePrefix(addr.String()); err == nil {
			addrs = append(addrs, prefix.Addr())
		}
	}
	return addrs, nil
}
