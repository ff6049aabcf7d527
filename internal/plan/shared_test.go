package plan

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func TestBehaviour33_TableOfASharedGroup(t *testing.T) {
	for _, c := range []struct {
		name    string
		verdict desired.Verdict
		state   target.State // empty: absent
		have    Observation
		want    string
	}{
		{"want, absent", desired.Want, "", Observation{}, "announce:1 PodReady"},
		{"want, absent, in the journal", desired.Want, "", Observation{Journal: keys(1)}, "register:1 PodReady"},
		{"want, absent, was ours", desired.Want, "", Observation{Journal: keys(1), Ours: keys(1)}, "register:1 Drift"},
		{"want, uncertain", desired.Want, "", Observation{Journal: keys(1), Uncertain: keys(1)}, "register:1 PodReady"},
		{"want, present", desired.Want, target.Healthy, Observation{}, "stay:1 PodReady"},
		{"want, refused", desired.Want, "", Observation{FullUntil: t0.Add(1)}, "leftout:1 TooManyTargets"},
		{"leave, present, ours", desired.Leave, target.Healthy, Observation{Ours: keys(1)}, "deregister:1 PodTerminating"},
		{"leave, present, not ours", desired.Leave, target.Healthy, Observation{Journal: keys(1)}, "foreign:1 NotOurs"},
		{"leave, uncertain", desired.Leave, "", Observation{Uncertain: keys(1)}, "deregister:1 PodTerminating"},
		{"keep, present, not ours", desired.Keep, target.Healthy, Observation{}, "foreign:1 NotOurs"},
		{"nothing, ours", -1, target.Healthy, Observation{Ours: keys(1)}, "deregister:1 PodGone"},
		{"nothing, not ours", -1, target.Healthy, Observation{}, "foreign:1 NotOurs"},
		{"nothing, not ours, unhealthy", -1, target.Unhealthy, Observation{}, "foreign:1 NotOurs"},
		{"nothing, not ours, draining", -1, target.Draining, Observation{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			wanted := desired.Wanted{Shared: true}
			if c.verdict >= 0 {
				reason := map[desired.Verdict]target.Reason{
					desired.Want: target.PodReady, desired.Keep: target.NodeNotReady, desired.Leave: target.PodTerminating,
				}[c.verdict]
				wanted.Candidates = []desired.Candidate{candidate(1, c.verdict, reason)}
			}
			if c.state != "" {
				c.have.Targets = listed(c.state, 1)
			}
			expect(t, wanted, c.have, Policy{Takeover: Confirmed}, c.want)
		})
	}
}

func TestBehaviour33_ProblemHoldsOursOnly(t *testing.T) {
	wanted := desired.Wanted{Shared: true, HoldOthers: target.ServiceNotFound}
	have := Observation{Targets: listed(target.Healthy, 1, 2), Ours: keys(1)}
	expect(t, wanted, have, Policy{}, "held:1 ServiceNotFound, foreign:2 NotOurs")
}

// The last healthy target of ours may go while others have healthy ones.
func TestBehaviour33_OthersServeToo(t *testing.T) {
	leaves := candidate(1, desired.Leave, target.PodTerminating)
	leaves.ServesUntil = t0.Add(3600e9)
	wanted := desired.Wanted{Shared: true, Candidates: []desired.Candidate{leaves, candidate(2, desired.Want, target.GatePending)}}
	have := Observation{Targets: append(listed(target.Healthy, 1), listed(target.Initial, 2)...), Ours: keys(1, 2)}
	expect(t, wanted, have, Policy{Drain: 10e9}, "stay:2 GatePending, held:1 LastHealthyTarget")
	have.Targets = append(have.Targets, listed(target.Healthy, 3)...)
	expect(t, wanted, have, Policy{Drain: 10e9}, "deregister:1 PodTerminating, stay:2 GatePending, foreign:3 NotOurs")
}

// What is remembered covers what may be registered: before a call, during it, and after
// it as long as the target is there.
func TestBehaviour33_RememberedFromBeforeTheCallToItsEnd(t *testing.T) {
	wanted := wants(1, 2)
	wanted.Shared = true
	have := Observation{Targets: listed(target.Healthy, 1, 5), Ours: keys(1), Journal: keys(1, 3)}
	p := expect(t, wanted, have, Policy{}, "announce:2 PodReady, stay:1 PodReady, foreign:5 NotOurs")
	for busy, want := range map[bool]target.Set{false: keys(1, 2), true: keys(1, 2, 3)} {
		if got := p.Remember(have, busy); fmt.Sprint(got.Keys()) != fmt.Sprint(want.Keys()) {
			t.Errorf("busy %v: remembers %v, want %v", busy, got.Keys(), want.Keys())
		}
	}
}

