package model

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestChangesAreToldOnceInOrderAndAtTheirMoment(t *testing.T) {
	w := New(DefaultConfig("eu-central-1", "123456789012"))
	w.KeepChanges()
	begin := time.Unix(1_000_000, 0)
	view, err := w.CreateTargetGroup(begin, GroupSpec{Name: "web", Type: "ip", Protocol: "HTTP", Port: 80, VPCID: "vpc-1"})
	if err != nil {
		t.Fatal(err)
	}
	balancer, err := w.CreateLoadBalancer(begin, BalancerSpec{Name: "front"})
	if err != nil {
		t.Fatal(err)
	}
	arn := view.ARN.String()
	if _, err := w.CreateListener(begin, ListenerSpec{Balancer: balancer.ARN, Protocol: "HTTP", Port: 80, Groups: []string{arn}}); err != nil {
		t.Fatal(err)
	}
	refs := []TargetRef{{ID: "10.0.0.1"}}
	if err := w.RegisterTargets(begin, arn, refs); err != nil {
		t.Fatal(err)
	}
	if err := w.DeregisterTargets(begin.Add(10*time.Second), arn, refs); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, c := range w.TakeChanges(begin.Add(time.Hour)) {
		told = append(told, fmt.Sprintf("%v:%s", c.At.Sub(begin), c.State))
	}
	if got, want := strings.Join(told, " "), "0s:initial 1s:initial 10s:draining 5m10s:"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if again := w.TakeChanges(begin.Add(time.Hour)); len(again) != 0 {
		t.Errorf("told twice: %v", again)
	}
	if err := w.RegisterTargets(begin.Add(time.Hour), arn, refs); err != nil {
		t.Fatal(err)
	}
	if err := w.VanishGroup(begin.Add(time.Hour), arn); err != nil {
		t.Fatal(err)
	}
	if changes := w.TakeChanges(begin.Add(time.Hour)); len(changes) != 2 || changes[1].State != "" {
		t.Errorf("got %v", changes)
	}
}
