package model

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// GroupSpec is what CreateTargetGroup is given. Zero fields take AWS's defaults.
type GroupSpec struct {
	Name            string
	Type            target.Type   // default instance, as AWS
	Family          target.Family // default ipv4
	Protocol        string
	ProtocolVersion string // HTTP1, HTTP2, GRPC; HTTP and HTTPS groups only
	Port            int
	VPCID           string
	Check           CheckSettings
	Tags            map[string]string
}

// GroupView is a target group as DescribeTargetGroups tells it.
type GroupView struct {
	target.Group
	ProtocolVersion string
	Check           CheckSettings
}

// GroupFilter selects target groups: all, or those of ARNs, of Names, or of one
// load balancer. At most one of the three may be set.
type GroupFilter struct {
	ARNs     []string
	Names    []string
	Balancer string // ARN
	Page     Page
}

// group is one target group.
type group struct {
	target.Group
	arn             string
	protocolVersion string
	Check           CheckSettings
	created         GroupSpec // to tell an idempotent repetition
	attributes      map[string]string
	tags            map[string]string
	targets         map[target.Key]*record
	users           []string // ARNs of the load balancers whose listeners forward here, sorted
}

var (
	resourceName  = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?$`)
	protocolsOf   = map[BalancerType][]string{Application: {"HTTP", "HTTPS"}, Network: {"TCP", "TLS", "UDP", "TCP_UDP", "QUIC", "TCP_QUIC"}}
	gatewayOnly   = "GENEVE"
	knownTypes    = []target.Type{target.TypeInstance, target.TypeIP, target.TypeLambda, target.TypeALB}
	knownFamilies = []target.Family{target.IPv4, target.IPv6}
)

// balancerType is the type of load balancer that the group's protocol is for.
func (g *group) balancerType() BalancerType { return balancerTypeOf(g.Protocol) }

func balancerTypeOf(protocol string) BalancerType {
	if slices.Contains(protocolsOf[Application], protocol) {
		return Application
	}
	return Network
}

// registered counts the targets that are registered; draining ones are not.
func (g *group) registered() int {
	n := 0
	for _, r := range g.targets {
		if r.registered() {
			n++
		}
	}
	return n
}

// records lists the targets in the order of their keys.
func (g *group) records() []*record {
	return slices.SortedFunc(maps.Values(g.targets), func(a, b *record) int {
		return a.target.Key.Compare(b.target.Key)
	})
}

func (g *group) view() GroupView {
	view := GroupView{Group: g.Group, ProtocolVersion: g.protocolVersion, Check: g.Check}
	view.Group.Check = target.HealthCheck{
		Interval: g.Check.Interval, Timeout: g.Check.Timeout, UnhealthyThreshold: g.Check.UnhealthyThreshold,
	}
	view.LoadBalancers = slices.Clone(g.users)
	return view
}

// group finds a group by ARN, or says in AWS's words that there is none.
func (w *World) group(arn string) (*group, error) {
	if g, known := w.groups[arn]; known {
		return g, nil
	}
	if _, err := target.ParseARN(arn); err != nil {
		return nil, invalid("'%s' is not a valid target group ARN", arn)
	}
	return nil, refuse("TargetGroupNotFound", "Target groups '%s' not found", arn)
}

// CreateTargetGroup makes a group. Repeated with the same settings it answers with
// the group that exists. Fails with DuplicateTargetGroupName, TooManyTargetGroups
// or ValidationError.
func (w *World) CreateTargetGroup(now time.Time, spec GroupSpec) (GroupView, error) {
	w.advance(now)
	spec = spec.withDefaults()
	if err := spec.validate(); err != nil {
		return GroupView{}, err
	}
	if existing, taken := w.groupNames[spec.Name]; taken {
		if existing.created.same(spec) {
			return existing.view(), nil
		}
		return GroupView{}, refuse("DuplicateTargetGroupName", "A target group with the same name '%s' exists, but with different settings", spec.Name)
	}
	if limit := w.config.Quotas.Groups; limit > 0 && len(w.groupList) >= limit {
		return GroupView{}, refuse("TooManyTargetGroups", "The maximum number of target groups '%d' has been reached", limit)
	}
	return w.addGroup(spec).view(), nil
}

func (w *World) addGroup(spec GroupSpec) *group {
	id := w.newID("targetgroup", spec.Name)
	g := &group{
		Group: target.Group{
			ARN:  target.ARN{Partition: w.config.Partition, Region: w.config.Region, Account: w.config.Account, Name: spec.Name, ID: id},
			Type: spec.Type, Family: spec.Family, Protocol: spec.Protocol, Port: uint16(spec.Port), VPCID: spec.VPCID,
		},
		protocolVersion: spec.ProtocolVersion,
		Check:           spec.Check,
		created:         spec,
		tags:            maps.Clone(spec.Tags),
		targets:         map[target.Key]*record{},
	}
	if g.tags == nil {
		g.tags = map[string]string{}
	}
	g.arn = g.ARN.String()
	g.attributes = defaultAttributes(g, w.config.DeregistrationDelay)
	w.groups[g.arn], w.groupNames[spec.Name] = g, g
	w.groupList = append(w.groupList, g)
	return g
}

func (s GroupSpec) withDefaults() GroupSpec {
	if s.Type == "" {
		s.Type = target.TypeInstance
	}
	if s.Family == "" {
		s.Family = target.IPv4
	}
	if s.ProtocolVersion == "" && balancerTypeOf(s.Protocol) == Application {
		s.ProtocolVersion = "HTTP1"
	}
	s.Check = s.Check.withDefaults(s.Protocol)
	return s
}

func (s GroupSpec) validate() error {
	switch {
	case !resourceName.MatchString(s.Name):
		return invalid("Target group name '%s' must be 1 to 32 letters, digits and hyphens and cannot begin or end with a hyphen", s.Name)
	case !slices.Contains(knownTypes, s.Type):
		return invalid("Target type '%s' must be one of %v", s.Type, knownTypes)
	case !slices.Contains(knownFamilies, s.Family):
		return invalid("IP address type '%s' must be one of %v", s.Family, knownFamilies)
	case s.Type == target.TypeLambda:
		return nil
	case s.Protocol == "" || s.Port == 0 || s.VPCID == "":
		return invalid("A protocol, a port and a VPC ID must be specified")
	case s.Protocol != gatewayOnly && !slices.Contains(protocolsOf[balancerTypeOf(s.Protocol)], s.Protocol):
		return invalid("Protocol '%s' is not valid for a target group", s.Protocol)
	case s.Port < 1 || s.Port > 65535:
		return invalid("Port '%d' must be between 1 and 65535 inclusive", s.Port)
	}
	return s.Check.validate()
}

func (s GroupSpec) same(other GroupSpec) bool {
	return maps.Equal(s.Tags, other.Tags) && s.Type == other.Type && s.Family == other.Family && s.Protocol == other.Protocol &&
		s.ProtocolVersion == other.ProtocolVersion && s.Port == other.Port && s.VPCID == other.VPCID && s.Check == other.Check
}

// TargetGroups lists groups in the order they were made. next is the marker of
// the page that follows, empty after the last. Fails with TargetGroupNotFound,
// LoadBalancerNotFound or ValidationError.
func (w *World) TargetGroups(now time.Time, filter GroupFilter) (views []GroupView, next string, err error) {
	w.advance(now)
	found, err := w.selected(filter)
	if err != nil {
		return nil, "", err
	}
	page, next, err := cut(found, filter.Page, func(g *group) string { return g.arn })
	for _, g := range page {
		views = append(views, g.view())
	}
	return views, next, err
}

func (w *World) selected(filter GroupFilter) ([]*group, error) {
	switch {
	case len(filter.ARNs) > 0 && len(filter.Names) > 0 || filter.Balancer != "" && len(filter.ARNs)+len(filter.Names) > 0:
		return nil, invalid("Target group ARNs, target group names and a load balancer ARN cannot be specified at the same time")
	case len(filter.ARNs) > maxNamed || len(filter.Names) > maxNamed:
		return nil, invalid("Cannot describe more than '%d' target groups by ARN or name in one call", maxNamed)
	case filter.Balancer != "":
		return w.usedBy(filter.Balancer)
	case len(filter.Names) > 0:
		return w.named(filter.Names)
	case len(filter.ARNs) > 0:
		return w.listed(filter.ARNs)
	}
	return w.groupList, nil
}

// maxNamed is how many resources one call may name.
const maxNamed = 20

func (w *World) usedBy(balancerARN string) ([]*group, error) {
	if _, err := w.balancer(balancerARN); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(w.groupList), func(g *group) bool {
		return !slices.Contains(g.users, balancerARN)
	}), nil
}

func (w *World) named(names []string) ([]*group, error) {
	found := make([]*group, 0, len(names))
	for _, name := range names {
		g, known := w.groupNames[name]
		if !known {
			return nil, refuse("TargetGroupNotFound", "One or more target groups not found")
		}
		found = append(found, g)
	}
	return found, nil
}

func (w *World) listed(arns []string) ([]*group, error) {
	found := make([]*group, 0, len(arns))
	for _, arn := range arns {
		g, err := w.group(arn)
		if refusal, is := errors.AsType[*Error](err); is && refusal.Code == "TargetGroupNotFound" {
			return nil, refuse("TargetGroupNotFound", "One or more target groups not found")
		}
		if err != nil {
			return nil, err
		}
		found = append(found, g)
	}
	return found, nil
}

// ModifyTargetGroup changes health check settings; zero fields stay as they are.
// Fails with TargetGroupNotFound or ValidationError.
func (w *World) ModifyTargetGroup(now time.Time, arn string, changes CheckSettings) (GroupView, error) {
	w.advance(now)
	g, err := w.group(arn)
	if err != nil {
		return GroupView{}, err
	}
	settings := changes.over(g.Check)
	if err := settings.validate(); err != nil {
		return GroupView{}, err
	}
	g.Check = settings
	return g.view(), nil
}

// DeleteTargetGroup deletes a group that no listener uses, with its targets. A
// group that does not exist counts as deleted. Fails with ResourceInUse.
func (w *World) DeleteTargetGroup(now time.Time, arn string) error {
	w.advance(now)
	g, known := w.groups[arn]
	if !known {
		return nil
	}
	if len(g.users) > 0 {
		return refuse("ResourceInUse", "Target group '%s' is currently in use by a listener or a rule", arn)
	}
	w.dropGroup(g)
	return nil
}

// VanishGroup deletes a group whether or not listeners use it, as when the
// listeners were deleted as well. Fails with TargetGroupNotFound.
func (w *World) VanishGroup(now time.Time, arn string) error {
	w.advance(now)
	g, err := w.group(arn)
	if err != nil {
		return err
	}
	for _, b := range w.balancerList {
		for _, l := range b.listeners {
			l.Groups = slices.DeleteFunc(l.Groups, func(used string) bool { return used == arn })
		}
	}
	w.dropGroup(g)
	return nil
}

func (w *World) dropGroup(g *group) {
	for _, r := range g.records() {
		if r.health != gone {
			w.enter(r, w.now, gone)
		}
		r.due = time.Time{}
	}
	clear(g.targets)
	delete(w.groups, g.arn)
	delete(w.groupNames, g.ARN.Name)
	w.groupList = slices.DeleteFunc(w.groupList, func(other *group) bool { return other == g })
}

// AllTargetGroups lists every group in the order they were made, on one page.
func (w *World) AllTargetGroups(now time.Time) []GroupView {
	w.advance(now)
	views := make([]GroupView, 0, len(w.groupList))
	for _, g := range w.groupList {
		views = append(views, g.view())
	}
	return views
}
