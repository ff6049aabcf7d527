package trial

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// settleLimit is how long the world may take to come to rest when nothing goes
// wrong any more. The controller's own pauses after failures last up to 30 s, and
// so do those of its watches.
const settleLimit = 2 * time.Minute

// settle ends all trouble and judges what comes of it.
func (r *round) settle(ctx context.Context) error {
	r.Sim.ClearFaults()
	if err := r.Sim.Configure(peaceful()); err != nil {
		return err
	}
	began := time.Now()
	if err := r.becomes(ctx, 0); err != nil {
		return fmt.Errorf("the end state is wrong: %w", err)
	}
	r.result.Settled = time.Since(began)
	return r.quiet(ctx)
}

// becomes mends the world, with more replicas of each application, and waits until
// the groups hold what they should.
func (r *round) becomes(ctx context.Context, more int32) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if err := r.mend(ctx, more); err != nil {
		return err
	}
	return persist(ctx, func() error { return r.inStep(more) })
}

// inStep tells what is not as it should be.
func (r *round) inStep(more int32) error {
	var err error
	r.history.read(func(o *objects) {
		if err = o.complete(more); err == nil {
			err = o.compare(o.wanted(r.groups), r.Sim.Groups())
		}
	})
	return err
}

// complete tells whether all pods are there and ready, and no others.
func (o *objects) complete(more int32) error {
	want := 0
	for _, a := range apps {
		want += int(a.replicas + more)
	}
	for key, pod := range o.pods {
		if !ready(pod) {
			return fmt.Errorf("%s is not ready", key)
		}
	}
	if len(o.pods) != want {
		return fmt.Errorf("there are %d pods, want %d", len(o.pods), want)
	}
	return nil
}

// compare holds groups and bindings against what is wanted.
func (o *objects) compare(wanted map[string][]string, groups []elbsim.GroupState) error {
	for _, group := range groups {
		var have []string
		for _, t := range group.Targets {
			if t.State == target.Draining {
				continue
			}
			if t.State != target.Healthy {
				return fmt.Errorf("group %s: %s is %s: %s", group.Name, t.Target, t.State, t.Description)
			}
			have = append(have, t.Target)
		}
		slices.Sort(have)
		if want := wanted[group.ARN]; !slices.Equal(have, want) || len(want) == 0 {
			return fmt.Errorf("group %s holds %v, want %v", group.Name, have, want)
		}
	}
	return o.told()
}

// told holds what the bindings say against what they should.
func (o *objects) told() error {
	if want := len(bindings) + 1; len(o.bindings) != want {
		return fmt.Errorf("there are %d bindings, want %d", len(o.bindings), want)
	}
	for key, binding := range o.bindings {
		s := binding.Status
		if c := meta.FindStatusCondition(s.Conditions, v1beta1.ConditionReady); c == nil || c.Status != metav1.ConditionTrue {
			return fmt.Errorf("%s is not Ready: %+v", key, c)
		}
		if s.ObservedGeneration != binding.Generation || s.Registered != s.Desired || s.Healthy != s.Desired || s.Held != 0 {
			return fmt.Errorf("%s of generation %d has status %+v", key, binding.Generation, s)
		}
	}
	return nil
}

// quiet judges that a world in order is left in peace: the controller looks at each
// group again, a pod more of each application comes, and all that is written from
// then until those are registered is their registration.
func (r *round) quiet(ctx context.Context) error {
	mark, before := r.latest(), r.standing()
	if err := r.looks(ctx, mark); err != nil {
		return err
	}
	if err := r.becomes(ctx, 1); err != nil {
		return fmt.Errorf("a further change does not go through: %w", err)
	}
	for _, call := range r.Sim.Calls() {
		if call.Seq <= mark || !changes(call) {
			continue
		}
		old := slices.ContainsFunc(call.Targets, func(t string) bool { return slices.Contains(before[call.Group], t) })
		if call.Action != "RegisterTargets" || old {
			return fmt.Errorf("nothing had changed, and yet: %+v\ntargets before: %v", call, before[call.Group])
		}
	}
	return nil
}

// latest is the number of the latest call.
func (r *round) latest() uint64 {
	calls := r.Sim.Calls()
	if len(calls) == 0 {
		return 0
	}
	return calls[len(calls)-1].Seq
}

func (r *round) standing() map[string][]string {
	var wanted map[string][]string
	r.history.read(func(o *objects) { wanted = o.wanted(r.groups) })
	return wanted
}

// looks waits until each group was listed twice more.
func (r *round) looks(ctx context.Context, mark uint64) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	return persist(ctx, func() error {
		seen := map[string]int{}
		for _, call := range r.Sim.Calls() {
			if call.Seq > mark && call.Action == "DescribeTargetHealth" && call.Code == elbsim.CodeOK {
				seen[call.Group]++
			}
		}
		for name, arn := range r.groups {
			if seen[arn] < 2 {
				return fmt.Errorf("group %s was listed %d times", name, seen[arn])
			}
		}
		return nil
	})
}
