package elbsim

import (
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// rights gives a simulator on the wire with this policy; ARN stands for its group's.
func rights(t *testing.T, policy string) wire {
	t.Helper()
	w := newWire(t, nil)
	must(w.sim.PlantGroup(SeedGroup{Name: "api", Tags: map[string]string{"team": "shop"}}))(t)
	settings := w.sim.Settings()
	settings.IAMPolicy = []byte(strings.ReplaceAll(policy, "ARN", w.arn))
	if err := w.sim.Configure(settings); err != nil {
		t.Fatal(err)
	}
	return w
}

// call makes a call about a group by name and gives what AWS's answer says of it.
func (w wire) call(t *testing.T, action, group, parameters string) string {
	t.Helper()
	arn := group
	for _, g := range w.sim.Groups() {
		if g.Name == group {
			arn = g.ARN
		}
	}
	form := "Version=2015-12-01&Action=" + action + strings.ReplaceAll(parameters, "GROUP", url.QueryEscape(arn))
	status, body := w.post(t, signed("AKID"), form)
	if status == 200 {
		return "OK"
	}
	_, code, _ := strings.Cut(body, "<Code>")
	code, rest, _ := strings.Cut(code, "</Code>")
	_, message, _ := strings.Cut(rest, "<Message>")
	message, _, _ = strings.Cut(message, "</Message>")
	return strings.ReplaceAll(code+": "+message, arn, "GROUP")
}

const (
	aGroup   = "&TargetGroupArn=GROUP"
	aTarget  = aGroup + "&Targets.member.1.Id=10.0.0.1"
	tagGroup = "&ResourceArns.member.1=GROUP&Tags.member.1.Key=team&Tags.member.1.Value=shop"
)

func TestCallsComplyWithThePolicy(t *testing.T) {
	const user = "AccessDenied: User: arn:aws:iam::123456789012:user/simulated is not authorized to perform: elasticloadbalancing:"
	byTag := `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/team": "shop"}}}}`
	byARN := `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "ARN"}}`
	deny := `{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": ["elasticloadbalancing:R*", "elasticloadbalancing:DescribeTags"], "Resource": "*"}]}`
	byName := `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": ["arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/new/*", "arn:aws:elasticloadbalancing:*:*:loadbalancer/net/*"]}}`
	for _, c := range []struct{ name, policy, action, group, parameters, want string }{
		{"allowed for the ARN", byARN, "RegisterTargets", "web", aTarget, "OK"},
		{"not for another", byARN, "RegisterTargets", "api", aTarget, user + "RegisterTargets on resource: GROUP because no identity-based policy allows the elasticloadbalancing:RegisterTargets action"},
		{"looking is limited to nothing", byARN, "DescribeTargetHealth", "web", aGroup, user + "DescribeTargetHealth because no identity-based policy allows the elasticloadbalancing:DescribeTargetHealth action"},
		{"allowed by tag", byTag, "RegisterTargets", "api", aTarget, "OK"},
		{"without the tag", byTag, "DeregisterTargets", "web", aTarget, user + "DeregisterTargets on resource: GROUP because no identity-based policy allows the elasticloadbalancing:DeregisterTargets action"},
		{"the tags of no group", byTag, "RegisterTargets", "elsewhere", aTarget, user + "RegisterTargets on resource: GROUP because no identity-based policy allows the elasticloadbalancing:RegisterTargets action"},
		{"denied", deny, "RegisterTargets", "web", aTarget, user + "RegisterTargets on resource: GROUP with an explicit deny in an identity-based policy"},
		{"denied without a resource", deny, "DescribeTags", "web", "&ResourceArns.member.1=GROUP", user + "DescribeTags with an explicit deny in an identity-based policy"},
		{"not denied", deny, "DeregisterTargets", "web", aTarget, "OK"},
		{"one of several resources", byARN, "AddTags", "api", "&ResourceArns.member.2=GROUP" + strings.ReplaceAll(tagGroup, "GROUP", "ARN"), "AddTags"},
		{"a group to be made", byName, "CreateTargetGroup", "elsewhere", "&Name=new&Protocol=HTTP&Port=80&VpcId=vpc-1", "OK"},
		{"a group of another name", byName, "CreateTargetGroup", "elsewhere", "&Name=old&Protocol=HTTP&Port=80&VpcId=vpc-1", "CreateTargetGroup on resource: arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/old/* because"},
		{"a load balancer of another type", byName, "CreateLoadBalancer", "elsewhere", "&Name=new", "CreateLoadBalancer on resource: arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/new/* because"},
		{"a load balancer of this type", byName, "CreateLoadBalancer", "elsewhere", "&Name=new&Type=network&Subnets.member.1=subnet-1", "OK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := rights(t, c.policy)
			got := w.call(t, c.action, c.group, strings.ReplaceAll(c.parameters, "ARN", url.QueryEscape(w.arn)))
			if c.want == "OK" && got != "OK" || !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A policy goes with the settings: by the admin API, and away with null.
func TestPolicyIsASetting(t *testing.T) {
	w := rights(t, `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "ARN"}}`)
	settings := w.sim.Settings()
	for _, patch := range []string{
		`{"iamPolicy": {"Statement": {"Effect": "Allow", "Action": "Register", "Resource": "*"}}}`,
		`{"iamPolicy": {}}`,
	} {
		if _, err := settings.merged([]byte(patch)); err == nil || !strings.HasPrefix(err.Error(), "iamPolicy: ") {
			t.Errorf("%s: %v", patch, err)
		}
	}
	if string(settings.IAMPolicy) != string(w.sim.Settings().IAMPolicy) {
		t.Error("a patch that was refused has changed the policy")
	}
	free := must(settings.merged([]byte(`{"iamPolicy": null}`)))(t)
	if err := w.sim.Configure(free); err != nil {
		t.Fatal(err)
	}
	if got := w.call(t, "DescribeTargetHealth", "web", aGroup); got != "OK" {
		t.Error(got)
	}
}

// What Client does is bound by the policy as well.
func TestPolicyBindsCallsInProcess(t *testing.T) {
	w := rights(t, string(must(os.ReadFile(filepath.Join("..", "..", "config", "iam", "one-service-name.json")))(t)))
	client := w.sim.Client(DefaultAccount, DefaultRegion)
	for _, g := range w.sim.Groups() {
		arn := must(target.ParseARN(g.ARN))(t)
		err := client.DeregisterTargets(t.Context(), arn, []target.Target{{Key: target.Key{Addr: netip.MustParseAddr("10.0.0.1"), Port: 80}}})
		if allowed := g.Name == "web"; (err == nil) != allowed || elb.KindOf(err) == elb.AccessDenied == allowed {
			t.Errorf("%s: %v", g.Name, err)
		}
		if _, err := client.TargetHealth(t.Context(), arn); err != nil {
			t.Errorf("%s: %v", g.Name, err)
		}
	}
}

// limits names actions that are simulated, all but those that only look.
func TestAllChangesCanBeLimited(t *testing.T) {
	for action := range operations {
		if _, limited := limits[action]; limited == strings.HasPrefix(action, "Describe") {
			t.Errorf("%s: limited to resources: %v", action, limited)
		}
	}
	for action := range limits {
		if operations[action] == nil {
			t.Errorf("%s is not simulated", action)
		}
	}
}
