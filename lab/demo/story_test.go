package demo

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

var update = flag.Bool("update", false, "write the golden files anew")

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(milliseconds int) time.Time { return began.Add(time.Duration(milliseconds) * time.Millisecond) }

const (
	podA, keyA = "web-5976b8bd66-aaaaa", "10.1.1.2:8080"
	podB, keyB = "web-5976b8bd66-bbbbb", "10.1.2.2:8080"
)

func podAt(ms int, name string, change func(*podSeen)) podSeen {
	p := podSeen{at: at(ms), name: name, node: "node-1", ip: "10.1.1.2", notReadyBecause: "ContainersNotReady"}
	if name == podB {
		p.node, p.ip = "node-2", "10.1.2.2"
	}
	change(&p)
	return p
}

func isReady(p *podSeen)   { p.ready = true }
func isUnready(p *podSeen) { p.ready = false }
func isLeaving(p *podSeen) { p.ready, p.leaving, p.grace = true, true, 30*time.Second }

func callAt(ms int, action, code string, targets ...string) callSeen {
	return callSeen{elbsim.Call{Received: at(ms), Action: action, Code: code, Targets: targets, UserAgent: "m/E tgc/dev"}}
}

func targetsAt(ms int, states ...string) targetsSeen {
	h := targetsSeen{at: at(ms)}
	for i := 0; i < len(states); i += 2 {
		h.targets = append(h.targets, elbsim.TargetState{Target: states[i], State: target.State(states[i+1])})
	}
	if len(states) > 1 && states[1] == "draining" {
		h.targets[0].Reason = "Target.DeregistrationInProgress"
	}
	return h
}

func byHand(call callSeen) callSeen {
	call.UserAgent = "aws-cli/2"
	return call
}

// arrival and departure are what the watchers see of two pods.
func arrival() []happening {
	return []happening{
		said{at: at(0), what: "$ kubectl create deployment web --replicas=2"},
		podSeen{at: at(10), name: podA},
		podAt(30, podA, isUnready),
		podAt(35, podB, isUnready),
		podAt(120, podA, isReady),
		callAt(132, "DescribeTargetGroups", "OK"),
		callAt(132, "RegisterTargets", "", keyA),
		callAt(132, "RegisterTargets", "OK", keyA),
		targetsAt(134, keyA, "initial"),
		podAt(140, podB, isReady),
		callAt(141, "RegisterTargets", "Throttling", keyB),
		callAt(1200, "RegisterTargets", "OK", keyB),
		eventSeen{at: at(1201), reason: "Registered", note: "Registered 1 target: " + keyB + " (PodReady)"},
		targetsAt(1202, keyA, "healthy", keyB, "initial"),
		targetsAt(2205, keyA, "healthy", keyB, "healthy"),
		byHand(callAt(2300, "DescribeTargetHealth", "OK")),
	}
}

func departure() []happening {
	return []happening{
		podAt(3000, podA, isLeaving),
		callAt(3008, "DeregisterTargets", "OK", keyA),
		targetsAt(3010, keyA, "draining", keyB, "healthy"),
		eventSeen{at: at(3011), reason: "Deregistered", note: "Deregistered 1 target: " + keyA + " (PodTerminating)", times: 2},
		eventSeen{at: at(3012), reason: "Throttled", note: "Rate exceeded", warning: true},
		podAt(3500, podB, isUnready),
		callAt(3510, "DeregisterTargets", "OK", "10.1.2.2"),
		targetsAt(3512, keyA, "draining", keyB, "draining"),
		podAt(4000, podB, isReady),
		callAt(4003, "RegisterTargets", "OK", keyB, keyA),
		targetsAt(4005, keyA, "draining", keyB, "unhealthy"),
	}
}

// surroundings are what is seen of the rest of the world while two pods leave.
func surroundings() []happening {
	refused := dataplane.Entry{At: at(4100), Nanoseconds: 2e6, Target: keyA, Outcome: dataplane.Refused, Status: 502}
	nowhere := dataplane.Entry{At: at(4200), Outcome: dataplane.NoTarget, Status: 503}
	return []happening{
		nodeSeen{at: at(4010), name: "node-1", zone: "a"},
		nodeSeen{at: at(4020), name: "node-1", zone: "a", cordoned: true},
		nodeSeen{at: at(4021), name: "node-1", zone: "a", cordoned: true},
		nodeSeen{at: at(4030), name: "node-1", zone: "a"},
		deploymentSeen{at: at(4040), replicas: 2, protected: true},
		lossesSeen{at: at(4102), first: refused, count: 7},
		lossesSeen{at: at(4200), first: nowhere, count: 1},
		requestsSeen{at: at(4300), answered: 400, lost: 8},
	}
}

func end() []happening {
	return []happening{
		podGone{at: at(8000), name: podA},
		podGone{at: at(8001), name: "never-seen"},
		targetsAt(8010, keyB, "unhealthy"),
	}
}

