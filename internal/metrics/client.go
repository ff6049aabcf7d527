package metrics

import (
	"context"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Client counts and times the calls of another client. It is an elb.Client.
type Client struct {
	elb.Client
	metrics *Metrics
}

// Client makes a client that counts the calls of c.
func (m *Metrics) Client(c elb.Client) Client { return Client{Client: c, metrics: m} }

// RegisterTargets is elb.Client's.
func (c Client) RegisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	start := time.Now()
	err := c.Client.RegisterTargets(ctx, group, targets)
	c.metrics.called("RegisterTargets", start, err)
	return err
}

// DeregisterTargets is elb.Client's.
func (c Client) DeregisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	start := time.Now()
	err := c.Client.DeregisterTargets(ctx, group, targets)
	c.metrics.called("DeregisterTargets", start, err)
	return err
}

// TargetHealth is elb.Client's.
func (c Client) TargetHealth(ctx context.Context, group target.ARN) ([]target.Observed, error) {
	start := time.Now()
	listed, err := c.Client.TargetHealth(ctx, group)
	c.metrics.called("DescribeTargetHealth", start, err)
	return listed, err
}

// TargetGroups is elb.Client's.
func (c Client) TargetGroups(ctx context.Context, query elb.GroupQuery) ([]target.Group, error) {
	start := time.Now()
	groups, err := c.Client.TargetGroups(ctx, query)
	c.metrics.called("DescribeTargetGroups", start, err)
	return groups, err
}

// AllGroups is elb.Client's.
func (c Client) AllGroups(ctx context.Context, marker string) ([]target.Group, string, error) {
	start := time.Now()
	groups, next, err := c.Client.AllGroups(ctx, marker)
	c.metrics.called("DescribeTargetGroups", start, err)
	return groups, next, err
}

// GroupTags is elb.Client's.
func (c Client) GroupTags(ctx context.Context, groups []target.ARN) (map[target.ARN]map[string]string, error) {
	start := time.Now()
	tags, err := c.Client.GroupTags(ctx, groups)
	c.metrics.called("DescribeTags", start, err)
	return tags, err
}

// GroupAttributes is elb.Client's.
func (c Client) GroupAttributes(ctx context.Context, group target.ARN) (map[string]string, error) {
	start := time.Now()
	attributes, err := c.Client.GroupAttributes(ctx, group)
	c.metrics.called("DescribeTargetGroupAttributes", start, err)
	return attributes, err
}
