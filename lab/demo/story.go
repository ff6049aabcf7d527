package demo

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// remembered is how long a pod that is gone can still explain what follows.
const remembered = time.Minute

// story turns what the watchers see into lines: it knows what was before, and so
// what changed and how long that took. It reads no clock.
type story struct {
	began   time.Time
	pods    map[string]*podStory
	targets map[string]*targetStory // by address:port
	nodes   map[string]nodeSeen
	// deployment is as it was seen last.
	deployment deploymentSeen
	requests   requestsSeen
	samples    []sample

	// Of the present act:
	act           string
	narration     string
	calls         map[string]int // of tgc, by action and code
	first         int            // healthy targets at the beginning
	fewest        int            // and at the worst moment
	requestsFirst requestsSeen
}

type podStory struct {
	podSeen
	seen, readyAt time.Time
	// outAt is when the pod became one that must not be a target: it lost its
	// readiness, was told to end, or vanished. Zero while it may be one.
	outAt   time.Time
	outHow  string
	goneAt  time.Time
	started bool // has been told to run on a node
}

type targetStory struct {
	elbsim.TargetState
	pod      string
	since    time.Time
	calledAt time.Time // the latest call that registered or deregistered it
}

func newStory(began time.Time) *story {
	return &story{
		began: began,
		pods:  map[string]*podStory{}, targets: map[string]*targetStory{}, nodes: map[string]nodeSeen{}, calls: map[string]int{},
	}
}

// happening is something that a watcher saw.
type happening interface {
	when() time.Time
	// tell takes note of it and gives the lines to print, if any.
	tell(s *story) []line
}

// said is something that the play does.
type said struct {
	at   time.Time
	what string
}

func (h said) when() time.Time { return h.at }

func (h said) tell(s *story) []line {
	return []line{{at: h.at.Sub(s.began), who: byDemo, what: h.what, tone: strong}}
}

// podSeen is a pod as it is at a moment.
type podSeen struct {
	at              time.Time
	name, node, ip  string
	ready, leaving  bool
	notReadyBecause string
	grace           time.Duration
}

func (h podSeen) when() time.Time { return h.at }

func (h podSeen) tell(s *story) []line {
	p, known := s.pods[h.name]
	if !known {
		p = &podStory{seen: h.at}
		s.pods[h.name] = p
	}
	was := p.podSeen
	p.podSeen = h
	var lines []line
	tell := func(what, after string, t tone) {
		lines = append(lines, line{
			at: h.at.Sub(s.began), who: byKubernetes, pod: h.name, target: keyOf(h.ip), what: what, after: after, tone: t,
		})
	}
	if h.node != "" && !p.started {
		p.started = true
		tell("starts on "+h.node, "", faint)
	}
	if h.ready && !was.ready {
		since := p.seen
		if !p.outAt.IsZero() {
			since = p.outAt
		}
		tell("Ready", waited(since, h.at, ""), good)
		p.readyAt, p.outAt = h.at, time.Time{}
	}
	if h.leaving && !was.leaving {
		p.out(h.at, "deletion")
		tell(fmt.Sprintf("is told to end, grace %s", h.grace), "", changing)
	}
	if was.ready && !h.ready && !h.leaving {
		p.out(h.at, "not Ready")
		tell("not Ready: "+h.notReadyBecause, "", bad)
	}
	return lines
}

// out notes that the pod must not be a target any more; the first cause counts.
func (p *podStory) out(at time.Time, how string) {
	if p.outAt.IsZero() {
		p.outAt, p.outHow = at, how
	}
}

// podGone is a pod that exists no more.
type podGone struct {
	at   time.Time
	name string
}

func (h podGone) when() time.Time { return h.at }

func (h podGone) tell(s *story) []line {
	p, known := s.pods[h.name]
	if !known {
		return nil
	}
	after := ""
	if p.leaving {
		after = waited(p.outAt, h.at, "")
	}
	p.out(h.at, "the pod was gone")
	p.goneAt, p.ready = h.at, false
	maps.DeleteFunc(s.pods, func(_ string, p *podStory) bool {
		return !p.goneAt.IsZero() && h.at.Sub(p.goneAt) > remembered
	})
	return []line{{
		at: h.at.Sub(s.began), who: byKubernetes, pod: h.name, target: keyOf(p.ip), what: "gone", after: after, tone: faint,
	}}
}

// callSeen is a call to AWS, from the simulator's log.
type callSeen struct{ elbsim.Call }