// region is a target group with the clusters that share it. Each has its own pods, and
// its own addresses.
type region struct {
	registered map[target.Key]bool
	clusters   [2]*cluster
}

// cluster is one of them: its pods, what its Kubernetes remembers, and what its
// controller has in memory.
type cluster struct {
	pods          map[int]bool
	journal       target.Set
	ours, unsure  target.Set
	journalClosed bool // the API server takes no writes
}

func (r *region) observe(c *cluster) Observation {
	have := Observation{Ours: c.ours, Journal: c.journal, Uncertain: c.unsure}
	for key := range r.registered {
		have.Targets = append(have.Targets, target.Observed{Target: target.Target{Key: key}, Health: target.Health{State: target.Healthy}})
	}
	return have
}

func (c *cluster) wanted() desired.Wanted {
	wanted := desired.Wanted{Shared: true}
	for host, ready := range c.pods {
		verdict, reason := desired.Leave, target.PodTerminating
		if ready {
			verdict, reason = desired.Want, target.PodReady
		}
		wanted.Candidates = append(wanted.Candidates, candidate(host, verdict, reason))
	}
	return wanted
}

// restart is what a controller's death leaves: the journal.
func (c *cluster) restart() { c.ours, c.unsure = c.journal, target.Set{} }

// round is one of a controller: the calls of a plan, and then the journal. Calls may not
// arrive, replies may be lost, and the controller may die in between.
func (r *region) round(t *rapid.T, c *cluster, faulty bool) {
	fate := "accepted"
	if faulty {
		fate = rapid.SampledFrom([]string{"accepted", "accepted", "reply lost", "call lost", "dies"}).Draw(t, "fate")
	}
	p := Make(c.wanted(), r.observe(c), Policy{}, t0)
	if fate != "call lost" {
		r.apply(t, c, p)
	}
	called := Keys(p.Register, p.Deregister)
	switch fate {
	case "dies":
		c.restart()
		return
	case "accepted":
		c.unsure = c.unsure.Minus(called)
		c.ours = c.ours.Union(Keys(p.Register)).Minus(Keys(p.Deregister))
	default:
		c.unsure = c.unsure.Union(called)
	}
	c.ours = c.ours.Union(Keys(p.Stay))
	if !c.journalClosed {
		after := r.observe(c)
		c.journal = Make(c.wanted(), after, Policy{}, t0).Remember(after, len(c.unsure.Keys()) > 0)
	}
}

// apply does what a cluster calls for, and fails if it takes out a target of the other.
func (r *region) apply(t *rapid.T, c *cluster, p Plan) {
	for _, change := range p.Register {
		r.registered[change.Key] = true
	}
	for _, change := range p.Deregister {
		delete(r.registered, change.Key)
		for _, other := range r.clusters {
			if other != c && other.pods[int(change.Addr.As4()[3])] {
				t.Fatalf("the target of another cluster is deregistered: %s", spell(p))
			}
		}
	}
}

// Two clusters share a group. Whatever befalls them, neither takes out a target of the
// other, and once both can write again the group holds exactly the pods of both, but for
// what a cluster forgot because its journal was deleted.
func TestBehaviour33_TwoClustersLeaveEachOtherAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &region{registered: map[target.Key]bool{}}
		for i := range r.clusters {
			r.clusters[i] = &cluster{pods: map[int]bool{}}
		}
		steps := []string{"comes", "leaves", "gone", "round", "round", "crash", "API server"}
		forgetful := rapid.Bool().Draw(t, "forgetful")
		if forgetful {
			steps = append(steps, "journal deleted")
		}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			i := rapid.IntRange(0, 1).Draw(t, "cluster")
			c, host := r.clusters[i], 2*rapid.IntRange(1, 2).Draw(t, "host")+i
			switch rapid.SampledFrom(steps).Draw(t, "step") {
			case "comes":
				c.pods[host] = true
			case "leaves":
				if c.pods[host] {
					c.pods[host] = false
				}
			case "gone":
				delete(c.pods, host)
			case "round":
				r.round(t, c, true)
			case "crash":
				c.restart()
			case "journal deleted":
				c.journal = target.Set{}
			case "API server":
				c.journalClosed = !c.journalClosed
			}
		}
		for _, c := range r.clusters {
			c.journalClosed = false
			for range 3 {
				r.round(t, c, false)
			}
		}
		for i, c := range r.clusters {
			for host := 2 + i; host <= 4+i; host += 2 {
				if is := r.registered[key(host)]; is != c.pods[host] && (!is || !forgetful) {
					t.Errorf("target %d is registered: %v, and its pod stays: %v", host, is, c.pods[host])
				}
			}
		}
	})
}
