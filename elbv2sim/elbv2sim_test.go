package elbv2sim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"github.com/targetgroupcontroller/targetgroupcontroller/elbv2sim"
)

// patience bounds waits for conditions; a test that needs it fails.
const patience = 5 * time.Minute

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// sdk is the AWS SDK for Go, which tries each call once.
func sdk(url string) *elbv2.Client {
	return elbv2.New(elbv2.Options{
		Region: elbv2sim.DefaultRegion, BaseEndpoint: aws.String(url), RetryMaxAttempts: 1,
		HTTPClient:  &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
	})
}

func register(t *testing.T, client *elbv2.Client, group, address string, port int32) error {
	t.Helper()
	_, err := client.RegisterTargets(t.Context(), &elbv2.RegisterTargetsInput{
		TargetGroupArn: &group, Targets: []types.TargetDescription{{Id: &address, Port: &port}},
	})
	return err
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// web is a world with one group in use, and one that is not.
func web() elbv2sim.Seed {
	return elbv2sim.Seed{Groups: []elbv2sim.Group{
		{Name: "web", LoadBalancer: "front", Attributes: map[string]string{"deregistration_delay.timeout_seconds": "30"}},
		{Name: "idle", Targets: []string{"10.0.0.7:80"}},
	}}
}

func TestTargetsComeAndGo(t *testing.T) {
	t.Parallel()
	sim := elbv2sim.Start(t, elbv2sim.Options{Seed: web(), Speed: 300})
	ctx, client := soon(t), sdk(sim.URL)
	group := must(sim.Group(ctx, "web"))(t)
	ok(t, register(t, client, group.ARN, "10.0.0.1", 8080))
	ok(t, sim.AwaitTarget(ctx, "web", "10.0.0.1:8080", elbv2sim.Healthy))
	ok(t, sim.OverrideHealth(ctx, "web", "10.0.0.1:8080", elbv2sim.Unhealthy))
	ok(t, sim.AwaitTarget(ctx, group.ARN, "10.0.0.1:8080", elbv2sim.Unhealthy))
	if forced := must(sim.Group(ctx, "web"))(t).Target("10.0.0.1:8080"); !forced.Forced || forced.Since.IsZero() {
		t.Errorf("got %+v", forced)
	}
	_, err := client.DeregisterTargets(ctx, &elbv2.DeregisterTargetsInput{
		TargetGroupArn: &group.ARN, Targets: []types.TargetDescription{{Id: aws.String("10.0.0.1"), Port: aws.Int32(8080)}},
	})
	ok(t, err)
	ok(t, sim.AwaitTarget(ctx, "web", "10.0.0.1:8080", elbv2sim.Absent))
	if idle := must(sim.Group(ctx, "idle"))(t); idle.Target("10.0.0.7:80").State != elbv2sim.Unused {
		t.Errorf("got %+v", idle)
	}
}

// onceWaiting is the admin API of a simulator by a way that calls told when a client
// has seen how things are and waits for a change.
func onceWaiting(t *testing.T, sim *elbv2sim.Server, told func()) *elbv2sim.Admin {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(must(url.Parse(sim.URL + "/_sim"))(t))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("after") != "0" {
			told()
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return elbv2sim.Connect(server.URL)
}

func TestAwaitTellsWhatItSawLast(t *testing.T) {
	t.Parallel()
	sim := elbv2sim.Start(t, elbv2sim.Options{Seed: web(), HealthChecks: elbv2sim.None})
	for _, c := range []struct {
		group, target string
		want          elbv2sim.State
		says          string
	}{
		{"idle", "10.0.0.7:80", elbv2sim.Healthy, "target 10.0.0.7:80 is unused (Target.NotInUse), want healthy"},
		{"web", "10.0.0.1:80", elbv2sim.Healthy, "target 10.0.0.1:80 is absent, want healthy"},
		{"nope", "10.0.0.1:80", elbv2sim.Absent, `there is no group "nope"`},
	} {
		ctx, giveUp := context.WithCancel(t.Context())
		err := onceWaiting(t, sim, giveUp).AwaitTarget(ctx, c.group, c.target, c.want)
		giveUp()
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want %s", err, c.says)
		}
	}
}

// Waiting sees what happens after it began, the answers of calls in flight included.
func TestAwaitCallsFollowsTheLog(t *testing.T) {
	t.Parallel()
	sim := elbv2sim.Start(t, elbv2sim.Options{Seed: web()})
	ctx := soon(t)
	must(sim.AddFault(ctx, elbv2sim.Fault{Kind: elbv2sim.Hang, Action: "DescribeTargetGroups"}))(t)
	calling, leave := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := sdk(sim.URL).DescribeTargetGroups(calling, &elbv2.DescribeTargetGroupsInput{})
		ended <- err
	}()
	must(sim.AwaitCalls(ctx, func(calls []elbv2sim.Call) bool { return len(calls) == 1 && calls[0].Code == "" }))(t)
	leave()
	calls := must(sim.AwaitCalls(ctx, func(calls []elbv2sim.Call) bool { return calls[0].Code != "" }))(t)
	if err := <-ended; err == nil || calls[0].Code != elbv2sim.CodeNoReply || calls[0].Applied || calls[0].Fault != elbv2sim.Hang {
		t.Errorf("got %+v, %v", calls, err)
	}
	ok(t, sim.ClearCalls(ctx))
	if calls := must(sim.Calls(ctx))(t); len(calls) != 0 {
		t.Errorf("got %+v", calls)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := sim.AwaitCalls(short, func([]elbv2sim.Call) bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestFaultsAreScripted(t *testing.T) {
	t.Parallel()
	sim := elbv2sim.Start(t, elbv2sim.Options{Seed: web()})
	ctx, client := soon(t), sdk(sim.URL)
	group := must(sim.Group(ctx, "web"))(t).ARN
	second := must(sim.AddFault(ctx, elbv2sim.Fault{Group: "web", Nth: 2, Count: 1, Kind: elbv2sim.Fail, Code: "ServiceUnavailable"}))(t)
	if second.Status != 503 || second.ID == 0 {
		t.Errorf("got %+v", second)
	}
	ok(t, register(t, client, group, "10.0.0.1", 80))
	err := register(t, client, group, "10.0.0.1", 80)
	if api, is := errors.AsType[smithy.APIError](err); !is || api.ErrorCode() != "ServiceUnavailable" {
		t.Errorf("got %v", err)
	}
	if faults := must(sim.Faults(ctx))(t); len(faults) != 1 || faults[0].Selected != 2 {
		t.Errorf("got %+v", faults)
	}
	ok(t, sim.RemoveFault(ctx, second.ID))
	if err := sim.RemoveFault(ctx, second.ID); err == nil || !strings.Contains(err.Error(), "there is no fault") {
		t.Errorf("got %v", err)
	}
	must(sim.AddFault(ctx, elbv2sim.Fault{Kind: elbv2sim.Throttle}))(t)
	ok(t, sim.ClearFaults(ctx))
	ok(t, register(t, client, group, "10.0.0.1", 80))
	if _, err := sim.AddFault(ctx, elbv2sim.Fault{Kind: "explode"}); err == nil || !strings.Contains(err.Error(), `fault kind "explode"`) {
		t.Errorf("got %v", err)
	}
}

func TestSettingsChangeAndComeBack(t *testing.T) {
	t.Parallel()
	sim := elbv2sim.Start(t, elbv2sim.Options{Configure: func(s *elbv2sim.Settings) {
		s.Buckets = map[elbv2sim.Class]elbv2sim.Bucket{elbv2sim.ClassDescribe: {Capacity: 1}}
	}})
	ctx, client := soon(t), sdk(sim.URL)
	describe := func() error {
		_, err := client.DescribeTargetGroups(ctx, &elbv2.DescribeTargetGroupsInput{})
		return err
	}
	ok(t, describe())
	budgets := must(sim.Budgets(ctx))(t)
	if len(budgets) != 1 || budgets[0].Region != elbv2sim.DefaultRegion || budgets[0].Buckets[0].Capacity != 1 || budgets[0].Buckets[0].Tokens != 0 {
		t.Errorf("got %+v", budgets)
	}
	if api, is := errors.AsType[smithy.APIError](describe()); !is || api.ErrorCode() != "Throttling" {
		t.Errorf("got %v", api)
	}
	ok(t, sim.Configure(ctx, func(s *elbv2sim.Settings) { s.Buckets, s.Deny = nil, []string{"DescribeTags"} }))
	ok(t, describe())
	ok(t, sim.Configure(ctx, func(s *elbv2sim.Settings) { s.Deny = nil }))
	if settings := must(sim.Settings(ctx))(t); settings.Buckets != nil || settings.Deny != nil || settings.ThrottleCode != "Throttling" {
		t.Errorf("got %+v", settings)
	}
	if err := sim.Configure(ctx, func(s *elbv2sim.Settings) { s.Reregister = "maybe" }); err == nil || !strings.Contains(err.Error(), `reregister "maybe"`) {
		t.Errorf("got %v", err)
	}
	ok(t, sim.Reset(ctx))
	if settings := must(sim.Settings(ctx))(t); len(settings.Buckets) != 1 {
		t.Errorf("got %+v", settings)
	}
}

func TestGroupsAreAddedAndRemoved(t *testing.T) {
	t.Parallel()
	sim := elbv2sim.Start(t, elbv2sim.Options{})
	ctx := soon(t)
	must(sim.AddLoadBalancer(ctx, elbv2sim.LoadBalancer{Name: "back", Type: elbv2sim.Network}))(t)
	waited := make(chan error, 1)
	go func() {
		_, err := sim.AwaitGroup(ctx, "mail", func(g elbv2sim.GroupState) bool { return len(g.LoadBalancers) == 1 })
		waited <- err
	}()
	arn := must(sim.AddGroup(ctx, elbv2sim.Group{Name: "mail", Protocol: "TCP", Port: 25, LoadBalancer: "back", Tags: map[string]string{"team": "blue"}}))(t)
	ok(t, <-waited)
	must(sim.AddGroup(ctx, elbv2sim.Group{Name: "mail", Region: "eu-west-1"}))(t)
	if _, err := sim.Group(ctx, "mail"); err == nil || !strings.Contains(err.Error(), "want the ARN") {
		t.Errorf("got %v", err)
	}
	ok(t, sim.RemoveGroup(ctx, arn))
	groups := must(sim.Groups(ctx))(t)
	if len(groups) != 1 || groups[0].Region != "eu-west-1" {
		t.Errorf("got %+v", groups)
	}
	if _, err := sim.AddGroup(ctx, elbv2sim.Group{Name: "-"}); err == nil {
		t.Error("a group named - was made")
	}
}

// A program behind the data plane gets the requests, by real health checks, from an
// address that AWS accepts.
func TestTrafficReachesTargets(t *testing.T) {
	t.Parallel()
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer program.Close()
	sim := elbv2sim.Start(t, elbv2sim.Options{
		Seed: web(), Speed: 50, HealthChecks: elbv2sim.Real,
		Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", program.Listener.Addr().String())
		},
		DataPlane: &elbv2sim.DataPlane{Nodes: 1, Delays: []string{"alb.register=0s-0s", "alb.health=0s-0s"}},
	})
	ctx := soon(t)
	ok(t, register(t, sdk(sim.URL), must(sim.Group(ctx, "web"))(t).ARN, "10.0.0.1", 8080))
	ok(t, sim.AwaitTarget(ctx, "web", "10.0.0.1:8080", elbv2sim.Healthy))
	node := must(sim.LoadBalancers(ctx))(t)[0].Listeners[0].Nodes[0]
	request := must(http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node, nil))(t)
	response := must((&http.Transport{DisableKeepAlives: true}).RoundTrip(request))(t)
	defer response.Body.Close()
	if body := must(io.ReadAll(response.Body))(t); string(body) != "hello" {
		t.Fatalf("got %d %s", response.StatusCode, body)
	}
	traffic, counts := must(sim.Traffic(ctx, 0))(t), must(sim.TrafficCounts(ctx))(t)
	if len(traffic) != 1 || traffic[0].Target != "10.0.0.1:8080" || traffic[0].Outcome != elbv2sim.Forwarded || len(counts) != 1 || counts[0].Count != 1 {
		t.Errorf("got %+v, %+v", traffic, counts)
	}
}

func TestTrafficNeedsADataPlane(t *testing.T) {
	t.Parallel()
	sim := elbv2sim.Start(t, elbv2sim.Options{})
	_, errBalancers := sim.LoadBalancers(t.Context())
	_, errTraffic := sim.Traffic(t.Context(), 0)
	_, errCounts := sim.TrafficCounts(t.Context())
	for _, err := range []error{errBalancers, errTraffic, errCounts} {
		if err == nil || !strings.Contains(err.Error(), "there is no data plane") {
			t.Errorf("got %v", err)
		}
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	for _, c := range []struct {
		options elbv2sim.Options
		says    string
	}{
		{elbv2sim.Options{HealthChecks: "maybe"}, `HealthChecks "maybe"`},
		{elbv2sim.Options{Speed: -1}, "Speed -1"},
		{elbv2sim.Options{LogLimit: -1}, "LogLimit -1"},
		{elbv2sim.Options{DialMap: []string{"10.0.0.0/8"}}, `dial map "10.0.0.0/8"`},
		{elbv2sim.Options{DataPlane: &elbv2sim.DataPlane{Nodes: 256}}, "DataPlane.Nodes 256"},
		{elbv2sim.Options{DataPlane: &elbv2sim.DataPlane{Delays: []string{"x"}}}, `DataPlane.Delays: delay "x"`},
		{elbv2sim.Options{Configure: func(s *elbv2sim.Settings) { s.BadTarget = "" }}, `bad target ""`},
		{elbv2sim.Options{Seed: elbv2sim.Seed{Groups: []elbv2sim.Group{{Name: "-"}}}}, `group "-"`},
	} {
		sim, err := elbv2sim.New(c.options)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want %s", err, c.says)
		}
		if sim != nil {
			t.Errorf("%s: a server was started", c.says)
		}
	}
}

// Calls that hang and clients that keep connections do not hold Close up, and what
// is closed says so.
func TestCloseEndsAll(t *testing.T) {
	t.Parallel()
	sim := must(elbv2sim.New(elbv2sim.Options{}))(t)
	must(sim.AddFault(t.Context(), elbv2sim.Fault{Kind: elbv2sim.Hang}))(t)
	silent := must(new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(sim.URL, "http://")))(t)
	defer silent.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := sdk(sim.URL).DescribeTargetGroups(t.Context(), &elbv2.DescribeTargetGroupsInput{})
		ended <- err
	}()
	must(sim.AwaitCalls(soon(t), func(calls []elbv2sim.Call) bool { return len(calls) == 1 }))(t)
	sim.Close()
	sim.Close()
	if err := <-ended; err == nil {
		t.Error("a call that hung succeeded")
	}
	if _, err := sim.Calls(t.Context()); err == nil {
		t.Error("a closed simulator answers")
	}
}

