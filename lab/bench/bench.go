// Package bench measures how quickly the real controller acts, and how many AWS
// calls it takes, in a world with the simulator. What it prints is in
// docs/performance.md; nothing passes or fails by it.
package bench

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/world"
)

// Options of a measurement.
type Options struct {
	// Services is how many there are, each with a target group and Pods pods.
	Services, Pods int
	// Latency is how long each AWS call takes.
	Latency time.Duration
	// Replacements is how many pods are replaced, one each Every.
	Replacements int
	Every        time.Duration
}

// Run measures and prints. The simulator throttles as AWS documents it.
func Run(ctx context.Context, o Options, out io.Writer) error {
	settings := elbsim.DefaultSettings()
	settings.Latency = elbsim.Latency{Fixed: elbsim.Duration(o.Latency)}
	r, err := rig.Start(ctx, rig.Options{
		Simulator: elbsim.Options{Settings: &settings}, Progress: out,
		World: world.Options{Nodes: max(3, o.Services*o.Pods/200+1)},
	})
	if err != nil {
		return err
	}
	defer r.Stop()
	b := &bench{Options: o, rig: r, out: out}
	return b.run(ctx)
}

type bench struct {
	Options
	rig *rig.Rig
	out io.Writer
}

func (b *bench) run(ctx context.Context) error {
	began := time.Now()
	if err := b.plant(ctx); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%d Services of %d pods ready after %s\n", b.Services, b.Pods, round(time.Since(began)))
	watcher, err := b.watch(ctx)
	if err != nil {
		return err
	}
	b.rig.Sim.ClearCalls()
	began = time.Now()
	controller, err := b.rig.Controller(ctx, rig.ProcessOptions{Args: []string{"--leader-elect=false"}})
	if err != nil {
		return err
	}
	defer controller.Stop()
	if err := b.awaitRegistered(ctx); err != nil {
		return err
	}
	b.reportRegistration(time.Since(began))
	b.rig.Sim.ClearCalls()
	began = time.Now()
	if err := b.replace(ctx, watcher); err != nil {
		return err
	}
	b.reportReplacements(watcher, time.Since(began))
	return nil
}

// awaitRegistered waits until every group holds its pods.
func (b *bench) awaitRegistered(ctx context.Context) error {
	return poll(ctx, 20*time.Millisecond, func() bool { return b.registered() == b.Services*b.Pods })
}

func (b *bench) registered() int {
	n := 0
	for _, group := range b.rig.Sim.Groups() {
		n += len(group.Targets)
	}
	return n
}

// reportRegistration compares with the least that the budget allows: a call for
// each group, and what it takes to know the groups.
func (b *bench) reportRegistration(took time.Duration) {
	calls := b.rig.Sim.Calls()
	fmt.Fprintf(b.out, "all %d targets registered after %s\n", b.Services*b.Pods, round(took))
	buckets := model.DefaultBuckets()
	registration := atLeast(b.Services, buckets["registration"])
	total := atLeast(2*b.Services+(b.Services+19)/20, buckets["total"])
	least := max(registration, total)
	fmt.Fprintf(b.out, "the account's budget allows it in %s at the earliest: ratio %.2f\n", round(least), took.Seconds()/least.Seconds())
	b.reportCalls(calls)
}

// atLeast is how long a bucket takes to give n tokens.
func atLeast(n int, bucket model.Bucket) time.Duration {
	missing := float64(max(0, n-bucket.Capacity))
	return time.Duration(missing / float64(bucket.PerSecond) * float64(time.Second))
}

func (b *bench) reportCalls(calls []elbsim.Call) {
	count := map[string]int{}
	throttled := 0
	for _, call := range calls {
		count[call.Action]++
		if call.Code == "Throttling" || call.Code == "ThrottlingException" {
			throttled++
		}
	}
	fmt.Fprintf(b.out, "calls: %d RegisterTargets, %d DeregisterTargets, %d DescribeTargetHealth, %d DescribeTargetGroups; %d throttled\n",
		count["RegisterTargets"], count["DeregisterTargets"], count["DescribeTargetHealth"], count["DescribeTargetGroups"], throttled)
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// poll waits until a condition holds.
func poll(ctx context.Context, every time.Duration, holds func() bool) error {
	for !holds() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
	return nil
}
