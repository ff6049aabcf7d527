package elbsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/iam"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// limits lists the actions that AWS lets a policy limit to resources, each with how a
// call names them. All other actions are allowed for all resources or not at all. From
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
var limits = map[string]func(f form, at scope) []string{
	"AddTags":                     listed("ResourceArns"),
	"CreateListener":              named("LoadBalancerArn"),
	"CreateLoadBalancer":          newBalancer,
	"CreateTargetGroup":           newGroup,
	"DeleteListener":              named("ListenerArn"),
	"DeleteLoadBalancer":          named("LoadBalancerArn"),
	"DeleteTargetGroup":           named("TargetGroupArn"),
	"DeregisterTargets":           named("TargetGroupArn"),
	"ModifyListener":              named("ListenerArn"),
	"ModifyTargetGroup":           named("TargetGroupArn"),
	"ModifyTargetGroupAttributes": named("TargetGroupArn"),
	"RegisterTargets":             named("TargetGroupArn"),
	"RemoveTags":                  listed("ResourceArns"),
}

func named(parameter string) func(form, scope) []string {
	return func(f form, _ scope) []string { return []string{f.text(parameter)} }
}

func listed(parameter string) func(form, scope) []string {
	return func(f form, _ scope) []string { return f.list(parameter) }
}

// newGroup is the ARN of a group to be made, whose end nobody knows yet.
func newGroup(f form, at scope) []string {
	return []string{at.arn("targetgroup/" + f.text("Name") + "/*")}
}

func newBalancer(f form, at scope) []string {
	kind := "app"
	if f.text("Type") == string(model.Network) {
		kind = "net"
	}
	return []string{at.arn("loadbalancer/" + kind + "/" + f.text("Name") + "/*")}
}

func (at scope) arn(resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", signingName, at.region, at.account, resource)
}

// permitted is the refusal of a call that the deny list or the policy does not allow.
func (s *Sim) permitted(r request) error {
	resources := r.resources
	if len(resources) == 0 {
		resources = []string{iam.AnyResource}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range resources {
		if decision := s.decide(r, resource); decision != iam.Allowed {
			return notAuthorized(r, resource, decision)
		}
	}
	return nil
}

// decide judges a call as to one of its resources. s.mu is held.
func (s *Sim) decide(r request, resource string) iam.Decision {
	deny := s.settings.Deny
	switch {
	case slices.Contains(deny, r.action) || slices.Contains(deny, "*"):
		return iam.ImplicitDeny
	case s.policy == nil:
		return iam.Allowed
	}
	asked := iam.Request{Action: signingName + ":" + r.action, Resource: resource}
	if resource != iam.AnyResource {
		asked.Tags = s.tagsOf(r.scope, resource, s.clock.Now())
	}
	return s.policy.Decide(asked)
}

// tagsOf are the tags of a resource; none if it does not exist. s.mu is held.
func (s *Sim) tagsOf(at scope, resource string, now time.Time) map[string]string {
	tags, err := s.world(at).Tags(now, []string{resource})
	if err != nil {
		return nil
	}
	return tags[0]
}

// notAuthorized is a refusal in AWS's words, of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
// The resource is told of actions only that can be limited to some.
func notAuthorized(r request, resource string, decision iam.Decision) error {
	what, why := r.action, fmt.Sprintf("because no identity-based policy allows the %s:%s action", signingName, r.action)
	if resource != iam.AnyResource {
		what += " on resource: " + resource
	}
	if decision == iam.ExplicitDeny {
		why = "with an explicit deny in an identity-based policy"
	}
	return forbidden("AccessDenied", fmt.Sprintf("User: arn:aws:iam::%s:user/simulated is not authorized to perform: %s:%s %s", r.account, signingName, what, why))
}
