package iam

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	guide     = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
	logic     = guide + "reference_policies_evaluation-logic.html"
	interplay = guide + "reference_policies_evaluation-logic_AccessPolicyLanguage_Interplay.html"
	actions   = guide + "reference_policies_elements_action.html"
	notAction = guide + "reference_policies_elements_notaction.html"
	resources = guide + "reference_policies_elements_resource.html"
	keys      = guide + "reference_policies_elements_condition.html"
	comparing = guide + "reference_policies_elements_condition_operators.html"
	several   = guide + "reference_policies_condition-logic-multiple-context-keys-or-values.html"
	supported = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html"
)

const (
	// web is a target group with tags.
	web = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef"
	// topic is a resource with a colon in its name.
	topic = "arn:aws:sns:eu:1:topic:sub"
)

// policyOf is a document of these statements, in which elb stands for the service.
func policyOf(t interface{ Fatal(args ...any) }, statements ...string) Policy {
	document := `{"Version": "2012-10-17", "Statement": [` + strings.Join(statements, ",") + `]}`
	policy, err := Parse([]byte(strings.ReplaceAll(document, "elb:", "elasticloadbalancing:")))
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

const (
	allowRegister = `{"Effect": "Allow", "Action": "elb:RegisterTargets", "Resource": "*"}`
	denyRegister  = `{"Effect": "Deny", "Action": "elb:RegisterTargets", "Resource": "*"}`
	allowAll      = `{"Effect": "Allow", "Action": "*", "Resource": "*"}`
)

// allow is a statement that allows RegisterTargets with more in it.
func allow(more string) string {
	return `{"Effect": "Allow", "Action": "elb:RegisterTargets", ` + more + `}`
}

// where is a statement that allows RegisterTargets under a condition.
func where(condition string) string {
	return allow(`"Resource": "*", "Condition": {` + condition + `}`)
}

func TestDecisionsAreThoseThatAWSDocuments(t *testing.T) {
	for _, c := range []struct {
		rule, source string
		policy       []string
		action       string // RegisterTargets if empty
		resource     string // web if empty
		want         Decision
	}{
		{"what nothing allows is denied", logic, []string{`{"Effect": "Allow", "Action": "elb:DeregisterTargets", "Resource": "*"}`}, "", "", ImplicitDeny},
		{"one statement that allows is enough", logic, []string{allow(`"Resource": "arn:aws:s3:::bucket"`), allowRegister}, "", "", Allowed},
		{"deny wins, after allow", interplay, []string{allowRegister, denyRegister}, "", "", ExplicitDeny},
		{"deny wins, before allow", interplay, []string{denyRegister, allowAll}, "", "", ExplicitDeny},
		{"deny of something else denies nothing", interplay, []string{denyRegister, allowAll}, "DeregisterTargets", "", Allowed},
		{"deny alone allows nothing else", interplay, []string{denyRegister}, "DeregisterTargets", "", ImplicitDeny},

		{"a list of actions", actions, []string{`{"Effect": "Allow", "Action": ["elb:DescribeTags", "elb:RegisterTargets"], "Resource": "*"}`}, "", "", Allowed},
		{"case of actions does not matter", actions, []string{`{"Effect": "Allow", "Action": "ELASTICLOADBALANCING:registertargets", "Resource": "*"}`}, "", "", Allowed},
		{"* in an action", actions, []string{`{"Effect": "Allow", "Action": "elb:*Targets", "Resource": "*"}`}, "", "", Allowed},
		{"* in an action goes to the end", actions, []string{`{"Effect": "Allow", "Action": "elb:Register*s", "Resource": "*"}`}, "RegisterTarget", "", ImplicitDeny},
		{"? in an action is one character", actions, []string{`{"Effect": "Allow", "Action": "elb:RegisterTarget?", "Resource": "*"}`}, "", "", Allowed},
		{"? in an action is not none", actions, []string{`{"Effect": "Allow", "Action": "elb:RegisterTargets?", "Resource": "*"}`}, "", "", ImplicitDeny},
		{"another service", actions, []string{`{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}`}, "", "", ImplicitDeny},
		{"NotAction allows all others", notAction, []string{`{"Effect": "Allow", "NotAction": "elb:Create*", "Resource": "*"}`}, "", "", Allowed},
		{"NotAction leaves these", notAction, []string{`{"Effect": "Allow", "NotAction": ["elb:Create*", "elb:Register*"], "Resource": "*"}`}, "", "", ImplicitDeny},
		{"NotAction with Deny denies all others", notAction, []string{allowAll, `{"Effect": "Deny", "NotAction": "elb:Describe*", "Resource": "*"}`}, "", "", ExplicitDeny},
		{"NotAction with Deny spares these", notAction, []string{allowAll, `{"Effect": "Deny", "NotAction": "elb:Describe*", "Resource": "*"}`}, "DescribeTags", AnyResource, Allowed},

		{"the ARN itself", resources, []string{allow(`"Resource": "` + web + `"`)}, "", "", Allowed},
		{"* in an ARN", resources, []string{allow(`"Resource": "arn:aws:elb:eu-central-1:123456789012:targetgroup/web/*"`)}, "", "", Allowed},
		{"* may stand for slashes", resources, []string{allow(`"Resource": "arn:aws:elb:*:123456789012:targetgroup/*"`)}, "", "", Allowed},
		{"* stays in its part", resources, []string{allow(`"Resource": "arn:aws:sns:e*1:topic:sub"`)}, "", topic, ImplicitDeny},
		{"* in its part", resources, []string{allow(`"Resource": "arn:aws:elb:e*1:1*2:t*p/w*f"`)}, "", "", Allowed},
		{"* at the end of its part goes on", resources, []string{allow(`"Resource": "arn:aws:sns:*:topic:sub"`)}, "", topic, Allowed},
		{"? is no colon", resources, []string{allow(`"Resource": "arn:aws:sns:eu?1:topic:sub"`)}, "", topic, ImplicitDeny},
		{"what is special elsewhere is not here", resources, []string{allow(`"Resource": "arn:aws:elb:eu-central-1:123456789012:target.roup/(web|api)/.+"`)}, "", "", ImplicitDeny},
		{"? in an ARN", resources, []string{allow(`"Resource": "arn:aws:elb:eu-central-?:123456789012:targetgroup/we?/*"`)}, "", "", Allowed},
		{"case of ARNs matters", resources, []string{allow(`"Resource": "arn:aws:elb:eu-central-1:123456789012:targetgroup/Web/*"`)}, "", "", ImplicitDeny},
		{"one of several resources", resources, []string{allow(`"Resource": ["arn:aws:s3:::bucket", "` + web + `"]`)}, "", "", Allowed},
		{"another region", resources, []string{allow(`"Resource": "arn:aws:elb:us-east-1:123456789012:targetgroup/web/*"`)}, "", "", ImplicitDeny},
		{"a name that only begins so", resources, []string{allow(`"Resource": "arn:aws:elb:eu-central-1:123456789012:targetgroup/we/*"`)}, "", "", ImplicitDeny},
		{"an action without resources, limited to one", supported, []string{`{"Effect": "Allow", "Action": "elb:Describe*", "Resource": "` + web + `"}`}, "DescribeTags", AnyResource, ImplicitDeny},
		{"an action without resources, limited to many", supported, []string{`{"Effect": "Allow", "Action": "elb:Describe*", "Resource": "arn:*:elb:*:*:*"}`}, "DescribeTags", AnyResource, ImplicitDeny},

		{"StringEquals", comparing, []string{where(`"StringEquals": {"aws:ResourceTag/team": "shop"}`)}, "", "", Allowed},
		{"StringEquals minds the case of values", comparing, []string{where(`"StringEquals": {"aws:ResourceTag/team": "Shop"}`)}, "", "", ImplicitDeny},
		{"StringEquals knows no wildcard", comparing, []string{where(`"StringEquals": {"aws:ResourceTag/team": "sh*"}`)}, "", "", ImplicitDeny},
		{"StringLike", comparing, []string{where(`"StringLike": {"aws:ResourceTag/team": "s?o*"}`)}, "", "", Allowed},
		{"StringLike without a wildcard", comparing, []string{where(`"StringLike": {"aws:ResourceTag/team": "sho"}`)}, "", "", ImplicitDeny},
		{"StringLike of a longer value", comparing, []string{where(`"StringLike": {"aws:ResourceTag/team": "?hop?"}`)}, "", "", ImplicitDeny},
		{"a tag that is not there", comparing, []string{where(`"StringLike": {"aws:ResourceTag/owner": "*"}`)}, "", "", ImplicitDeny},
		{"deny by a tag that is not there", comparing, []string{allowAll, `{"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringLike": {"aws:ResourceTag/owner": "*"}}}`}, "", "", Allowed},
		{"the tags of no resource", comparing, []string{`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringLike": {"aws:ResourceTag/team": "*"}}}`}, "DescribeTags", AnyResource, ImplicitDeny},
		{"case of keys does not matter", keys, []string{where(`"StringEquals": {"AWS:resourcetag/Team": "shop"}`)}, "", "", Allowed},
		{"the service's own key", supported, []string{where(`"StringEquals": {"elb:ResourceTag/team": "shop"}`)}, "", "", Allowed},
		{"one of several values", several, []string{where(`"StringEquals": {"aws:ResourceTag/team": ["api", "shop"]}`)}, "", "", Allowed},
		{"all keys", several, []string{where(`"StringEquals": {"aws:ResourceTag/team": "shop", "aws:ResourceTag/stage": "live"}`)}, "", "", Allowed},
		{"not all keys", several, []string{where(`"StringEquals": {"aws:ResourceTag/team": "shop", "aws:ResourceTag/stage": "trial"}`)}, "", "", ImplicitDeny},
		{"not all operators", several, []string{where(`"StringEquals": {"aws:ResourceTag/team": "shop"}, "StringLike": {"aws:ResourceTag/stage": "t*"}`)}, "", "", ImplicitDeny},
	} {
		r := Request{Action: "elasticloadbalancing:RegisterTargets", Resource: web}
		if c.action != "" {
			r.Action = "elasticloadbalancing:" + c.action
		}
		if c.resource != "" {
			r.Resource = c.resource
		}
		if r.Resource == web {
			r.Tags = map[string]string{"team": "shop", "stage": "live"}
		}
		if got := policyOf(t, c.policy...).Decide(r); got != c.want {
			t.Errorf("%s (%s): %s, want %s", c.rule, c.source, got, c.want)
		}
	}
}

func TestOneStatementNeedsNoList(t *testing.T) {
	policy, err := Parse([]byte(`{"Id": "one", "Statement": {"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}}`))
	if err != nil || policy.Decide(Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::bucket/key"}) != Allowed {
		t.Errorf("%v %v", policy, err)
	}
	if got := (Policy{}).Decide(Request{Action: "s3:GetObject"}); got != ImplicitDeny {
		t.Errorf("a policy without statements says %s", got)
	}
}

func TestWrongDocumentsAreRefusedByName(t *testing.T) {
	inside := func(element string) string {
		return `{"Statement": [` + allowAll + `, {"Effect": "Allow", "Action": "*", "Resource": "*", ` + element + `}]}`
	}
	for _, c := range []struct{ document, want string }{
		{"", "line 1 is not JSON"},
		{"{\n\"Statement\": [\n}", "line 3 is not JSON"},
		{`[]`, `the document: [] is no object`},
		{`{}`, "the document has no Statement"},
		{`{"Version": "2012-10-18", "Statement": ` + allowAll + `}`, `Version: "2012-10-18": want 2012-10-17 or 2008-10-17`},
		{`{"Id": 1, "Statement": ` + allowAll + `}`, `Id: 1 is no string`},
		{`{"statement": ` + allowAll + `}`, `statement: no element of a policy: want Version, Id and Statement`},
		{`{"Statement": []}`, `Statement: empty`},
		{`{"Statement": null}`, `Statement: null is no object`},
		{`{"Statement": ["x"]}`, `Statement[0]: "x" is no object`},
		{`{"Statement": [{"Action": "*", "Resource": "*"}]}`, `Statement[0]: Effect is missing: want Allow or Deny`},
		{`{"Statement": [{"Effect": "Allow", "Action": "*"}]}`, `Statement[0]: Resource is missing`},
		{`{"Statement": [{"Effect": "Allow", "Resource": "*"}]}`, `Statement[0]: want either Action or NotAction`},
		{inside(`"NotAction": "*"`), `Statement[1]: want either Action or NotAction`},
		{inside(`"Action": "elb:*"`), `Statement[1].Action: there twice`},
		{`{"Statement": [{"Effect": "allow", "Action": "*", "Resource": "*"}]}`, `Statement[0].Effect: "allow": want Allow or Deny`},
		{`{"Statement": [{"Effect": "Allow", "Action": "RegisterTargets", "Resource": "*"}]}`, `Statement[0].Action: "RegisterTargets": want SERVICE:NAME`},
		{`{"Statement": [{"Effect": "Allow", "Action": ["*", "*:Describe"], "Resource": "*"}]}`, `Statement[0].Action[1]: "*:Describe": want SERVICE:NAME`},
		{`{"Statement": [{"Effect": "Allow", "Action": [], "Resource": "*"}]}`, `Statement[0].Action: empty`},
		{`{"Statement": [{"Effect": "Allow", "Action": [["*"]], "Resource": "*"}]}`, `Statement[0].Action[0]: ["*"] is no string`},
		{`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:elb:*"}]}`, `Statement[0].Resource: "arn:aws:elb:*": want an ARN with all its six parts`},
		{`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:*:eu-central-1:123456789012:x"}]}`, `want an ARN`},
		{`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::${aws:username}"}]}`, `has a policy variable, which is not simulated: write its value`},
		{inside(`"Principal": "*"`), `Statement[1].Principal: an identity-based policy has none: remove it`},
		{inside(`"NotResource": "*"`), `Statement[1].NotResource: not simulated: name the resources`},
		{inside(`"Actions": "*"`), `Statement[1].Actions: no element of a statement`},
		{inside(`"Sid": "with space"`), `Statement[1].Sid: "with space": want letters and digits only`},
		{`{"Statement": [{"Sid": "A", "Effect": "Allow", "Action": "*", "Resource": "*"}, {"Sid": "A", "Effect": "Deny", "Action": "*", "Resource": "*"}]}`, `Statement[1]: Sid "A" is there twice`},
		{inside(`"Condition": {"DateLessThan": {"aws:CurrentTime": "2026-01-01"}}`), `Statement[1].Condition.DateLessThan: this operator is not simulated: want StringEquals or StringLike`},
		{inside(`"Condition": {"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}`), `Statement[1].Condition.StringEquals.aws:RequestedRegion: this key is not simulated: want aws:ResourceTag/TAG`},
		{inside(`"Condition": {"StringEquals": {"aws:ResourceTag/": "x"}}`), `this key is not simulated`},
		{inside(`"Condition": {"StringEquals": {"aws:ResourceTag/team": true}}`), `Condition.StringEquals.aws:ResourceTag/team: true is no string`},
		{inside(`"Condition": {"StringEquals": {"aws:ResourceTag/team": "a"}, "StringEquals": {"aws:ResourceTag/stage": "b"}}`), `Condition.StringEquals: there twice: put both into one`},
		{inside(`"Condition": "x"`), `Statement[1].Condition: "x" is no object`},
		{inside(`"Condition": {"StringEquals": "x"}`), `Statement[1].Condition.StringEquals: "x" is no object`},
	} {
		if _, err := Parse([]byte(c.document)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n  %v\n  want %s", c.document, err, c.want)
		}
	}
}

// Whatever a document says: it can be read or it is refused, a statement that denies
// all is heard, and the order of statements does not matter.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"Version": "2012-10-17", "Statement": [` + allowAll + `,` + denyRegister + `]}`))
	f.Add([]byte(`{"Statement": ` + where(`"StringLike": {"aws:ResourceTag/team": ["s*", "?"]}`) + `}`))
	f.Add([]byte(`{"Id": "x", "Statement": {"Sid": "y", "Effect": "Deny", "NotAction": ["elasticloadbalancing:D?*"], "Resource": ["` + web + `"]}}`))
	f.Add([]byte(`{"Statement": {"Statement": null}}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		policy, err := Parse(document)
		if err != nil {
			return
		}
		r := Request{Action: "elasticloadbalancing:RegisterTargets", Resource: web, Tags: map[string]string{"team": "shop"}}
		said := policy.Decide(r)
		slices.Reverse(policy.statements)
		if again := policy.Decide(r); again != said {
			t.Errorf("%s, and %s in another order", said, again)
		}
		policy.statements = append(policy.statements, statement{deny: true, actions: []*regexp.Regexp{actionLike("*")}, resources: []*regexp.Regexp{resourceLike("*")}})
		if got := policy.Decide(r); got != ExplicitDeny {
			t.Errorf("%s, though a statement denies all", got)
		}
	})
}
