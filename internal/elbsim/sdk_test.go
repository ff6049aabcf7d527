package elbsim_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

// served is a simulator behind its AWS-protocol server, running till the test ends.
func served(t *testing.T, settings elbsim.Settings) (*elbsim.Sim, string) {
	t.Helper()
	sim, err := elbsim.Start(elbsim.Options{Settings: &settings, Check: elbsim.AlwaysPass})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Stop(); err != nil {
			t.Error(err)
		}
	})
	return sim.Sim, sim.Endpoint
}

func quick() elbsim.Settings {
	settings := elbsim.DefaultSettings()
	settings.Buckets, settings.ALBRegistration, settings.DeregistrationDelay = nil, 0, 0
	return settings
}

// sdk is the AWS SDK for Go, set up as people do.
func sdk(endpoint, key string) *elbv2.Client {
	return elbv2.New(elbv2.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(endpoint), HTTPClient: &http.Client{Transport: &http.Transport{}},
		Credentials: credentials.NewStaticCredentialsProvider(key, "secret", ""),
	})
}

// makeGroup makes a group behind a load balancer through the SDK.
func makeGroup(t *testing.T, client *elbv2.Client) (balancer, group string) {
	t.Helper()
	made, err := client.CreateTargetGroup(t.Context(), &elbv2.CreateTargetGroupInput{
		Name: aws.String("web"), TargetType: types.TargetTypeEnumIp, Protocol: types.ProtocolEnumHttp, Port: aws.Int32(80),
		VpcId: aws.String("vpc-1"), HealthCheckPath: aws.String("/healthz"), HealthCheckIntervalSeconds: aws.Int32(10),
		Matcher: &types.Matcher{HttpCode: aws.String("200-299")}, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	front, err := client.CreateLoadBalancer(t.Context(), &elbv2.CreateLoadBalancerInput{
		Name: aws.String("front"), Type: types.LoadBalancerTypeEnumApplication, Subnets: []string{"subnet-1", "subnet-2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CreateListener(t.Context(), &elbv2.CreateListenerInput{
		LoadBalancerArn: front.LoadBalancers[0].LoadBalancerArn, Protocol: types.ProtocolEnumHttp, Port: aws.Int32(80),
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: made.TargetGroups[0].TargetGroupArn}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *front.LoadBalancers[0].LoadBalancerArn, *made.TargetGroups[0].TargetGroupArn
}

func TestSDKWaiters(t *testing.T) {
	t.Parallel()
	_, endpoint := served(t, quick())
	client := sdk(endpoint, "AKID")
	_, group := makeGroup(t, client)
	targets := []types.TargetDescription{{Id: aws.String("10.0.0.1"), Port: aws.Int32(8080)}}
	if _, err := client.RegisterTargets(t.Context(), &elbv2.RegisterTargetsInput{TargetGroupArn: &group, Targets: targets}); err != nil {
		t.Fatal(err)
	}
	look := &elbv2.DescribeTargetHealthInput{TargetGroupArn: &group, Targets: targets}
	inService := elbv2.NewTargetInServiceWaiter(client, func(o *elbv2.TargetInServiceWaiterOptions) { o.MinDelay = time.Millisecond })
	if err := inService.Wait(t.Context(), look, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeregisterTargets(t.Context(), &elbv2.DeregisterTargetsInput{TargetGroupArn: &group, Targets: targets}); err != nil {
		t.Fatal(err)
	}
	gone := elbv2.NewTargetDeregisteredWaiter(client, func(o *elbv2.TargetDeregisteredWaiterOptions) { o.MinDelay = time.Millisecond })
	if err := gone.Wait(t.Context(), look, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func TestSDKReadsWhatItWrote(t *testing.T) {
	t.Parallel()
	_, endpoint := served(t, quick())
	client := sdk(endpoint, "AKID")
	balancer, group := makeGroup(t, client)
	groups, err := client.DescribeTargetGroups(t.Context(), &elbv2.DescribeTargetGroupsInput{LoadBalancerArn: &balancer})
	if err != nil {
		t.Fatal(err)
	}
	got := groups.TargetGroups[0]
	if *got.HealthCheckPath != "/healthz" || *got.HealthCheckIntervalSeconds != 10 || *got.Matcher.HttpCode != "200-299" ||
		got.TargetType != types.TargetTypeEnumIp || got.IpAddressType != types.TargetGroupIpAddressTypeEnumIpv4 || got.LoadBalancerArns[0] != balancer {
		t.Errorf("got %+v", got)
	}
	delay := []types.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("7")}}
	if _, err := client.ModifyTargetGroupAttributes(t.Context(), &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: &group, Attributes: delay}); err != nil {
		t.Fatal(err)
	}
	attributes, err := client.DescribeTargetGroupAttributes(t.Context(), &elbv2.DescribeTargetGroupAttributesInput{TargetGroupArn: &group})
	if err != nil || !holds(attributes.Attributes, "deregistration_delay.timeout_seconds", "7") {
		t.Errorf("got %+v, %v", attributes, err)
	}
	tags, err := client.DescribeTags(t.Context(), &elbv2.DescribeTagsInput{ResourceArns: []string{group, balancer}})
	if err != nil || len(tags.TagDescriptions) != 2 || *tags.TagDescriptions[0].Tags[0].Value != "blue" {
		t.Errorf("got %+v, %v", tags, err)
	}
	listeners, err := client.DescribeListeners(t.Context(), &elbv2.DescribeListenersInput{LoadBalancerArn: &balancer})
	if err != nil || *listeners.Listeners[0].DefaultActions[0].TargetGroupArn != group {
		t.Errorf("got %+v, %v", listeners, err)
	}
	balancers, err := client.DescribeLoadBalancers(t.Context(), &elbv2.DescribeLoadBalancersInput{Names: []string{"front"}})
	if err != nil || balancers.LoadBalancers[0].State.Code != types.LoadBalancerStateEnumActive || balancers.LoadBalancers[0].CreatedTime == nil {
		t.Errorf("got %+v, %v", balancers, err)
	}
}

func holds(attributes []types.TargetGroupAttribute, key, value string) bool {
	for _, a := range attributes {
		if *a.Key == key {
			return *a.Value == value
		}
	}
	return false
}

func TestSDKPaginates(t *testing.T) {
	t.Parallel()
	sim, endpoint := served(t, quick())
	for i := range 7 {
		if _, err := sim.PlantGroup(elbsim.SeedGroup{Name: fmt.Sprintf("g%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	pages := elbv2.NewDescribeTargetGroupsPaginator(sdk(endpoint, "AKID"), &elbv2.DescribeTargetGroupsInput{PageSize: aws.Int32(3)})
	var names []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range page.TargetGroups {
			names = append(names, *group.TargetGroupName)
		}
	}
	if got := strings.Join(names, " "); got != "g0 g1 g2 g3 g4 g5 g6" {
		t.Errorf("got %s", got)
	}
}

func TestSDKUnderstandsErrors(t *testing.T) {
	t.Parallel()
	settings := quick()
	settings.Credentials = []elbsim.Credential{{AccessKey: "AKID"}}
	sim, endpoint := served(t, settings)
	client := sdk(endpoint, "AKID")
	_, err := client.DescribeTargetGroups(t.Context(), &elbv2.DescribeTargetGroupsInput{Names: []string{"nope"}})
	if _, is := errors.AsType[*types.TargetGroupNotFoundException](err); !is {
		t.Errorf("got %v", err)
	}
	_, err = sdk(endpoint, "OTHER").DescribeTargetGroups(t.Context(), &elbv2.DescribeTargetGroupsInput{})
	if api, is := errors.AsType[smithy.APIError](err); !is || api.ErrorCode() != "InvalidClientTokenId" {
		t.Errorf("got %v", err)
	}
	_, group := makeGroup(t, client)
	_, err = client.RegisterTargets(t.Context(), &elbv2.RegisterTargetsInput{TargetGroupArn: &group, Targets: []types.TargetDescription{{Id: aws.String("8.8.8.8")}}})
	if _, is := errors.AsType[*types.InvalidTargetException](err); !is {
		t.Errorf("got %v", err)
	}
	_, err = client.DeleteTargetGroup(t.Context(), &elbv2.DeleteTargetGroupInput{TargetGroupArn: &group})
	if _, is := errors.AsType[*types.ResourceInUseException](err); !is {
		t.Errorf("got %v", err)
	}
	if calls := sim.Calls(); calls[0].Attempt != "attempt=1; max=3" {
		t.Errorf("the SDK's attempt is logged as %q", calls[0].Attempt)
	}
}

// The SDK repeats a throttled call by itself: the log shows every attempt.
func TestSDKRetriesAreSeen(t *testing.T) {
	t.Parallel()
	sim, endpoint := served(t, quick())
	if _, err := sim.AddFault(elbsim.Fault{Kind: elbsim.FaultThrottle, Count: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := sdk(endpoint, "AKID").DescribeTargetGroups(t.Context(), &elbv2.DescribeTargetGroupsInput{}); err != nil {
		t.Fatal(err)
	}
	calls := sim.Calls()
	if len(calls) != 2 || calls[0].Code != "Throttling" || calls[1].Attempt != "attempt=2; max=3" {
		t.Errorf("got %+v", calls)
	}
}

// The calls that Terraform's provider makes for a target group and for a target of
// it, in its order, as its source has them. Terraform itself is not run.
func TestSDKCallsOfTerraform(t *testing.T) {
	t.Parallel()
	sim, endpoint := served(t, quick())
	client, ctx := sdk(endpoint, "AKID"), t.Context()
	_, err := client.DescribeTargetGroups(ctx, &elbv2.DescribeTargetGroupsInput{Names: []string{"web"}})
	if _, is := errors.AsType[*types.TargetGroupNotFoundException](err); !is {
		t.Fatalf("got %v", err)
	}
	balancer, group := makeGroup(t, client)
	attributes := map[string]string{
		"deregistration_delay.timeout_seconds": "30", "load_balancing.algorithm.type": "least_outstanding_requests",
		"load_balancing.algorithm.anomaly_mitigation": "off", "load_balancing.cross_zone.enabled": "true", "slow_start.duration_seconds": "30",
		"stickiness.enabled": "true", "stickiness.type": "lb_cookie", "stickiness.lb_cookie.duration_seconds": "3600",
		"target_group_health.dns_failover.minimum_healthy_targets.count": "1", "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
	}
	var changes []types.TargetGroupAttribute
	for key, value := range attributes {
		changes = append(changes, types.TargetGroupAttribute{Key: aws.String(key), Value: aws.String(value)})
	}
	target := []types.TargetDescription{{Id: aws.String("10.0.0.1"), Port: aws.Int32(8080)}}
	for _, call := range []func() error{
		func() error {
			_, err := client.ModifyTargetGroupAttributes(ctx, &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: &group, Attributes: changes})
			return err
		},
		func() error {
			got, err := client.DescribeTargetGroupAttributes(ctx, &elbv2.DescribeTargetGroupAttributesInput{TargetGroupArn: &group})
			for key, value := range attributes {
				if err == nil && !holds(got.Attributes, key, value) {
					t.Errorf("attribute %s is not %s", key, value)
				}
			}
			return err
		},
		func() error {
			_, err := client.DescribeTags(ctx, &elbv2.DescribeTagsInput{ResourceArns: []string{group}})
			return err
		},
		func() error {
			_, err := client.ModifyTargetGroup(ctx, &elbv2.ModifyTargetGroupInput{
				TargetGroupArn: &group, HealthCheckEnabled: aws.Bool(true), HealthCheckPath: aws.String("/up"), HealthCheckPort: aws.String("traffic-port"),
				HealthCheckProtocol: types.ProtocolEnumHttp, Matcher: &types.Matcher{HttpCode: aws.String("200")},
			})
			return err
		},
		func() error {
			_, err := client.RegisterTargets(ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: &group, Targets: target})
			return err
		},
		func() error {
			got, err := client.DescribeTargetHealth(ctx, &elbv2.DescribeTargetHealthInput{TargetGroupArn: &group, Targets: target})
			if err == nil && len(got.TargetHealthDescriptions) != 1 {
				t.Errorf("got %+v", got)
			}
			return err
		},
		func() error {
			_, err := client.DeregisterTargets(ctx, &elbv2.DeregisterTargetsInput{TargetGroupArn: &group, Targets: target})
			return err
		},
		func() error {
			_, err := client.DeleteLoadBalancer(ctx, &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: &balancer})
			return err
		},
		func() error {
			_, err := client.DeleteTargetGroup(ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: &group})
			return err
		},
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
	for _, call := range sim.Calls() {
		if call.Ignored != nil {
			t.Errorf("%s: %q made no difference", call.Action, call.Ignored)
		}
	}
}
