package elbv2sim_test

import (
	"context"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/targetgroupcontroller/targetgroupcontroller/elbv2sim"
)

// newClient is the AWS SDK for Go pointed at a simulator. Any credentials will do.
func newClient(sim *elbv2sim.Server) *elbv2.Client {
	return elbv2.New(elbv2.Options{
		BaseEndpoint: aws.String(sim.URL),
		Region:       elbv2sim.DefaultRegion,
		Credentials:  credentials.NewStaticCredentialsProvider("any", "any", ""),
	})
}

// A target is registered with the AWS SDK and becomes healthy. At 100 times the
// speed the second that registration takes is over in 10 ms.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sim, err := elbv2sim.New(elbv2sim.Options{Speed: 100})
	if err != nil {
		log.Fatal(err)
	}
	defer sim.Close()
	group, err := sim.AddGroup(ctx, elbv2sim.Group{Name: "web", LoadBalancer: "front"})
	if err != nil {
		log.Fatal(err)
	}

	_, err = newClient(sim).RegisterTargets(ctx, &elbv2.RegisterTargetsInput{
		TargetGroupArn: &group,
		Targets:        []types.TargetDescription{{Id: aws.String("10.0.0.1"), Port: aws.Int32(8080)}},
	})
	if err != nil {
		log.Fatal(err)
	}

	if err := sim.AwaitTarget(ctx, "web", "10.0.0.1:8080", elbv2sim.Healthy); err != nil {
		log.Fatal(err)
	}
	state, err := sim.Group(ctx, "web")
	if err != nil {
		log.Fatal(err)
	}
	for _, target := range state.Targets {
		fmt.Println(target.Target, target.State)
	}
	// Output:
	// 10.0.0.1:8080 healthy
}

// A registration takes effect and its reply is lost. The SDK tries again by itself,
// and the log shows both calls.
func ExampleAdmin_AddFault() {
	ctx := context.Background()
	sim, err := elbv2sim.New(elbv2sim.Options{
		Seed: elbv2sim.Seed{Groups: []elbv2sim.Group{{Name: "web", LoadBalancer: "front"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sim.Close()
	_, err = sim.AddFault(ctx, elbv2sim.Fault{Action: "RegisterTargets", Kind: elbv2sim.Lose, Count: 1})
	if err != nil {
		log.Fatal(err)
	}

	group, err := sim.Group(ctx, "web")
	if err != nil {
		log.Fatal(err)
	}
	_, err = newClient(sim).RegisterTargets(ctx, &elbv2.RegisterTargetsInput{
		TargetGroupArn: &group.ARN,
		Targets:        []types.TargetDescription{{Id: aws.String("10.0.0.1"), Port: aws.Int32(8080)}},
	})
	fmt.Println("error:", err)

	calls, err := sim.Calls(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, call := range calls {
		fmt.Println(call.Action, call.Targets, call.Code, "applied:", call.Applied, call.Attempt)
	}
	// Output:
	// error: <nil>
	// RegisterTargets [10.0.0.1:8080] NoReply applied: true attempt=1; max=3
	// RegisterTargets [10.0.0.1:8080] OK applied: true attempt=2; max=3
}

// In a test Start takes care of errors and of the end. Here nothing may ever have
// been deregistered.
func ExampleStart() {
	_ = func(t *testing.T) {
		sim := elbv2sim.Start(t, elbv2sim.Options{HealthChecks: elbv2sim.None})
		// Run the program against sim.URL, then:
		calls, err := sim.Calls(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range calls {
			if call.Action == "DeregisterTargets" {
				t.Errorf("deregistered %v", call.Targets)
			}
		}
	}
}
