package model

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// step is one thing that happens to a World after a while.
type step struct {
	after time.Duration
	what  string
	ref   TargetRef
	out   Outcome
}

func steps() *rapid.Generator[[]step] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			after: time.Duration(rapid.IntRange(0, 120_000).Draw(t, "after")) * time.Millisecond,
			what:  rapid.SampledFrom([]string{"register", "deregister", "check", "use", "unuse"}).Draw(t, "what"),
			ref:   TargetRef{ID: fmt.Sprintf("10.0.0.%d", rapid.IntRange(1, 3).Draw(t, "host")), Port: rapid.SampledFrom([]int{0, 80, 81}).Draw(t, "port")},
			out:   rapid.SampledFrom([]Outcome{Passed, WrongCode, TookTooLong, CannotAnswer}).Draw(t, "outcome"),
		}
	}), 1, 40)
}

// bench is a World under test and the moment it has come to.
type bench struct {
	world    *World
	arn      string
	listener string
	now      time.Time
}

func newBench(t *rapid.T, adjust func(*Config)) *bench {
	config := DefaultConfig("eu-central-1", "123456789012")
	if adjust != nil {
		adjust(&config)
	}
	w := New(config)
	group, err := w.CreateTargetGroup(epoch, GroupSpec{Name: "web", Type: target.TypeIP, Protocol: "HTTP", Port: 80, VPCID: "vpc-1"})
	if err != nil {
		t.Fatal(err)
	}
	balancer, err := w.CreateLoadBalancer(epoch, BalancerSpec{Name: "front"})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := w.CreateListener(epoch, ListenerSpec{Balancer: balancer.ARN, Protocol: "HTTP", Port: 80, Groups: []string{group.ARN.String()}})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{world: w, arn: group.ARN.String(), listener: listener.ARN, now: epoch}
}

func (b *bench) do(s step) error {
	b.now = b.now.Add(s.after)
	switch s.what {
	case "register":
		return b.world.RegisterTargets(b.now, b.arn, []TargetRef{s.ref})
	case "deregister":
		return b.world.DeregisterTargets(b.now, b.arn, []TargetRef{s.ref})
	case "use":
		_, err := b.world.ModifyListener(b.now, b.listener, []string{b.arn})
		return err
	case "unuse":
		_, err := b.world.ModifyListener(b.now, b.listener, nil)
		return err
	}
	for _, check := range b.world.ChecksDue(b.now) {
		b.world.Checked(b.now, CheckResult{ID: check.ID, Outcome: s.out, Code: 500})
	}
	return nil
}

func (b *bench) health(now time.Time) []target.Observed {
	observed, err := b.world.TargetHealth(now, b.arn, nil)
	if err != nil {
		return nil
	}
	return observed
}

// Looking more often changes nothing: one World is only given the steps, the
// other is also asked for its next moment, at it and in between.
func TestLookingOftenChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lag := time.Duration(rapid.IntRange(0, 5).Draw(t, "lag")) * time.Second
		adjust := func(c *Config) { c.VisibilityLag = lag }
		quiet, watched := newBench(t, adjust), newBench(t, adjust)
		for _, s := range steps().Draw(t, "steps") {
			until := watched.now.Add(s.after)
			for now := watched.now; ; {
				next := watched.world.Next(now)
				if next.IsZero() || next.After(until) || !next.After(now) {
					break
				}
				watched.health(now.Add(next.Sub(now) / 2))
				watched.health(next)
				now = next
			}
			if err := quiet.do(s); err != nil {
				t.Fatal(err)
			}
			if err := watched.do(s); err != nil {
				t.Fatal(err)
			}
			if q, w := quiet.health(quiet.now), watched.health(watched.now); !reflect.DeepEqual(q, w) {
				t.Fatalf("after %+v:\nquiet   %v\nwatched %v", s, q, w)
			}
		}
	})
}

// Between two moments that Next names, answers do not change.
func TestNothingChangesBeforeNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lag := time.Duration(rapid.IntRange(0, 5).Draw(t, "lag")) * time.Second
		b := newBench(t, func(c *Config) { c.VisibilityLag = lag })
		for _, s := range steps().Draw(t, "steps") {
			if err := b.do(s); err != nil {
				t.Fatal(err)
			}
			before, next := b.health(b.now), b.world.Next(b.now)
			last := b.now.Add(time.Hour)
			if !next.IsZero() {
				last = next.Add(-1)
			}
			if last.Before(b.now) {
				continue
			}
			if after := b.health(last); !reflect.DeepEqual(before, after) {
				t.Fatalf("next is %v, but at %v\n%v became\n%v", next, last, before, after)
			}
			b.now = last
		}
	})
}

// Every request may be repeated at once without effect.
func TestRepeatingARequestChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(t, nil)
		for _, s := range steps().Draw(t, "steps") {
			if err := b.do(s); err != nil {
				t.Fatal(err)
			}
			before := b.health(b.now)
			s.after = 0
			if s.what == "check" {
				continue
			}
			if err := b.do(s); err != nil {
				t.Fatal(err)
			}
			if after := b.health(b.now); !reflect.DeepEqual(before, after) {
				t.Fatalf("repeating %+v: %v became %v", s, before, after)
			}
		}
	})
}

// A target that was deregistered and is left alone is gone after the delay, and
// an in-use target that was registered is listed.
func TestTheLastWordCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(t, nil)
		want := map[string]bool{}
		for _, s := range steps().Draw(t, "steps") {
			if err := b.do(s); err != nil {
				t.Fatal(err)
			}
			if s.ref.Port == 0 {
				s.ref.Port = 80
			}
			if s.what == "register" || s.what == "deregister" {
				want[fmt.Sprintf("%s:%d", s.ref.ID, s.ref.Port)] = s.what == "register"
			}
		}
		got := map[string]bool{}
		for _, o := range b.health(b.now.Add(300 * time.Second)) {
			got[o.Key.String()] = true
			if o.Health.State == target.Draining {
				t.Fatalf("%v drains for ever", o)
			}
		}
		for key, listed := range want {
			if got[key] != listed {
				t.Fatalf("%s: listed %v, want %v", key, got[key], listed)
			}
		}
	})
}

// However calls come, no window of time admits more than burst and rate allow.
func TestBucketsNeverAdmitMoreThanTheyMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bucket := Bucket{Capacity: rapid.IntRange(1, 50).Draw(t, "capacity"), PerSecond: rapid.IntRange(0, 20).Draw(t, "rate")}
		w := New(Config{Region: "eu-central-1", Account: "123456789012", Buckets: map[Class]Bucket{ClassDescribe: bucket}, ThrottleCode: "Throttling"})
		now, admitted := epoch, 0
		for _, gap := range rapid.SliceOfN(rapid.IntRange(0, 400), 1, 200).Draw(t, "gaps") {
			now = now.Add(time.Duration(gap) * time.Millisecond)
			if w.Admit(now, "DescribeTags") == nil {
				admitted++
			}
			allowed := float64(bucket.Capacity) + now.Sub(epoch).Seconds()*float64(bucket.PerSecond)
			if float64(admitted) > allowed+1e-9 {
				t.Fatalf("%d admitted in %v, allowed %v", admitted, now.Sub(epoch), allowed)
			}
		}
	})
}
