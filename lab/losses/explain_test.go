package losses

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

const (
	oldPod  = "10.1.1.2:8080"
	newPod  = "10.1.1.3:8080"
	other   = "10.1.2.2:8080"
	nodeOne = "http://127.127.0.2:10080"
	// balancerName is name, where tests have a name of their own.
	balancerName = name
)

// play is a history in which the pod old is told to end at 100 ms, gets SIGTERM at
// 110 ms, and is deregistered at 120 ms; node 0 learns of that at 200 ms, node 1
// never does. The pod new is healthy to node 0 from 50 ms on, to node 1 from 150 ms.
func play() history {
	h := history{began: time.Now(), nodes: []balancerNode{
		{balancer: name, address: "http://127.127.0.1:10080"}, {balancer: name, index: 1, address: nodeOne},
	}}
	at := func(ms int) time.Time { return h.began.Add(time.Duration(ms) * time.Millisecond) }
	h.lives = []life{
		{pod: "old", target: oldPod, told: at(100), runs: []run{{started: at(-500), signalled: at(110), ended: at(115)}}},
		{pod: "other", target: other, runs: []run{{started: at(-500)}}},
	}
	h.calls = []elbsim.Call{
		{Action: "DeregisterTargets", Targets: []string{oldPod}, Answered: at(105), Code: "Throttling"},
		{Action: "RegisterTargets", Targets: []string{oldPod}, Answered: at(106), Applied: true},
		{Action: "DeregisterTargets", Targets: []string{other, oldPod}, Answered: at(120), Applied: true},
		{Action: "DeregisterTargets", Targets: []string{oldPod}, Answered: at(130), Applied: true},
	}
	news := func(ms, node int, address string, state target.State) {
		h.news = append(h.news, dataplane.News{At: at(ms), LoadBalancer: name, Node: node, Target: address, State: state})
	}
	for node := range 2 {
		news(-100, node, oldPod, target.Healthy)
		news(-90, node, other, target.Healthy)
	}
	news(40, 0, newPod, target.Initial)
	news(50, 0, newPod, target.Healthy)
	news(150, 1, newPod, target.Healthy)
	news(180, 0, oldPod, target.Unhealthy)
	news(200, 0, oldPod, target.Draining)
	news(300, 0, oldPod, "")
	return h
}

func TestTerminations(t *testing.T) {
	h := play()
	list := h.terminations()
	if len(list) != 1 {
		t.Fatalf("got %+v", list)
	}
	got := list[0]
	ms := func(d *time.Duration) time.Duration {
		if d == nil {
			return -1
		}
		return *d / time.Millisecond
	}
	if got.Pod != "old" || got.Target != oldPod || got.Told != 100*time.Millisecond || ms(got.Signalled) != 110 || ms(got.Ended) != 115 {
		t.Errorf("got %+v", got)
	}
	if ms(got.Deregistered) != 120 {
		t.Errorf("deregistered at %d ms, want 120", ms(got.Deregistered))
	}
	if len(got.Learned) != 2 || ms(got.Learned[0]) != 200 || got.Learned[1] != nil {
		t.Errorf("learned at %v", got.Learned)
	}
	if got.Healthy != 1 {
		t.Errorf("%d healthy pods at the least, want 1: node 1 does not know of the new one", got.Healthy)
	}
	h.lives[0].told = h.began.Add(160 * time.Millisecond)
	if got := h.terminations()[0].Healthy; got != 2 {
		t.Errorf("%d healthy pods at the least, want 2", got)
	}
}

