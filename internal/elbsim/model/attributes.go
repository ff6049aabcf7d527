package model

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DeregistrationDelayKey is the attribute that says for how many seconds a target drains.
const DeregistrationDelayKey = "deregistration_delay.timeout_seconds"

// defaultAttributes are the attributes AWS lists for a new group.
func defaultAttributes(g *group, drain time.Duration) map[string]string {
	attributes := map[string]string{
		DeregistrationDelayKey:              seconds(drain),
		"stickiness.enabled":                "false",
		"load_balancing.cross_zone.enabled": "use_load_balancer_configuration",
		"target_group_health.dns_failover.minimum_healthy_targets.count":                 "1",
		"target_group_health.dns_failover.minimum_healthy_targets.percentage":            "off",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count":      "1",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
	}
	if g.balancerType() == Application {
		maps.Copy(attributes, applicationAttributes)
	} else {
		maps.Copy(attributes, networkAttributes)
	}
	return attributes
}

var applicationAttributes = map[string]string{
	"stickiness.type":                             "lb_cookie",
	"stickiness.lb_cookie.duration_seconds":       "86400",
	"stickiness.app_cookie.cookie_name":           "",
	"stickiness.app_cookie.duration_seconds":      "86400",
	"slow_start.duration_seconds":                 "0",
	"load_balancing.algorithm.type":               "round_robin",
	"load_balancing.algorithm.anomaly_mitigation": "off",
}

var networkAttributes = map[string]string{
	"stickiness.type": "source_ip",
	"deregistration_delay.connection_termination.enabled":          "false",
	"preserve_client_ip.enabled":                                   "false",
	"proxy_protocol_v2.enabled":                                    "false",
	"target_health_state.unhealthy.connection_termination.enabled": "true",
	"target_health_state.unhealthy.draining_interval_seconds":      "0",
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// drainFor is the group's deregistration delay.
func (g *group) drainFor() time.Duration {
	n, err := strconv.Atoi(g.attributes[DeregistrationDelayKey])
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// GroupAttributes is a copy of a group's attributes. Fails with TargetGroupNotFound.
func (w *World) GroupAttributes(now time.Time, arn string) (map[string]string, error) {
	w.advance(now)
	g, err := w.group(arn)
	if err != nil {
		return nil, err
	}
	return maps.Clone(g.attributes), nil
}

// ModifyGroupAttributes changes attributes, all or none. A target that drains
// already keeps the delay it began with. Fails with TargetGroupNotFound or
// ValidationError.
func (w *World) ModifyGroupAttributes(now time.Time, arn string, changes map[string]string) error {
	w.advance(now)
	g, err := w.group(arn)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		if _, known := g.attributes[key]; !known {
			return invalid("Target group attribute key '%s' is not recognized", key)
		}
	}
	if delay, changed := changes[DeregistrationDelayKey]; changed {
		if n, err := strconv.Atoi(delay); err != nil || n < 0 || n > 3600 {
			return invalid("'%s' must be a number between 0 and 3600 inclusive", DeregistrationDelayKey)
		}
	}
	maps.Copy(g.attributes, changes)
	return nil
}

// tagsOf finds the tags of a group or load balancer.
func (w *World) tagsOf(arn string) (map[string]string, error) {
	if g, known := w.groups[arn]; known {
		return g.tags, nil
	}
	if b, known := w.balancers[arn]; known {
		return b.tags, nil
	}
	if strings.Contains(arn, ":loadbalancer/") {
		return nil, refuse("LoadBalancerNotFound", "Load balancer '%s' not found", arn)
	}
	_, err := w.group(arn)
	return nil, err
}

// Tags is a copy of the tags of each resource, at most 20, by ARN. Fails with
// TargetGroupNotFound, LoadBalancerNotFound or ValidationError.
func (w *World) Tags(now time.Time, arns []string) ([]map[string]string, error) {
	w.advance(now)
	if len(arns) == 0 || len(arns) > maxNamed {
		return nil, invalid("Between 1 and %d resource ARNs must be specified", maxNamed)
	}
	tags := make([]map[string]string, 0, len(arns))
	for _, arn := range arns {
		of, err := w.tagsOf(arn)
		if err != nil {
			return nil, err
		}
		tags = append(tags, maps.Clone(of))
	}
	return tags, nil
}

// maxTags is how many tags a resource may have.
const maxTags = 50

// AddTags sets tags on each resource. Fails with TooManyTags or as Tags.
func (w *World) AddTags(now time.Time, arns []string, tags map[string]string) error {
	return w.retag(now, arns, func(of map[string]string) error {
		merged := maps.Clone(of)
		maps.Copy(merged, tags)
		if len(merged) > maxTags {
			return refuse("TooManyTags", "The maximum number of tags '%d' has been reached", maxTags)
		}
		maps.Copy(of, tags)
		return nil
	})
}

// RemoveTags removes tags from each resource. Fails as Tags.
func (w *World) RemoveTags(now time.Time, arns, keys []string) error {
	return w.retag(now, arns, func(of map[string]string) error {
		maps.DeleteFunc(of, func(key, _ string) bool { return slices.Contains(keys, key) })
		return nil
	})
}

func (w *World) retag(now time.Time, arns []string, change func(map[string]string) error) error {
	if _, err := w.Tags(now, arns); err != nil {
		return err
	}
	for _, arn := range arns {
		of, err := w.tagsOf(arn)
		if err != nil {
			return err
		}
		if err := change(of); err != nil {
			return err
		}
	}
	return nil
}
