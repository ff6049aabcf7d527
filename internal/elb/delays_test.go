package elb_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// delays is Delays on the simulator with one group.
type delays struct {
	*elb.Delays
	sim   *elbsim.Sim
	group target.ARN
	ctx   context.Context
	woken int // read and written by turns
}

// withDelays runs a test with a group whose deregistration delay is 90 s.
func withDelays(t *testing.T, test func(*testing.T, *delays)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim := unthrottled(t)
		group, err := sim.PlantGroup(elbsim.SeedGroup{Name: "web", Attributes: map[string]string{target.DelayAttribute: "90"}})
		if err != nil {
			t.Fatal(err)
		}
		d := &delays{sim: sim, group: group}
		account := &elb.Account{Client: sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion), Budget: pace.New(ample)}
		d.Delays = elb.NewDelays(account, fresh, func(target.ARN) { d.woken++ })
		ctx, stop := context.WithCancel(context.Background())
		d.ctx = ctx
		test(t, d)
		stop()
		d.Wait()
	})
}

// look gives what is known when all calls that a look starts have ended.
func (d *delays) look() (elb.Delay, time.Time) {
	d.Look(d.ctx, d.group)
	synctest.Wait()
	return d.Look(d.ctx, d.group)
}

func TestDelaysAreAskedForOnceAndBelieved(t *testing.T) {
	withDelays(t, func(t *testing.T, d *delays) {
		if first, _ := d.Look(d.ctx, d.group); first.Known {
			t.Errorf("%+v is known before anybody was asked", first)
		}
		synctest.Wait()
		for range 3 {
			if got, _ := d.look(); got != (elb.Delay{Known: true, Value: 90 * time.Second}) {
				t.Errorf("got %+v, want 90 s", got)
			}
		}
		if calls := len(d.sim.Calls()); calls != 1 || d.woken != 1 {
			t.Errorf("%d calls, woken %d times, want one of each", calls, d.woken)
		}
	})
}

func TestDelaysAreAskedForAgainWhenLookedAtLater(t *testing.T) {
	withDelays(t, func(t *testing.T, d *delays) {
		_, due := d.look()
		time.Sleep(time.Until(due) + fresh) // nobody looks, nobody is asked
		if calls := len(d.sim.Calls()); calls != 1 {
			t.Errorf("%d calls although nobody looked, want 1", calls)
		}
		if err := d.sim.VanishGroup(d.group); err != nil {
			t.Fatal(err)
		}
		got, again := d.look()
		if got.Err == nil || got.Err.Kind != elb.GroupNotFound || !got.Known || got.Value != 90*time.Second {
			t.Errorf("got %+v, want the error beside the 90 s that were known", got)
		}
		if !again.After(time.Now().Add(5 * time.Second)) {
			t.Errorf("asked again in %v, want this not to be urgent", time.Until(again))
		}
	})
}

func TestDelaysSurviveRefusal(t *testing.T) {
	withDelays(t, func(t *testing.T, d *delays) {
		_, err := d.sim.AddFault(elbsim.Fault{Action: "DescribeTargetGroupAttributes", Kind: elbsim.FaultFail, Code: "AccessDenied", Message: "no", Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		got, due := d.look()
		if got.Known || got.Err == nil || got.Err.Kind != elb.AccessDenied {
			t.Errorf("got %+v, want access denied and nothing known", got)
		}
		time.Sleep(time.Until(due))
		if got, _ := d.look(); got != (elb.Delay{Known: true, Value: 90 * time.Second}) {
			t.Errorf("got %+v, want 90 s", got)
		}
	})
}

// The simulator has a word of its own for the attribute, as AWS has.
func TestDelayAttributeIsTheSimulators(t *testing.T) {
	if target.DelayAttribute != model.DeregistrationDelayKey {
		t.Errorf("%q and %q differ", target.DelayAttribute, model.DeregistrationDelayKey)
	}
}