func TestFates(t *testing.T) {
	for name, test := range map[string]struct {
		change    func(*dataplane.Entry)
		explained bool
		words     string
	}{
		"refused": {func(*dataplane.Entry) {}, true, "node 0: refused by pod old, which was told to end 50ms before and got SIGTERM 40ms before; the node learned of the deregistration 50ms later"},
		"reset":   {func(e *dataplane.Entry) { e.Outcome = dataplane.Reset }, true, "node 0: reset by pod old"},
		"under way at SIGTERM": {func(e *dataplane.Entry) {
			e.At = e.At.Add(-60 * time.Millisecond)
			e.Nanoseconds = 30 * time.Millisecond
		}, true, "told to end 10ms later"},
		"a node that never knew":        {func(e *dataplane.Entry) { e.Node = 1 }, true, "never learned"},
		"over before SIGTERM":           {func(e *dataplane.Entry) { e.At = e.At.Add(-60 * time.Millisecond) }, false, "SIGTERM 20ms later"},
		"a node that knew":              {func(e *dataplane.Entry) { e.At = e.At.Add(51 * time.Millisecond) }, false, "learned of the deregistration 1ms before"},
		"a pod that stayed":             {func(e *dataplane.Entry) { e.Target = other }, false, "no pod that left"},
		"no target":                     {func(e *dataplane.Entry) { e.Target, e.Outcome = "", dataplane.NoTarget }, false, "knew of no target"},
		"silence of a pod that is gone": {func(e *dataplane.Entry) { e.Outcome = dataplane.ConnectTimeout }, true, "connect-timeout by pod old"},
		"silence of a pod that runs": {func(e *dataplane.Entry) {
			e.Outcome, e.At = dataplane.ConnectTimeout, e.At.Add(-39*time.Millisecond)
		}, false, "connect-timeout by pod old"},
		"cut off": {func(e *dataplane.Entry) { e.Outcome = dataplane.Cut }, false, "cut by pod old"},
		"cut off as unhealthy": {func(e *dataplane.Entry) {
			e.Outcome, e.Nanoseconds = dataplane.Cut, 40*time.Millisecond
		}, true, "cut by pod old"},
		"answered, they say": {func(e *dataplane.Entry) { e.Outcome = dataplane.Forwarded }, false, "forwarded"},
		"not in the log":     {func(e *dataplane.Entry) { e.RequestID = "r-2" }, false, "not in the load balancer's access log: no route"},
	} {
		h := play()
		e := dataplane.Entry{
			RequestID: "r-1", LoadBalancer: balancerName, At: h.began.Add(150 * time.Millisecond), Target: oldPod, Outcome: dataplane.Refused, Nanoseconds: time.Millisecond,
		}
		test.change(&e)
		fates := h.fates([]load.Loss{{ID: "r-1", Error: "no route"}}, []dataplane.Entry{e}, h.terminations())
		if len(fates) != 1 || fates[0].ID != "r-1" || fates[0].Explained != test.explained || !strings.Contains(fates[0].Words, test.words) {
			t.Errorf("%s: got %+v, want explained=%t and %q", name, fates, test.explained, test.words)
		}
		if odd := unexplained(fates); (len(odd) == 0) != test.explained {
			t.Errorf("%s: unexplained are %v", name, odd)
		}
	}
}