func TestConnectTellsThatThereIsNoSimulator(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer other.Close()
	if _, err := elbv2sim.Connect(other.URL).Calls(t.Context()); err == nil || !strings.Contains(err.Error(), "not that of a simulator") {
		t.Errorf("got %v", err)
	}
}

// A program of another process finds the simulator by its environment: here this
// test, with the SDK configured by default, and Connect.
func TestEnvironPointsOtherProcesses(t *testing.T) {
	const reached = "reached through the environment"
	if admin := os.Getenv("TGC_SIM_ADMIN"); admin != "" {
		settings := must(config.LoadDefaultConfig(t.Context()))(t)
		_, err := elbv2.NewFromConfig(settings).DescribeTargetGroups(t.Context(), &elbv2.DescribeTargetGroupsInput{Names: []string{"web"}})
		ok(t, err)
		if calls := must(elbv2sim.Connect(admin + "/").Calls(t.Context()))(t); len(calls) == 1 {
			fmt.Println(reached)
		}
		return
	}
	sim := elbv2sim.Start(t, elbv2sim.Options{Seed: web()})
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEnvironPointsOtherProcesses$")
	child.Env = slices.Concat([]string{"HOME=" + t.TempDir()}, sim.Environ())
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), reached) {
		t.Errorf("%v: %s", err, out)
	}
}
