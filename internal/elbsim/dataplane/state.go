package dataplane

import (
	"strconv"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
)

// State is what the API's side says: the load balancers as they are now, and the
// changes of targets since the last Update in the order they happened.
type State struct {
	Balancers []Balancer
	Changes   []model.Change
	// Anew voids all that was said before; listeners that are still there go on.
	Anew bool
}

// Balancer is a load balancer with its listeners.
type Balancer struct {
	ARN, Name, DNSName string
	Type               model.BalancerType
	Zones              []string // where its nodes stand, by turns
	Listeners          []Listener
}

// Listener is a port of a load balancer.
type Listener struct {
	Port     int
	Protocol string
	Groups   []Group // of a forward action; none otherwise
}

// Group is a target group that a listener forwards to.
type Group struct {
	ARN, Protocol string
	Attributes    map[string]string
}

// policy is who of the group's targets is sent to.
func (g Group) policy() routing.Policy {
	const minimum = "target_group_health.unhealthy_state_routing.minimum_healthy_targets."
	count, _ := strconv.Atoi(g.Attributes[minimum+"count"])        // off, or not set: none
	percent, _ := strconv.Atoi(g.Attributes[minimum+"percentage"]) // the same
	return routing.Policy{
		CrossZone: g.Attributes["load_balancing.cross_zone.enabled"] != "false",
		MinCount:  count, MinPercent: percent,
	}
}

func (g Group) leastOutstanding() bool {
	return g.Attributes["load_balancing.algorithm.type"] == "least_outstanding_requests"
}

// cutsWhenGone tells whether what still runs when the deregistration delay is
// over is cut off.
func (g Group) cutsWhenGone(kind model.BalancerType) bool {
	return kind == model.Application || g.Attributes["deregistration_delay.connection_termination.enabled"] == "true"
}

// cutsWhenUnhealthy tells whether what runs is cut off when the target fails,
// unless the load balancer fails open.
func (g Group) cutsWhenUnhealthy(kind model.BalancerType) bool {
	return kind == model.Network && g.Attributes["target_health_state.unhealthy.connection_termination.enabled"] == "true"
}

func (g Group) overTLS() bool { return g.Protocol == "HTTPS" || g.Protocol == "TLS" }