func tellAll(screen terminal, s *story, happenings []happening) {
	for _, h := range happenings {
		for _, l := range h.tell(s) {
			screen.line(l)
		}
	}
}

func TestStory(t *testing.T) {
	for name, color := range map[string]bool{"story.txt": false, "story-color.txt": true} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			screen, s := terminal{out: &out, color: color}, newStory(began)
			screen.heading("Two pods", "They come, and later they leave; what is told of it is long enough for this line to be broken into two.")
			s.beginAct("", "")
			tellAll(screen, s, arrival())
			screen.table(s.rows(at(2400)))
			screen.say("    %s", s.summary())
			s.beginAct("", "")
			tellAll(screen, s, departure())
			tellAll(screen, s, surroundings())
			screen.table(s.rows(at(64005)))
			tellAll(screen, s, end())
			screen.table(s.rows(at(64005)))
			screen.say("    %s", s.summary())
			golden(t, name, out.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant (-update writes it anew):\n%s", got, want)
	}
}

func TestStoryForgetsPodsThatAreLongGone(t *testing.T) {
	s := newStory(began)
	podAt(0, podA, isReady).tell(s)
	podGone{at: at(10), name: podA}.tell(s)
	podAt(20, podB, isReady).tell(s)
	podGone{at: at(20).Add(2 * remembered), name: podB}.tell(s)
	if _, kept := s.pods[podA]; kept {
		t.Errorf("pod %s is kept for ever", podA)
	}
	if got := s.rows(at(30)); len(got) != 0 {
		t.Errorf("rows of pods that are gone: %+v", got)
	}
}

func TestStoryTellsTheLatestOwnerOfAnAddress(t *testing.T) {
	s := newStory(began)
	podAt(0, podA, isReady).tell(s)
	podGone{at: at(10), name: podA}.tell(s)
	podAt(20, "web-new", isReady).tell(s)
	lines := callAt(25, "RegisterTargets", "OK", keyA).tell(s)
	if len(lines) != 1 || lines[0].pod != "web-new" || lines[0].after != "+5 ms after Ready" {
		t.Errorf("got %+v, want the call to be about web-new, 5 ms after Ready", lines)
	}
}

func TestWaited(t *testing.T) {
	for _, c := range []struct {
		since, until time.Time
		after, want  string
	}{
		{time.Time{}, at(5), "Ready", ""},
		{at(5), at(5), "Ready", "+<1 ms after Ready"},
		{at(5), at(3), "", "+<1 ms"},
		{at(5), at(17), "", "+12 ms"},
		{at(0), at(1040), "deletion", "+1.0 s after deletion"},
	} {
		if got := waited(c.since, c.until, c.after); got != c.want {
			t.Errorf("from %v to %v: got %q, want %q", c.since, c.until, got, c.want)
		}
	}
}

func TestLossesAreToldTogether(t *testing.T) {
	entry := func(seq uint64, to string, outcome dataplane.Outcome) dataplane.Entry {
		return dataplane.Entry{Seq: seq, At: at(int(seq)), Target: to, Outcome: outcome}
	}
	got := lossesOf([]dataplane.Entry{
		entry(1, keyA, dataplane.Forwarded), entry(2, keyB, dataplane.Reset), entry(3, keyA, dataplane.Refused),
		entry(4, keyB, dataplane.Reset), entry(5, keyA, dataplane.ClientGone), entry(6, "", dataplane.NoTarget),
	}, at(9))
	want := []lossesSeen{
		{at: at(9), first: entry(2, keyB, dataplane.Reset), count: 2},
		{at: at(9), first: entry(3, keyA, dataplane.Refused), count: 1},
		{at: at(9), first: entry(6, "", dataplane.NoTarget), count: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSamplesCountOnceASecond(t *testing.T) {
	s := newStory(began)
	podAt(0, podA, isReady).tell(s)
	podAt(0, podB, isReady).tell(s)
	podAt(10, podB, isLeaving).tell(s)
	targetsAt(20, keyA, "healthy", keyB, "draining").tell(s)
	for ms := 0; ms < 2500; ms += 100 {
		s.sample(at(ms))
	}
	want := sample{at: at(2000), ready: 1, healthy: 1, draining: 1}
	if len(s.samples) != 3 || s.samples[2] != want {
		t.Errorf("got %+v, want three, the last %+v", s.samples, want)
	}
	for ms := 3000; ms < 1000*(remembersSamples+10); ms += 1000 {
		s.sample(at(ms))
	}
	if len(s.samples) != remembersSamples {
		t.Errorf("%d samples are kept, want %d", len(s.samples), remembersSamples)
	}
}

func TestExpectations(t *testing.T) {
	for _, c := range []struct {
		of   expectation
		lost int
		ok   bool
	}{{none, 0, true}, {none, 1, false}, {some, 0, false}, {some, 3, true}, {whatever, 0, true}, {whatever, 3, true}} {
		if err := c.of.check(c.lost); (err == nil) != c.ok {
			t.Errorf("expectation %d, %d lost: %v", c.of, c.lost, err)
		}
	}
}
