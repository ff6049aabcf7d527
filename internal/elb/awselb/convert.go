package awselb

import (
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// descriptions is never nil: the SDK takes an empty list to AWS, which refuses it
// in its own words, but not a missing one.
func descriptions(targets []target.Target) []types.TargetDescription {
	list := make([]types.TargetDescription, 0, len(targets))
	for _, t := range targets {
		list = append(list, description(t))
	}
	return list
}

func description(t target.Target) types.TargetDescription {
	d := types.TargetDescription{Id: aws.String(t.Addr.String())}
	if t.Port != 0 {
		d.Port = aws.Int32(int32(t.Port))
	}
	if t.Zone != "" {
		d.AvailabilityZone = aws.String(t.Zone)
	}
	return d
}

func observed(list []types.TargetHealthDescription) []target.Observed {
	targets := make([]target.Observed, 0, len(list))
	for _, d := range list {
		if d.Target == nil {
			continue
		}
		addr, err := netip.ParseAddr(aws.ToString(d.Target.Id))
		if err != nil {
			continue // an instance, a function or a load balancer
		}
		targets = append(targets, target.Observed{
			Target: target.Target{
				Key:  target.Key{Addr: addr.Unmap(), Port: port(d.Target.Port)},
				Zone: aws.ToString(d.Target.AvailabilityZone),
			},
			Health: health(d.TargetHealth),
		})
	}
	return targets
}

// health keeps states and reasons that are not known here as they are.
func health(h *types.TargetHealth) target.Health {
	if h == nil {
		return target.Health{}
	}
	return target.Health{
		State:       target.State(h.State),
		Reason:      string(h.Reason),
		Description: aws.ToString(h.Description),
	}
}

// port is 0 for none: AWS leaves it out where it has no meaning.
func port(p *int32) uint16 {
	if p == nil || *p < 0 || *p > 65535 {
		return 0
	}
	return uint16(*p)
}

func groups(list []types.TargetGroup) ([]target.Group, error) {
	result := make([]target.Group, 0, len(list))
	for _, g := range list {
		arn, err := target.ParseARN(aws.ToString(g.TargetGroupArn))
		if err != nil {
			return nil, &elb.Error{Op: "DescribeTargetGroups", Kind: elb.InvalidRequest, Message: "in AWS's answer: " + err.Error(), Err: err}
		}
		result = append(result, target.Group{
			ARN:           arn,
			Type:          target.Type(g.TargetType),
			Family:        family(g.IpAddressType),
			Protocol:      string(g.Protocol),
			Port:          port(g.Port),
			VPCID:         aws.ToString(g.VpcId),
			LoadBalancers: g.LoadBalancerArns,
			Check: target.HealthCheck{
				Interval:           time.Duration(aws.ToInt32(g.HealthCheckIntervalSeconds)) * time.Second,
				Timeout:            time.Duration(aws.ToInt32(g.HealthCheckTimeoutSeconds)) * time.Second,
				UnhealthyThreshold: int(aws.ToInt32(g.UnhealthyThresholdCount)),
			},
		})
	}
	return result, nil
}

func tagsOf(list []types.TagDescription) (map[target.ARN]map[string]string, error) {
	result := make(map[target.ARN]map[string]string, len(list))
	for _, described := range list {
		arn, err := target.ParseARN(aws.ToString(described.ResourceArn))
		if err != nil {
			return nil, &elb.Error{Op: "DescribeTags", Kind: elb.InvalidRequest, Message: "in AWS's answer: " + err.Error(), Err: err}
		}
		result[arn] = make(map[string]string, len(described.Tags))
		for _, tag := range described.Tags {
			result[arn][aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
	}
	return result, nil
}

// family is IPv4 when AWS does not say, as for groups older than the field.
func family(t types.TargetGroupIpAddressTypeEnum) target.Family {
	if t == "" {
		return target.IPv4
	}
	return target.Family(t)
}
