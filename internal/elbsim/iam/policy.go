// Package iam decides what an identity-based policy document of AWS allows. It reads
// the part of the policy language that policies for ELBv2 need, and refuses the rest
// by name, so that no document is taken for more, or less, than AWS would take it for.
//
// Sources are the pages of AWS's IAM User Guide, under
// https://docs.aws.amazon.com/IAM/latest/UserGuide/, that the functions name.
package iam

import (
	"regexp"
	"slices"
	"strings"
)

// Policy is a document that was read. The zero value allows nothing. It never changes,
// and may be used from many goroutines.
type Policy struct{ statements []statement }

// Decision is what a policy says to a request.
type Decision string

const (
	// Allowed is for what a statement allows, and none denies.
	Allowed Decision = "allowed"
	// ImplicitDeny is for what no statement speaks of.
	ImplicitDeny Decision = "implicit deny"
	// ExplicitDeny is for what a statement denies, whatever others allow.
	ExplicitDeny Decision = "explicit deny"
)

// Request is what somebody wants to do.
type Request struct {
	// Action is the service and the name, such as elasticloadbalancing:RegisterTargets.
	Action string
	// Resource is an ARN; AnyResource for actions that are not limited to resources.
	Resource string
	// Tags are those of the resource.
	Tags map[string]string
}

// AnyResource is the resource of an action that AWS does not limit to resources. A
// statement applies to it only if it names all resources, by the same sign.
const AnyResource = "*"

// Decide judges a request: what nothing allows is denied, and a statement that denies
// outweighs all that allow (reference_policies_evaluation-logic.html).
func (p Policy) Decide(r Request) Decision {
	decision := ImplicitDeny
	for _, s := range p.statements {
		switch {
		case !s.applies(r):
		case s.deny:
			return ExplicitDeny
		default:
			decision = Allowed
		}
	}
	return decision
}

// statement is one statement. It applies to a request whose action, resource and
// circumstances all match.
type statement struct {
	deny       bool
	except     bool // actions are those that it does not speak of
	actions    []*regexp.Regexp
	resources  []*regexp.Regexp // of ARNs with a colon at the end
	conditions []condition
}

func (s statement) applies(r Request) bool {
	return matches(s.actions, r.Action) != s.except && matches(s.resources, r.Resource+":") &&
		!slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.holds(r) })
}

func matches(patterns []*regexp.Regexp, text string) bool {
	return slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(text) })
}

// condition compares the value of one tag. All conditions of a statement must hold,
// and of the values one must match
// (reference_policies_condition-logic-multiple-context-keys-or-values.html).
type condition struct {
	tag    string
	values []*regexp.Regexp
}

// holds is false where the resource does not have the tag
// (reference_policies_elements_condition_operators.html). The names of keys are not
// case-sensitive, that of the tag included (reference_policies_elements_condition.html).
func (c condition) holds(r Request) bool {
	for key, value := range r.Tags {
		if strings.EqualFold(key, c.tag) && matches(c.values, value) {
			return true
		}
	}
	return false
}

// exactly is a pattern without wildcards.
func exactly(value string) *regexp.Regexp {
	return regexp.MustCompile(`(?s)^` + regexp.QuoteMeta(value) + `$`)
}

// like is a pattern in which * stands for any characters, be it none, and ? for any one.
func like(value string) *regexp.Regexp {
	wildcards := strings.NewReplacer(`\*`, `.*`, `\?`, `.`)
	return regexp.MustCompile(`(?s)^` + wildcards.Replace(regexp.QuoteMeta(value)) + `$`)
}

// actionLike is like, without regard to case (reference_policies_elements_action.html).
func actionLike(value string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)` + like(value).String())
}

// resourceLike is like for an ARN that a colon was put behind. A wildcard stands for
// characters of its part, between two colons; * at the end of its part for colons, too
// (reference_policies_elements_resource.html).
func resourceLike(value string) *regexp.Regexp {
	if value == AnyResource {
		return like(value)
	}
	wildcards := strings.NewReplacer(`\*:`, `.*:`, `\*`, `[^:]*`, `\?`, `[^:]`)
	return regexp.MustCompile(`(?s)^` + wildcards.Replace(regexp.QuoteMeta(value+":")) + `$`)
}
