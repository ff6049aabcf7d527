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
)

// play is a history in which the pod old is told to end at 100 ms, gets SIGTERM at
// 110 ms, and is deregistered at 120 ms; node 0 learns of that at 200 ms, node 1
// never does. The pod new is healthy to node 0 from 50 ms on, to node 1 from 150 ms.
func play() history {
	h := history{began: time.Now(), nodes: []string{"http://127.127.0.1:10080", nodeOne}}
	at := func(ms int) time.Time { return h.began.Add(time.Duration(ms) * time.Millisecond) }
	h.leavers = []life{{pod: "old", target: oldPod, told: at(100), signalled: at(110), ended: at(115)}}
	h.calls = []elbsim.Call{
		{Action: "DeregisterTargets", Targets: []string{oldPod}, Received: at(105), Code: "Throttling"},
		{Action: "RegisterTargets", Targets: []string{oldPod}, Received: at(106), Applied: true},
		{Action: "DeregisterTargets", Targets: []string{other, oldPod}, Received: at(120), Applied: true},
		{Action: "DeregisterTargets", Targets: []string{oldPod}, Received: at(130), Applied: true},
	}
	news := func(ms, node int, address string, state target.State) {
		h.news = append(h.news, dataplane.News{At: at(ms), Node: node, Target: address, State: state})
	}
	for node := range 2 {
		news(-100, node, oldPod, target.Healthy)
		news(-90, node, other, target.Healthy)
	}
	news(40, 0, newPod, target.Initial)
	news(50, 0, newPod, target.Healthy)
	news(150, 1, newPod, target.Healthy)
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
	h.leavers[0].told = h.began.Add(160 * time.Millisecond)
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
		"no target":                     {func(e *dataplane.Entry) { e.Target, e.Outcome = "", dataplane.NoTarget }, false, "no-target"},
		"silence of a pod that is gone": {func(e *dataplane.Entry) { e.Outcome = dataplane.ConnectTimeout }, true, "connect-timeout by pod old"},
		"silence of a pod that runs": {func(e *dataplane.Entry) {
			e.Outcome, e.At = dataplane.ConnectTimeout, e.At.Add(-39*time.Millisecond)
		}, false, "connect-timeout by pod old"},
		"answered, they say": {func(e *dataplane.Entry) { e.Outcome = dataplane.Forwarded }, false, "forwarded"},
		"not in the log":     {func(e *dataplane.Entry) { e.RequestID = "r-2" }, false, "not in the load balancer's access log: no route"},
	} {
		h := play()
		e := dataplane.Entry{
			RequestID: "r-1", At: h.began.Add(150 * time.Millisecond), Target: oldPod, Outcome: dataplane.Refused, Nanoseconds: time.Millisecond,
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
		return dataplane.Entry{Seq: seq, At: h.began.Add(ms(at)), Node: node, Client: client, Outcome: outcome}
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
		r := Report{Terminations: make([]Termination, 4)}
		r.Load = load.Result{Sent: 1000, Lost: lost, Classes: map[load.Class]int{}, Duplicates: &load.Duplicates{}}
		for range lost {
			r.Fates = append(r.Fates, Fate{ID: "r-1", Explained: true})
		}
		return r
	}
	for name, test := range map[string]struct {
		strategy string
		lost     int
		change   func(*Report)
		want     string
	}{
		"losses without protection":    {"none", 7, func(*Report) {}, ""},
		"no losses with it":            {"sleep", 0, func(*Report) {}, ""},
		"no losses without protection": {"none", 0, func(*Report) {}, "nothing was lost without protection"},
		"losses in spite of it":        {"sleep", 7, func(*Report) {}, "7 requests were lost in spite"},
		"an unexplained loss":          {"none", 7, func(r *Report) { r.Fates[3].Explained = false }, "1 of 7 lost requests are not explained"},
		"a duplicate":                  {"none", 7, func(r *Report) { r.Load.Duplicates.Count = 1 }, "more than once"},
		"a request not sent":           {"none", 7, func(r *Report) { r.Load.Punctuality.Skipped = 1 }, "could not send 1"},
		"no port for a request":        {"none", 7, func(r *Report) { r.Load.Classes[load.Local] = 2 }, "could not send 2"},
		"a pod too few":                {"none", 7, func(r *Report) { r.Terminations = r.Terminations[1:] }, "3 pods were told to end, want 4"},
	} {
		i := slices.IndexFunc(Strategies(), func(s Strategy) bool { return s.Name == test.strategy })
		c := Case{Strategy: Strategies()[i], Scenario: Scenarios()[0]}
		r := good(test.lost)
		test.change(&r)
		if got := c.judge(r); test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
