// Package awselb is elb.Client over the AWS SDK. It is the only package that
// imports the SDK: what it knows of AWS types, credentials and errors ends here.
//
// Configuration comes from where every AWS tool takes it: environment variables
// (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2,
// AWS_ENDPOINT_URL, AWS_CA_BUNDLE, HTTPS_PROXY ...), shared files, and the roles
// that EKS Pod Identity, IRSA, ECS or EC2 give. Options come before all of it.
package awselb

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Client calls ELBv2 in one account and region, with credentials and connections
// of its own. It keeps the contract of elb.Client.
//
// A port of 0 in a target stands for the group's own port.
type Client struct {
	api *elbv2.Client
}

var _ elb.Client = (*Client)(nil)

// New makes a client. It makes no call to ELBv2 or STS: whether the credentials
// are any good shows with the first call. Without a region in the options or the
// environment it asks the instance's metadata; see Region.
func New(ctx context.Context, o Options) (*Client, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	cfg, err := o.load(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Credentials = o.credentials(cfg)
	return &Client{api: elbv2.NewFromConfig(cfg, once, onlyAWS)}, nil
}

// once makes every call one request. Retries inside the SDK would spend tokens
// that the pacer does not see, and hide the throttles that it must learn of.
func once(o *elbv2.Options) { o.Retryer = aws.NopRetryer{} }

// RegisterTargets is elb.Client's.
func (c *Client) RegisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	_, err := c.api.RegisterTargets(ctx, &elbv2.RegisterTargetsInput{
		TargetGroupArn: aws.String(group.String()),
		Targets:        descriptions(targets),
	})
	return failure(ctx, "RegisterTargets", err)
}

// DeregisterTargets is elb.Client's.
func (c *Client) DeregisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	_, err := c.api.DeregisterTargets(ctx, &elbv2.DeregisterTargetsInput{
		TargetGroupArn: aws.String(group.String()),
		Targets:        descriptions(targets),
	})
	return failure(ctx, "DeregisterTargets", err)
}

// TargetHealth is elb.Client's. Targets that are no addresses, as those of groups
// of another type than ip, are left out: nothing here could name them.
func (c *Client) TargetHealth(ctx context.Context, group target.ARN) ([]target.Observed, error) {
	out, err := c.api.DescribeTargetHealth(ctx, &elbv2.DescribeTargetHealthInput{
		TargetGroupArn: aws.String(group.String()),
	})
	if err != nil {
		return nil, failure(ctx, "DescribeTargetHealth", err)
	}
	return observed(out.TargetHealthDescriptions), nil
}

// TargetGroups is elb.Client's. A query that names nothing is answered with
// nothing and costs no call: AWS would list the whole account.
func (c *Client) TargetGroups(ctx context.Context, query elb.GroupQuery) ([]target.Group, error) {
	if len(query.ARNs)+len(query.Names) == 0 {
		return nil, nil
	}
	in := &elbv2.DescribeTargetGroupsInput{Names: query.Names}
	for _, arn := range query.ARNs {
		in.TargetGroupArns = append(in.TargetGroupArns, arn.String())
	}
	out, err := c.api.DescribeTargetGroups(ctx, in)
	if err != nil {
		return nil, failure(ctx, "DescribeTargetGroups", err)
	}
	return groups(out.TargetGroups)
}

// AllGroups is elb.Client's. A page is as large as AWS makes it, 400 groups.
func (c *Client) AllGroups(ctx context.Context, marker string) ([]target.Group, string, error) {
	in := &elbv2.DescribeTargetGroupsInput{PageSize: aws.Int32(400)}
	if marker != "" {
		in.Marker = aws.String(marker)
	}
	out, err := c.api.DescribeTargetGroups(ctx, in)
	if err != nil {
		return nil, "", failure(ctx, "DescribeTargetGroups", err)
	}
	page, err := groups(out.TargetGroups)
	return page, aws.ToString(out.NextMarker), err
}

// GroupTags is elb.Client's.
func (c *Client) GroupTags(ctx context.Context, groups []target.ARN) (map[target.ARN]map[string]string, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	in := &elbv2.DescribeTagsInput{}
	for _, arn := range groups {
		in.ResourceArns = append(in.ResourceArns, arn.String())
	}
	out, err := c.api.DescribeTags(ctx, in)
	if err != nil {
		return nil, failure(ctx, "DescribeTags", err)
	}
	return tagsOf(out.TagDescriptions)
}

// GroupAttributes is elb.Client's.
func (c *Client) GroupAttributes(ctx context.Context, group target.ARN) (map[string]string, error) {
	out, err := c.api.DescribeTargetGroupAttributes(ctx, &elbv2.DescribeTargetGroupAttributesInput{
		TargetGroupArn: aws.String(group.String()),
	})
	if err != nil {
		return nil, failure(ctx, "DescribeTargetGroupAttributes", err)
	}
	attributes := make(map[string]string, len(out.Attributes))
	for _, attribute := range out.Attributes {
		attributes[aws.ToString(attribute.Key)] = aws.ToString(attribute.Value)
	}
	return attributes, nil
}
