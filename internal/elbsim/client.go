package elbsim

import (
	"context"
	"errors"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// client is the face in the same process.
type client struct {
	sim *Sim
	at  scope
}

// Client is an elb.Client for one account and region. Its calls take the same way
// as those over the wire: latency, faults, throttling, log.
func (s *Sim) Client(account, region string) elb.Client {
	return &client{sim: s, at: scope{account: account, region: region}}
}

// userAgent is how the calls of Client look in the log.
const userAgent = "in-process"

// RegisterTargets is as elb.Client has it.
func (c *client) RegisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	r := c.request("RegisterTargets", group.String(), targets)
	return c.perform(ctx, r, func(w *model.World, now time.Time) error {
		return w.RegisterTargets(now, r.group, refs(targets))
	})
}

// DeregisterTargets is as elb.Client has it.
func (c *client) DeregisterTargets(ctx context.Context, group target.ARN, targets []target.Target) error {
	r := c.request("DeregisterTargets", group.String(), targets)
	return c.perform(ctx, r, func(w *model.World, now time.Time) error {
		return w.DeregisterTargets(now, r.group, refs(targets))
	})
}

// TargetHealth is as elb.Client has it.
func (c *client) TargetHealth(ctx context.Context, group target.ARN) (observed []target.Observed, err error) {
	r := c.request("DescribeTargetHealth", group.String(), nil)
	err = c.perform(ctx, r, func(w *model.World, now time.Time) (err error) {
		observed, err = w.TargetHealth(now, r.group, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return observed, nil
}

// TargetGroups is as elb.Client has it. Without names it lists the first 400.
func (c *client) TargetGroups(ctx context.Context, query elb.GroupQuery) (groups []target.Group, err error) {
	if len(query.ARNs)+len(query.Names) == 0 {
		return nil, nil
	}
	filter := model.GroupFilter{Names: query.Names}
	for _, arn := range query.ARNs {
		filter.ARNs = append(filter.ARNs, arn.String())
	}
	r := c.request("DescribeTargetGroups", firstOf(filter.ARNs, filter.Names), nil)
	err = c.perform(ctx, r, func(w *model.World, now time.Time) error {
		views, _, err := w.TargetGroups(now, filter)
		for _, view := range views {
			groups = append(groups, view.Group)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return groups, nil
}

// AllGroups is as elb.Client has it.
func (c *client) AllGroups(ctx context.Context, marker string) (groups []target.Group, next string, err error) {
	r := c.request("DescribeTargetGroups", "", nil)
	err = c.perform(ctx, r, func(w *model.World, now time.Time) (err error) {
		var views []model.GroupView
		views, next, err = w.TargetGroups(now, model.GroupFilter{Page: model.Page{Marker: marker}})
		for _, view := range views {
			groups = append(groups, view.Group)
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return groups, next, nil
}

// GroupTags is as elb.Client has it.
func (c *client) GroupTags(ctx context.Context, groups []target.ARN) (map[target.ARN]map[string]string, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	arns := make([]string, len(groups))
	for i, arn := range groups {
		arns[i] = arn.String()
	}
	tags := map[target.ARN]map[string]string{}
	err := c.perform(ctx, c.request("DescribeTags", arns[0], nil), func(w *model.World, now time.Time) error {
		listed, err := w.Tags(now, arns)
		for i := range listed {
			tags[groups[i]] = listed[i]
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return tags, nil
}

// GroupAttributes is as elb.Client has it.
func (c *client) GroupAttributes(ctx context.Context, group target.ARN) (attributes map[string]string, err error) {
	r := c.request("DescribeTargetGroupAttributes", group.String(), nil)
	err = c.perform(ctx, r, func(w *model.World, now time.Time) (err error) {
		attributes, err = w.GroupAttributes(now, r.group)
		return err
	})
	if err != nil {
		return nil, err
	}
	return attributes, nil
}

func firstOf(lists ...[]string) string {
	for _, list := range lists {
		if len(list) > 0 {
			return list[0]
		}
	}
	return ""
}

func (c *client) request(action, group string, targets []target.Target) request {
	r := request{scope: c.at, action: action, group: group, userAgent: userAgent, id: newRequestID()}
	if _, limited := limits[action]; limited {
		r.resources = []string{group}
	}
	for _, t := range targets {
		r.targets = append(r.targets, t.Key.String())
	}
	return r
}

func refs(targets []target.Target) []model.TargetRef {
	refs := make([]model.TargetRef, 0, len(targets))
	for _, t := range targets {
		refs = append(refs, model.TargetRef{ID: t.Addr.String(), Port: int(t.Port), Zone: t.Zone})
	}
	return refs
}

// perform makes the call and puts what went wrong into the words of package elb.
func (c *client) perform(ctx context.Context, r request, apply func(*model.World, time.Time) error) error {
	err := c.sim.perform(ctx, r, apply)
	if err == nil {
		return nil
	}
	if refusal, is := errors.AsType[*model.Error](err); is {
		kind := elb.ErrorCode(refusal.Code, refusal.Message, refusal.Status)
		return &elb.Error{Op: r.action, Kind: kind, Code: refusal.Code, Message: refusal.Message, Err: err}
	}
	return &elb.Error{Op: r.action, Kind: elb.Unreachable, Message: err.Error(), Err: err}
}
