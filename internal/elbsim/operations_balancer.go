package elbsim

import (
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

type balancersAnswer struct {
	LoadBalancers list[balancerXML]
	NextMarker    string `xml:",omitempty"`
}

type balancerXML struct {
	LoadBalancerArn  string
	DNSName          string
	LoadBalancerName string
	Scheme           string
	VPCID            string `xml:"VpcId"`
	Type             model.BalancerType
	CreatedTime      time.Time
	State            struct{ Code string }
	IPAddressType    string        `xml:"IpAddressType"`
	Zones            list[zoneXML] `xml:"AvailabilityZones"`
}

type zoneXML struct {
	SubnetID string `xml:"SubnetId"`
}

func balancerView(b model.BalancerView) balancerXML {
	view := balancerXML{
		LoadBalancerArn: b.ARN, DNSName: b.DNSName, LoadBalancerName: b.Name, Scheme: b.Scheme, VPCID: DefaultVPC,
		Type: b.Type, CreatedTime: b.Created.UTC().Truncate(time.Millisecond), IPAddressType: "ipv4",
		Zones: listOf(b.Subnets, func(id string) zoneXML { return zoneXML{id} }),
	}
	view.State.Code = "active"
	return view
}

func createLoadBalancer(f form, w *model.World, now time.Time) (any, error) {
	spec := model.BalancerSpec{
		Name: f.required("Name"), Type: model.BalancerType(f.text("Type")), Scheme: f.text("Scheme"),
		Subnets: f.list("Subnets"), Tags: tagsIn(f),
	}
	for _, mapping := range f.members("SubnetMappings") {
		spec.Subnets = append(spec.Subnets, mapping.text("SubnetId"))
	}
	if f.err() != nil {
		return nil, f.err()
	}
	view, err := w.CreateLoadBalancer(now, spec)
	return balancersAnswer{LoadBalancers: list[balancerXML]{[]balancerXML{balancerView(view)}}}, err
}

func deleteLoadBalancer(f form, w *model.World, now time.Time) (any, error) {
	arn := f.required("LoadBalancerArn")
	if f.err() != nil {
		return nil, f.err()
	}
	w.DeleteLoadBalancer(now, arn)
	return nothing{}, nil
}

func describeLoadBalancers(f form, w *model.World, now time.Time) (any, error) {
	filter := model.BalancerFilter{ARNs: f.list("LoadBalancerArns"), Names: f.list("Names"), Page: page(f)}
	if f.err() != nil {
		return nil, f.err()
	}
	views, next, err := w.LoadBalancers(now, filter)
	return balancersAnswer{LoadBalancers: listOf(views, balancerView), NextMarker: next}, err
}

type listenersAnswer struct {
	Listeners list[listenerXML]
}

type listenerXML struct {
	ListenerArn     string
	LoadBalancerArn string
	Port            int
	Protocol        string
	DefaultActions  list[actionXML]
}

type actionXML struct {
	Type           string
	Order          int
	TargetGroupArn string     `xml:",omitempty"`
	ForwardConfig  forwardXML `xml:",omitempty"`
}

type forwardXML struct {
	TargetGroups list[weightedXML]
}

type weightedXML struct {
	TargetGroupArn string
	Weight         int
}

// listenerView tells the default action of a listener. Actions that forward
// nowhere are all told as a fixed response.
func listenerView(l model.ListenerView) listenerXML {
	view := listenerXML{ListenerArn: l.ARN, LoadBalancerArn: l.Balancer, Port: l.Port, Protocol: l.Protocol}
	action := actionXML{Type: "fixed-response", Order: 1}
	if len(l.Groups) > 0 {
		action.Type = "forward"
		action.ForwardConfig.TargetGroups = listOf(l.Groups, func(arn string) weightedXML { return weightedXML{arn, 1} })
	}
	if len(l.Groups) == 1 {
		action.TargetGroupArn = l.Groups[0]
	}
	view.DefaultActions.Members = []actionXML{action}
	return view
}

// forwardGroups are the groups that the default actions of a call forward to.
func forwardGroups(f form) []string {
	var arns []string
	for _, action := range f.members("DefaultActions") {
		if action.required("Type") != "forward" {
			continue
		}
		weighted := action.at("ForwardConfig").members("TargetGroups")
		for _, group := range weighted {
			arns = append(arns, group.required("TargetGroupArn"))
		}
		if len(weighted) == 0 {
			arns = append(arns, action.required("TargetGroupArn"))
		}
	}
	return arns
}

func createListener(f form, w *model.World, now time.Time) (any, error) {
	spec := model.ListenerSpec{
		Balancer: f.required("LoadBalancerArn"), Protocol: f.required("Protocol"), Port: f.number("Port"), Groups: forwardGroups(f),
	}
	if f.err() != nil {
		return nil, f.err()
	}
	view, err := w.CreateListener(now, spec)
	return listenersAnswer{list[listenerXML]{[]listenerXML{listenerView(view)}}}, err
}

func modifyListener(f form, w *model.World, now time.Time) (any, error) {
	arn, groups := f.required("ListenerArn"), forwardGroups(f)
	if f.err() != nil {
		return nil, f.err()
	}
	view, err := w.ModifyListener(now, arn, groups)
	return listenersAnswer{list[listenerXML]{[]listenerXML{listenerView(view)}}}, err
}

func deleteListener(f form, w *model.World, now time.Time) (any, error) {
	arn := f.required("ListenerArn")
	if f.err() != nil {
		return nil, f.err()
	}
	return nothing{}, w.DeleteListener(now, arn)
}

func describeListeners(f form, w *model.World, now time.Time) (any, error) {
	views, err := w.Listeners(now, f.text("LoadBalancerArn"), f.list("ListenerArns"))
	return listenersAnswer{listOf(views, listenerView)}, err
}