func (h callSeen) when() time.Time { return h.Received }

func (h callSeen) tell(s *story) []line {
	if h.Code == "" {
		return nil // in flight; it comes again with its answer
	}
	l := line{at: h.Received.Sub(s.began), who: byController, what: h.Action, tone: strong}
	if !strings.Contains(h.UserAgent, "tgc/") {
		l.who = byOther
	}
	if h.Code != elbsim.CodeOK {
		l.what, l.tone = h.Action+" is answered with "+h.Code, bad
	}
	if l.who == byController {
		s.calls[h.Action+" "+h.Code]++
	}
	keys := keysOf(h.Targets)
	switch {
	case h.Action == "RegisterTargets":
		l.after = s.register(keys, h.Received)
	case h.Action == "DeregisterTargets":
		l.after = s.deregister(keys, h.Received)
	case l.who == byController && h.Code == elbsim.CodeOK:
		return nil // reads are counted, not told
	}
	l.pod, l.target = s.about(keys)
	return []line{l}
}

// register notes when targets were registered and tells how long the one that
// waited longest had been Ready.
func (s *story) register(keys []string, at time.Time) string {
	var since time.Time
	for _, key := range keys {
		s.target(key).calledAt = at
		if p := s.podOf(key); p != nil && (since.IsZero() || p.readyAt.Before(since)) {
			since = p.readyAt
		}
	}
	return waited(since, at, "Ready")
}

// deregister does the same for the way out.
func (s *story) deregister(keys []string, at time.Time) string {
	var since time.Time
	var how string
	for _, key := range keys {
		s.target(key).calledAt = at
		if p := s.podOf(key); p != nil && !p.outAt.IsZero() && (since.IsZero() || p.outAt.Before(since)) {
			since, how = p.outAt, p.outHow
		}
	}
	return waited(since, at, how)
}

// about names the pod and target of a call, or how many there are.
func (s *story) about(keys []string) (pod, target string) {
	switch len(keys) {
	case 0:
		return "", ""
	case 1:
		if p := s.podOf(keys[0]); p != nil {
			pod = p.name
		}
		return pod, keys[0]
	}
	return "", fmt.Sprintf("%d targets", len(keys))
}

// targetsSeen is the whole target group at a moment.
type targetsSeen struct {
	at      time.Time
	targets []elbsim.TargetState
}

func (h targetsSeen) when() time.Time { return h.at }

func (h targetsSeen) tell(s *story) []line {
	var lines []line
	listed := map[string]bool{}
	defer func() { s.fewest = min(s.fewest, s.healthy()) }()
	for _, now := range h.targets {
		listed[now.Target] = true
		t := s.target(now.Target)
		if t.State == now.State {
			t.TargetState = now
			continue
		}
		l := line{at: h.at.Sub(s.began), who: byBalancer, pod: t.pod, target: now.Target, what: string(now.State), tone: toneOf(now.State)}
		if t.State != "" {
			l.what = string(t.State) + " → " + l.what
		}
		if now.State == target.Healthy {
			l.after = waited(t.calledAt, h.at, "")
		}
		lines = append(lines, l)
		t.TargetState, t.since = now, h.at
	}
	for _, key := range slices.Sorted(maps.Keys(s.targets)) {
		t := s.targets[key]
		if listed[key] || t.State == "" {
			continue
		}
		delete(s.targets, key)
		lines = append(lines, line{
			at: h.at.Sub(s.began), who: byBalancer, pod: t.pod, target: key,
			what: string(t.State) + " → gone", after: waited(t.since, h.at, ""), tone: faint,
		})
	}
	return lines
}

// eventSeen is an Event on the binding.
type eventSeen struct {
	at           time.Time
	reason, note string
	warning      bool
	// times is how often it has happened; the same again is no new Event.
	times int
}

func (h eventSeen) when() time.Time { return h.at }

func (h eventSeen) tell(s *story) []line {
	l := line{at: h.at.Sub(s.began), who: byEvent, what: h.note, tone: faint}
	if !strings.HasPrefix(h.note, h.reason) {
		l.what = h.reason + ": " + h.note
	}
	if h.times > 1 {
		l.after = fmt.Sprintf("%d times by now", h.times)
	}
	if h.warning {
		l.tone = changing
	}
	return []line{l}
}

