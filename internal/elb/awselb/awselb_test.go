package awselb

import (
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// key reads address:port. AWS may name targets without a port, which is 0 then.
func key(s string) target.Key {
	at := netip.MustParseAddrPort(s)
	return target.Key{Addr: at.Addr(), Port: at.Port()}
}

// threeTargets are one plain, one with a zone, one without a port.
var threeTargets = []target.Target{
	{Key: key("10.0.0.1:8080")},
	{Key: key("[2001:db8::1]:443"), Zone: target.ZoneAll},
	{Key: target.Key{Addr: netip.MustParseAddr("10.0.0.3")}, Zone: "eu-central-1a"},
}

func wantForm(action string) url.Values {
	return url.Values{
		"Action":                            {action},
		"Version":                           {"2015-12-01"},
		"TargetGroupArn":                    {group.String()},
		"Targets.member.1.Id":               {"10.0.0.1"},
		"Targets.member.1.Port":             {"8080"},
		"Targets.member.2.Id":               {"2001:db8::1"},
		"Targets.member.2.Port":             {"443"},
		"Targets.member.2.AvailabilityZone": {"all"},
		"Targets.member.3.Id":               {"10.0.0.3"},
		"Targets.member.3.AvailabilityZone": {"eu-central-1a"},
	}
}

func TestRegisterAndDeregisterRequests(t *testing.T) {
	e := serve(t)
	e.answer("RegisterTargets", xml("RegisterTargets", ""))
	e.answer("DeregisterTargets", xml("DeregisterTargets", ""))
	c := e.client(t, Options{Version: "1.2.3"})
	if err := c.RegisterTargets(t.Context(), group, threeTargets); err != nil {
		t.Fatal(err)
	}
	if err := c.DeregisterTargets(t.Context(), group, threeTargets); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"RegisterTargets", "DeregisterTargets"} {
		asked := e.requests(action)
		if len(asked) != 1 {
			t.Fatalf("%d requests of %s, want 1", len(asked), action)
		}
		if want := wantForm(action); !reflect.DeepEqual(asked[0].Form, want) {
			t.Errorf("%s sent\n%v\nwant\n%v", action, asked[0].Form, want)
		}
		checkHead(t, asked[0])
	}
}

func checkHead(t *testing.T, r request) {
	t.Helper()
	if r.Method != "POST" || r.Path != "/" {
		t.Errorf("sent %s %s, want POST /", r.Method, r.Path)
	}
	if agent := r.Header.Get("User-Agent"); !strings.Contains(agent, "tgc/1.2.3") {
		t.Errorf("user agent %q, want tgc/1.2.3 in it", agent)
	}
	if auth := r.Header.Get("Authorization"); !strings.Contains(auth, "/eu-central-1/elasticloadbalancing/aws4_request") {
		t.Errorf("signed for %q", auth)
	}
}