// Flows have no ids. Three losses at a node, two of which do not know the address
// they came from, among flows of another node, another time and with a good end.
func TestFlowsAreMatched(t *testing.T) {
	h := play()
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	flow := func(seq uint64, at, node int, client string, outcome dataplane.Outcome) dataplane.Entry {
		return dataplane.Entry{Seq: seq, LoadBalancer: name, At: h.began.Add(ms(at)), Node: node, Client: client, Outcome: outcome}
	}
	entries := []dataplane.Entry{
		flow(1, 15, 0, "c:1", dataplane.Refused), // another node
		flow(2, 5, 1, "c:1", dataplane.Refused),  // the port's earlier use
		flow(3, 16, 1, "c:2", dataplane.Forwarded),
		flow(4, 29, 1, "c:4", dataplane.Refused),
		flow(5, 17, 1, "c:3", dataplane.Refused),
		flow(6, 18, 1, "c:1", dataplane.Refused),
	}
	losses := []load.Loss{
		{ID: "r-0", Target: nodeOne, Sent: ms(10), Ended: ms(20)},
		{ID: "r-1", Target: nodeOne, Sent: ms(11), Ended: ms(21), From: "c:1"},
		{ID: "r-2", Target: nodeOne, Sent: ms(12), Ended: ms(30)},
		{ID: "r-3", Target: nodeOne, Sent: ms(10), Ended: ms(40)},
	}
	var got []uint64
	found := h.match(losses, entries)
	for _, loss := range losses {
		got = append(got, found[loss.ID].Seq)
	}
	if want := []uint64{5, 6, 4, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestJudge(t *testing.T) {
	good := func(lost int) Report {
		r := Report{Terminations: make([]Termination, 4), Timing: Timing{Hold: 8}}
		r.Load = load.Result{Sent: 1000, Lost: lost, Classes: map[load.Class]int{}, Duplicates: &load.Duplicates{}}
		for range lost {
			r.Fates = append(r.Fates, Fate{ID: "r-1", Explained: true})
		}
		return r
	}
	at := func(d time.Duration) *time.Duration { return &d }
	restart := func(signalled, back *time.Duration) func(*Report) {
		return func(r *Report) {
			r.Restarts = []Restart{{Pod: "one", Ill: time.Second, Signalled: signalled, Back: back}}
		}
	}
	for name, test := range map[string]struct {
		strategy string
		lost     int
		change   func(*Report)
		want     string
	}{
		"losses without protection":    {"none", 7, func(*Report) {}, ""},
		"no losses with it":            {"sleep", 0, func(*Report) {}, ""},
		"no losses without protection": {"none", 0, func(*Report) {}, "nothing was lost although"},
		"losses in spite of it":        {"sleep", 7, func(*Report) {}, "7 requests were lost in spite"},
		"excused losses": {"hold", 7, func(r *Report) {
			for i := range r.Fates {
				r.Fates[i].Excused = true
			}
		}, ""},
		"some excused":              {"hold", 7, func(r *Report) { r.Fates[3].Excused = true }, "6 requests were lost in spite"},
		"an unexplained loss":       {"none", 7, func(r *Report) { r.Fates[3].Explained = false }, "1 of 7 lost requests are not explained"},
		"a duplicate":               {"none", 7, func(r *Report) { r.Load.Duplicates.Count = 1 }, "more than once"},
		"a request not sent":        {"none", 7, func(r *Report) { r.Load.Punctuality.Skipped = 1 }, "could not send 1"},
		"no port for a request":     {"none", 7, func(r *Report) { r.Load.Classes[load.Local] = 2 }, "could not send 2"},
		"a pod too few":             {"none", 7, func(r *Report) { r.Terminations = r.Terminations[1:] }, "3 pods were told to end, want 4"},
		"a restart":                 {"hold", 0, restart(at(2*time.Second), at(3*time.Second)), ""},
		"no restart":                {"hold", 0, restart(nil, nil), "was not restarted"},
		"a restart that is held":    {"hold", 0, restart(at(9*time.Second), at(10*time.Second)), "as if the pod were held"},
		"a restart that is delayed": {"sleep", 0, restart(at(20*time.Second), at(21*time.Second)), ""},
	} {
		c := caseOf(t, test.strategy, "rolling-update", "ALB", "normal")
		r := good(test.lost)
		test.change(&r)
		r.count()
		if got := c.judge(r, 4); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// A load balancer that has nobody to send to says so. That is explained by pods that left
// if the node knew of none that stays, and excused while no pod was wanted.
func TestNoTargetIsExplained(t *testing.T) {
	for name, test := range map[string]struct {
		at                 int // ms
		change             func(*history)
		explained, excused bool
	}{
		"others are there":    {at: 250},
		"others leave":        {at: 250, change: alone, explained: true},
		"before anybody left": {at: 50, change: alone},
		"still registered":    {at: 150, change: alone},
		"no pod is wanted": {at: 250, explained: true, excused: true, change: func(h *history) {
			h.unwanted = window{h.began.Add(200 * time.Millisecond), h.began.Add(300 * time.Millisecond)}
		}},
		"pods are wanted again": {at: 350, change: func(h *history) {
			h.unwanted = window{h.began.Add(200 * time.Millisecond), h.began.Add(300 * time.Millisecond)}
		}},
	} {
		h := play()
		if test.change != nil {
			test.change(&h)
		}
		e := dataplane.Entry{
			RequestID: "r-1", LoadBalancer: balancerName, At: h.began.Add(time.Duration(test.at) * time.Millisecond), Outcome: dataplane.NoTarget,
		}
		f := h.fates([]load.Loss{{ID: "r-1"}}, []dataplane.Entry{e}, h.terminations())[0]
		if f.Explained != test.explained || f.Excused != test.excused {
			t.Errorf("%s: got %+v", name, f)
		}
	}
}

// alone makes node 0 know of nobody but the pod that leaves.
func alone(h *history) {
	h.news = slices.DeleteFunc(h.news, func(n dataplane.News) bool { return n.Target != oldPod })
}

// A pod that stays loses requests while its container is restarted, and at no other time.
func TestRestartsExplain(t *testing.T) {
	for name, test := range map[string]struct {
		at        int // ms
		outcome   dataplane.Outcome
		reused    bool
		explained bool
	}{
		"amid it":                        {150, dataplane.Refused, false, true},
		"at SIGTERM":                     {139, dataplane.Reset, false, true},
		"before it":                      {120, dataplane.Refused, false, false},
		"after it":                       {170, dataplane.Refused, false, false},
		"of its own":                     {150, dataplane.ResponseTimeout, false, false},
		"no such pod":                    {150, dataplane.NoTarget, false, false},
		"a connection that was kept":     {170, dataplane.Reset, true, true},
		"a new connection":               {170, dataplane.Reset, false, false},
		"one that was kept for too long": {2500, dataplane.Reset, true, false},
	} {
		h := play()
		at := func(ms int) time.Time { return h.began.Add(time.Duration(ms) * time.Millisecond) }
		stays := &h.lives[1]
		stays.ill = at(130)
		stays.runs[0].signalled, stays.runs[0].ended = at(140), at(145)
		stays.runs = append(stays.runs, run{started: at(160)})
		e := dataplane.Entry{
			RequestID: "r-1", LoadBalancer: balancerName, At: at(test.at), Target: other, Outcome: test.outcome, Reused: test.reused, Nanoseconds: 2 * time.Millisecond,
		}
		if f := h.fates([]load.Loss{{ID: "r-1"}}, []dataplane.Entry{e}, h.terminations())[0]; f.Explained != test.explained {
			t.Errorf("%s: got %+v", name, f)
		}
		restarts := h.restarts()
		if len(restarts) != 1 || restarts[0].Pod != "other" || restarts[0].Ill != 130*time.Millisecond ||
			*restarts[0].Signalled != 140*time.Millisecond || *restarts[0].Back != 160*time.Millisecond {
			t.Errorf("%s: got %+v", name, restarts)
		}
	}
}

// A request on a kept flow was carried by the last that began at its client's address,
// also if the load balancer had forgotten that before the request was sent.
func TestKeptFlowsAreMatched(t *testing.T) {
	h := play()
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	flow := func(seq uint64, began, ended int, client string, outcome dataplane.Outcome) dataplane.Entry {
		return dataplane.Entry{
			Seq: seq, LoadBalancer: name, Node: 1, Client: client, At: h.began.Add(ms(began)), Nanoseconds: ms(ended - began), Outcome: outcome,
		}
	}
	entries := []dataplane.Entry{
		flow(1, 0, 50, "c:2", dataplane.Reset), // the port's earlier use
		flow(2, 60, 100, "c:2", dataplane.Cut),
		flow(3, 0, 200, "c:1", dataplane.Reset),
		flow(4, 195, 200, "c:1", dataplane.Reset), // the port's later use
		flow(5, 0, 200, "c:3", dataplane.Forwarded),
	}
	losses := []load.Loss{
		{ID: "r-1", Target: nodeOne, Sent: ms(190), Ended: ms(191), From: "c:1", Reused: true},
		{ID: "r-2", Target: nodeOne, Sent: ms(190), Ended: ms(200), From: "c:2", Reused: true},
		{ID: "r-3", Target: nodeOne, Sent: ms(190), Ended: ms(200), From: "c:3", Reused: true},
		{ID: "r-4", Target: nodeOne, Sent: ms(190), Ended: ms(200), From: "c:4", Reused: true},
	}
	found := h.match(losses, entries)
	var got []uint64
	for _, loss := range losses {
		got = append(got, found[loss.ID].Seq)
	}
	if want := []uint64{3, 2, 5, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
