package elbsim

import (
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// operations are the actions that are simulated.
var operations = map[string]operation{
	"AddTags":                       addTags,
	"CreateListener":                createListener,
	"CreateLoadBalancer":            createLoadBalancer,
	"CreateTargetGroup":             createTargetGroup,
	"DeleteListener":                deleteListener,
	"DeleteLoadBalancer":            deleteLoadBalancer,
	"DeleteTargetGroup":             deleteTargetGroup,
	"DeregisterTargets":             deregisterTargets,
	"DescribeListeners":             describeListeners,
	"DescribeLoadBalancers":         describeLoadBalancers,
	"DescribeTags":                  describeTags,
	"DescribeTargetGroupAttributes": describeTargetGroupAttributes,
	"DescribeTargetGroups":          describeTargetGroups,
	"DescribeTargetHealth":          describeTargetHealth,
	"ModifyListener":                modifyListener,
	"ModifyTargetGroup":             modifyTargetGroup,
	"ModifyTargetGroupAttributes":   modifyTargetGroupAttributes,
	"RegisterTargets":               registerTargets,
	"RemoveTags":                    removeTags,
}

// nothing is the answer of actions that say no more than that they worked.
type nothing struct{}

// list is a list as AWS writes it: there even when it is empty.
type list[T any] struct {
	Members []T `xml:"member"`
}

func listOf[From, To any](items []From, convert func(From) To) list[To] {
	var l list[To]
	for _, item := range items {
		l.Members = append(l.Members, convert(item))
	}
	return l
}

func registerTargets(f form, w *model.World, now time.Time) (any, error) {
	group, refs := f.required("TargetGroupArn"), targetRefs(f)
	if f.err() != nil {
		return nil, f.err()
	}
	return nothing{}, w.RegisterTargets(now, group, refs)
}

func deregisterTargets(f form, w *model.World, now time.Time) (any, error) {
	group, refs := f.required("TargetGroupArn"), targetRefs(f)
	if f.err() != nil {
		return nil, f.err()
	}
	return nothing{}, w.DeregisterTargets(now, group, refs)
}

func targetRefs(f form) []model.TargetRef {
	var refs []model.TargetRef
	for _, member := range f.members("Targets") {
		ref := model.TargetRef{ID: member.required("Id"), Port: member.number("Port"), Zone: member.text("AvailabilityZone")}
		if member.has("Port") && (ref.Port < 1 || ref.Port > 65535) {
			member.fail("Port", member.text("Port"), "between 1 and 65535")
		}
		refs = append(refs, ref)
	}
	return refs
}

type healthAnswer struct {
	TargetHealthDescriptions list[healthXML]
}

type healthXML struct {
	Target struct {
		ID   string `xml:"Id"`
		Port uint16
		Zone string `xml:"AvailabilityZone,omitempty"`
	}
	HealthCheckPort string `xml:",omitempty"`
	TargetHealth    struct {
		State       target.State
		Reason      string `xml:",omitempty"`
		Description string `xml:",omitempty"`
	}
	AdministrativeOverride *overrideXML `xml:",omitempty"`
	AnomalyDetection       *anomalyXML  `xml:",omitempty"`
}

type overrideXML struct{ State, Reason, Description string }

type anomalyXML struct{ Result, MitigationInEffect string }

// describeTargetHealth answers Include with what AWS says where neither a zonal
// shift nor an anomaly is on.
func describeTargetHealth(f form, w *model.World, now time.Time) (any, error) {
	group, refs := f.required("TargetGroupArn"), targetRefs(f)
	include := f.list("Include")
	if f.err() != nil {
		return nil, f.err()
	}
	observed, err := w.TargetHealth(now, group, refs)
	if err != nil {
		return nil, err
	}
	views, _, err := w.TargetGroups(now, model.GroupFilter{ARNs: []string{group}})
	if err != nil {
		return nil, err
	}
	return healthAnswer{listOf(observed, func(o target.Observed) healthXML {
		return healthView(o, views[0].Check.PortOf(o.Key), include)
	})}, nil
}

func healthView(o target.Observed, checkPort string, include []string) healthXML {
	var view healthXML
	view.Target.ID, view.Target.Port, view.Target.Zone = o.Addr.String(), o.Port, o.Zone
	view.HealthCheckPort = checkPort
	view.TargetHealth.State, view.TargetHealth.Reason, view.TargetHealth.Description = o.Health.State, o.Health.Reason, o.Health.Description
	for _, what := range include {
		if what == "All" || what == "AnomalyDetection" {
			view.AnomalyDetection = &anomalyXML{Result: "normal", MitigationInEffect: "no"}
		}
	}
	if len(include) > 0 {
		view.AdministrativeOverride = &overrideXML{State: "no_override", Reason: "AdministrativeOverride.NoOverride", Description: "No override is currently active on target"}
	}
	return view
}

type groupsAnswer struct {
	TargetGroups list[groupXML]
	NextMarker   string `xml:",omitempty"`
}

type groupXML struct {
	TargetGroupArn             string
	TargetGroupName            string
	Protocol                   string `xml:",omitempty"`
	Port                       uint16 `xml:",omitempty"`
	VPCID                      string `xml:"VpcId,omitempty"`
	HealthCheckProtocol        string `xml:",omitempty"`
	HealthCheckPort            string `xml:",omitempty"`
	HealthCheckEnabled         bool
	HealthCheckIntervalSeconds int
	HealthCheckTimeoutSeconds  int
	HealthyThresholdCount      int
	UnhealthyThresholdCount    int
	HealthCheckPath            string      `xml:",omitempty"`
	Matcher                    *matcherXML `xml:",omitempty"`
	LoadBalancerArns           list[string]
	TargetType                 target.Type
	ProtocolVersion            string        `xml:",omitempty"`
	IPAddressType              target.Family `xml:"IpAddressType"`
}

type matcherXML struct {
	HTTPCode string `xml:"HttpCode"`
}

func groupView(g model.GroupView) groupXML {
	view := groupXML{
		TargetGroupArn: g.ARN.String(), TargetGroupName: g.ARN.Name,
		Protocol: g.Protocol, Port: g.Port, VPCID: g.VPCID,
		HealthCheckProtocol: g.Check.Protocol, HealthCheckPort: g.Check.Port, HealthCheckEnabled: g.Type != target.TypeLambda,
		HealthCheckIntervalSeconds: int(g.Check.Interval / time.Second), HealthCheckTimeoutSeconds: int(g.Check.Timeout / time.Second),
		HealthyThresholdCount: g.Check.HealthyThreshold, UnhealthyThresholdCount: g.Check.UnhealthyThreshold,
		HealthCheckPath: g.Check.Path, LoadBalancerArns: list[string]{g.LoadBalancers},
		TargetType: g.Type, ProtocolVersion: g.ProtocolVersion, IPAddressType: g.Family,
	}
	if g.Check.Matcher != "" {
		view.Matcher = &matcherXML{g.Check.Matcher}
	}
	return view
}

func createTargetGroup(f form, w *model.World, now time.Time) (any, error) {
	spec := model.GroupSpec{
		Name: f.required("Name"), Type: target.Type(f.text("TargetType")), Family: target.Family(f.text("IpAddressType")),
		Protocol: f.text("Protocol"), ProtocolVersion: f.text("ProtocolVersion"), Port: f.number("Port"), VPCID: f.text("VpcId"),
		Check: checkSettings(f), Tags: tagsIn(f),
	}
	if f.err() != nil {
		return nil, f.err()
	}
	view, err := w.CreateTargetGroup(now, spec)
	return groupsAnswer{TargetGroups: list[groupXML]{[]groupXML{groupView(view)}}}, err
}

func checkSettings(f form) model.CheckSettings {
	if f.text("HealthCheckEnabled") == "false" && f.text("TargetType") != string(target.TypeLambda) {
		f.fail("HealthCheckEnabled", "false", "true for targets that are addresses")
	}
	return model.CheckSettings{
		Protocol: f.text("HealthCheckProtocol"), Port: f.text("HealthCheckPort"), Path: f.text("HealthCheckPath"),
		Matcher:          f.at("Matcher").text("HttpCode"),
		Interval:         time.Duration(f.number("HealthCheckIntervalSeconds")) * time.Second,
		Timeout:          time.Duration(f.number("HealthCheckTimeoutSeconds")) * time.Second,
		HealthyThreshold: f.number("HealthyThresholdCount"), UnhealthyThreshold: f.number("UnhealthyThresholdCount"),
	}
}

func modifyTargetGroup(f form, w *model.World, now time.Time) (any, error) {
	arn, changes := f.required("TargetGroupArn"), checkSettings(f)
	if f.err() != nil {
		return nil, f.err()
	}
	view, err := w.ModifyTargetGroup(now, arn, changes)
	return groupsAnswer{TargetGroups: list[groupXML]{[]groupXML{groupView(view)}}}, err
}

func deleteTargetGroup(f form, w *model.World, now time.Time) (any, error) {
	arn := f.required("TargetGroupArn")
	if f.err() != nil {
		return nil, f.err()
	}
	return nothing{}, w.DeleteTargetGroup(now, arn)
}

func describeTargetGroups(f form, w *model.World, now time.Time) (any, error) {
	filter := model.GroupFilter{
		ARNs: f.list("TargetGroupArns"), Names: f.list("Names"), Balancer: f.text("LoadBalancerArn"), Page: page(f),
	}
	if f.err() != nil {
		return nil, f.err()
	}
	views, next, err := w.TargetGroups(now, filter)
	return groupsAnswer{TargetGroups: listOf(views, groupView), NextMarker: next}, err
}

func page(f form) model.Page {
	size := f.number("PageSize")
	if f.has("PageSize") && size < 1 {
		f.fail("PageSize", f.text("PageSize"), "between 1 and 400")
	}
	return model.Page{Marker: f.text("Marker"), Size: size}
}