// rows puts pods and targets side by side, as they are at a moment.
func (s *story) rows(now time.Time) []row {
	var rows []row
	shown := map[string]bool{}
	for _, p := range slices.SortedFunc(maps.Values(s.pods), byName) {
		if !p.goneAt.IsZero() {
			continue
		}
		r := row{pod: p.name, node: p.node, ready: p.readiness(), age: now.Sub(p.seen)}
		if t := s.targets[keyOf(p.ip)]; t != nil && t.State != "" {
			r.show(t, now)
			shown[t.Target] = true
		}
		rows = append(rows, r)
	}
	for _, key := range slices.Sorted(maps.Keys(s.targets)) {
		if t := s.targets[key]; t.State != "" && !shown[key] {
			var r row
			r.show(t, now)
			rows = append(rows, r)
		}
	}
	return rows
}

func byName(a, b *podStory) int { return cmp.Compare(a.name, b.name) }

func (r *row) show(t *targetStory, now time.Time) {
	r.target, r.state, r.reason = t.Target, string(t.State), t.Reason
	r.since, r.tone = now.Sub(t.since), toneOf(t.State)
}

func (p *podStory) readiness() string {
	switch {
	case p.leaving:
		return "leaving"
	case p.ready:
		return "yes"
	}
	return "no"
}

// healthy counts the healthy targets.
func (s *story) healthy() int {
	n := 0
	for _, t := range s.targets {
		if t.State == target.Healthy {
			n++
		}
	}
	return n
}

// beginAct begins to count anew.
func (s *story) beginAct(name, narration string) {
	s.act, s.narration = name, narration
	clear(s.calls)
	s.requestsFirst = s.requests
	s.first = s.healthy()
	s.fewest = s.first
}

// summary tells what the present act took.
func (s *story) summary() string {
	text := "calls to AWS: " + s.tally()
	if s.first > 0 {
		text += fmt.Sprintf("; healthy targets: %d at first, never fewer than %d, %d now", s.first, s.fewest, s.healthy())
	}
	if answered := s.requests.answered - s.requestsFirst.answered; answered > 0 {
		text += fmt.Sprintf("; requests: %d answered, %d lost", answered, s.requests.lost-s.requestsFirst.lost)
	}
	return text
}

// tally counts the calls of tgc in the present act, most frequent first.
func (s *story) tally() string {
	if len(s.calls) == 0 {
		return "none"
	}
	names := slices.SortedFunc(maps.Keys(s.calls), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.calls[b], s.calls[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%d %s", s.calls[name], strings.TrimSuffix(name, " "+elbsim.CodeOK))
	}
	return strings.Join(parts, ", ")
}

// target finds or begins the story of a target, and remembers whose it is.
func (s *story) target(key string) *targetStory {
	t, known := s.targets[key]
	if !known {
		t = &targetStory{}
		s.targets[key] = t
	}
	if p := s.podOf(key); p != nil {
		t.pod = p.name
	}
	return t
}

// podOf finds the pod with the address of a target; of several the latest.
func (s *story) podOf(key string) *podStory {
	var found *podStory
	for _, p := range s.pods {
		if p.ip != "" && keyOf(p.ip) == key && (found == nil || p.seen.After(found.seen)) {
			found = p
		}
	}
	return found
}

// keyOf is the target at a pod's address; empty before it has one.
func keyOf(ip string) string {
	if ip == "" {
		return ""
	}
	return net.JoinHostPort(ip, strconv.Itoa(podPort))
}

// keysOf completes targets that a call named without a port.
func keysOf(targets []string) []string {
	keys := make([]string, len(targets))
	for i, t := range targets {
		keys[i] = t
		if _, _, err := net.SplitHostPort(t); err != nil {
			keys[i] = keyOf(t)
		}
	}
	return keys
}

func toneOf(state target.State) tone {
	switch state {
	case target.Healthy:
		return good
	case target.Unhealthy, target.UnhealthyDraining, target.Unavailable:
		return bad
	}
	return changing
}

// waited is how long something took, and after what; empty if nobody knows.
func waited(since, until time.Time, after string) string {
	if since.IsZero() {
		return ""
	}
	if after != "" {
		after = " after " + after
	}
	switch took := until.Sub(since); {
	case took < time.Millisecond:
		// The watchers are not the first to learn of something.
		return "+<1 ms" + after
	case took < time.Second:
		return fmt.Sprintf("+%d ms%s", took.Milliseconds(), after)
	default:
		return fmt.Sprintf("+%.1f s%s", took.Seconds(), after)
	}
}