func TestTargetHealthAnswer(t *testing.T) {
	e := serve(t)
	e.answer("DescribeTargetHealth", xml("DescribeTargetHealth", `<TargetHealthDescriptions>
<member><HealthCheckPort>8080</HealthCheckPort><TargetHealth><State>healthy</State></TargetHealth>
  <Target><Id>10.0.0.1</Id><Port>8080</Port><AvailabilityZone>eu-central-1a</AvailabilityZone></Target></member>
<member><TargetHealth><State>unhealthy</State><Reason>Target.ResponseCodeMismatch</Reason>
  <Description>Health checks failed with these codes: [503]</Description></TargetHealth>
  <Target><Id>10.0.0.2</Id><Port>80</Port><AvailabilityZone>all</AvailabilityZone></Target></member>
<member><TargetHealth><State>levitating</State><Reason>Elb.New</Reason></TargetHealth>
  <Target><Id>::ffff:10.0.0.3</Id></Target></member>
<member><TargetHealth><State>healthy</State></TargetHealth>
  <Target><Id>i-0f76fade</Id><Port>80</Port></Target></member>
<member><Target><Id>2001:db8::1</Id><Port>70000</Port></Target></member>
<member><TargetHealth><State>healthy</State></TargetHealth></member>
</TargetHealthDescriptions>`))
	got, err := e.client(t, Options{}).TargetHealth(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	want := []target.Observed{
		{Target: target.Target{Key: key("10.0.0.1:8080"), Zone: "eu-central-1a"}, Health: target.Health{State: target.Healthy}},
		{Target: target.Target{Key: key("10.0.0.2:80"), Zone: "all"}, Health: target.Health{
			State: target.Unhealthy, Reason: "Target.ResponseCodeMismatch", Description: "Health checks failed with these codes: [503]",
		}},
		{Target: target.Target{Key: key("10.0.0.3:0")}, Health: target.Health{State: "levitating", Reason: "Elb.New"}},
		{Target: target.Target{Key: key("[2001:db8::1]:0")}},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	wantAsked := url.Values{"Action": {"DescribeTargetHealth"}, "Version": {"2015-12-01"}, "TargetGroupArn": {group.String()}}
	if asked := e.requests("DescribeTargetHealth"); !reflect.DeepEqual(asked[0].Form, wantAsked) {
		t.Errorf("sent %v, want %v", asked[0].Form, wantAsked)
	}
}

func TestTargetHealthOfAnEmptyGroup(t *testing.T) {
	e := serve(t)
	e.answer("DescribeTargetHealth", xml("DescribeTargetHealth", "<TargetHealthDescriptions/>"))
	got, err := e.client(t, Options{}).TargetHealth(t.Context(), group)
	if err != nil || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

const groupsAnswer = `<TargetGroups>
<member><TargetGroupArn>arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/web/0123456789abcdef</TargetGroupArn>
  <TargetGroupName>web</TargetGroupName><Protocol>HTTP</Protocol><Port>8080</Port><VpcId>vpc-1</VpcId>
  <TargetType>ip</TargetType><IpAddressType>ipv6</IpAddressType><HealthCheckEnabled>true</HealthCheckEnabled>
  <LoadBalancerArns><member>arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/a/50dc6c495c0c9188</member></LoadBalancerArns></member>
<member><TargetGroupArn>arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/fn/0123456789abcde0</TargetGroupArn>
  <TargetGroupName>fn</TargetGroupName><TargetType>lambda</TargetType></member>
</TargetGroups>`

func TestTargetGroupsAnswer(t *testing.T) {
	e := serve(t)
	e.answer("DescribeTargetGroups", xml("DescribeTargetGroups", groupsAnswer))
	c := e.client(t, Options{})
	got, err := c.TargetGroups(t.Context(), elb.GroupQuery{ARNs: []target.ARN{group}})
	if err != nil {
		t.Fatal(err)
	}
	fn := group
	fn.Name, fn.ID = "fn", "0123456789abcde0"
	want := []target.Group{
		{
			ARN: group, Type: target.TypeIP, Family: target.IPv6, Protocol: "HTTP", Port: 8080, VPCID: "vpc-1",
			LoadBalancers: []string{"arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/a/50dc6c495c0c9188"},
		},
		{ARN: fn, Type: target.TypeLambda, Family: target.IPv4},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if got := e.requests("DescribeTargetGroups")[0].Form.Get("TargetGroupArns.member.1"); got != group.String() {
		t.Errorf("asked for the group %q", got)
	}
}

func TestTargetGroupsByName(t *testing.T) {
	e := serve(t)
	e.answer("DescribeTargetGroups", xml("DescribeTargetGroups", groupsAnswer))
	_, err := e.client(t, Options{}).TargetGroups(t.Context(), elb.GroupQuery{Names: []string{"web", "fn"}})
	form := e.requests("DescribeTargetGroups")[0].Form
	if err != nil || form.Get("Names.member.1") != "web" || form.Get("Names.member.2") != "fn" {
		t.Errorf("sent %v, got %v", form, err)
	}
}

func TestTargetGroupsOfNoNameCostsNoCall(t *testing.T) {
	e := serve(t)
	got, err := e.client(t, Options{}).TargetGroups(t.Context(), elb.GroupQuery{})
	if len(got) != 0 || err != nil || len(e.requests("DescribeTargetGroups")) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestTargetGroupsWithAnARNOfAnotherForm(t *testing.T) {
	e := serve(t)
	e.answer("DescribeTargetGroups", xml("DescribeTargetGroups",
		`<TargetGroups><member><TargetGroupArn>arn:aws:elasticloadbalancing:nowhere</TargetGroupArn></member></TargetGroups>`))
	_, err := e.client(t, Options{}).TargetGroups(t.Context(), elb.GroupQuery{Names: []string{"web"}})
	if elb.KindOf(err) != elb.InvalidRequest || !strings.Contains(err.Error(), "in AWS's answer") {
		t.Errorf("got %v", err)
	}
}

func TestEmptyListGoesToAWS(t *testing.T) {
	e := serve(t)
	e.answer("RegisterTargets", refuse("ValidationError", "A target must be specified", 400))
	err := e.client(t, Options{}).RegisterTargets(t.Context(), group, nil)
	if elb.KindOf(err) != elb.InvalidRequest || len(e.requests("RegisterTargets")) != 1 {
		t.Errorf("got %v", err)
	}
}
