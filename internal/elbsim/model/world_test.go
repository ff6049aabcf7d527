package model

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// epoch is where the clock of every test starts.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// fixture is a World with one group that is in use.
type fixture struct {
	*World
	t   *testing.T
	arn string
}

func newFixture(t *testing.T, protocol string, adjust func(*Config)) fixture {
	t.Helper()
	config := DefaultConfig("eu-central-1", "123456789012")
	config.Buckets = nil
	if adjust != nil {
		adjust(&config)
	}
	w := New(config)
	f := fixture{World: w, t: t}
	f.arn = f.group("web", protocol)
	f.use(f.arn, protocol)
	return f
}

func (f fixture) group(name, protocol string) string {
	f.t.Helper()
	view, err := f.CreateTargetGroup(epoch, GroupSpec{Name: name, Type: target.TypeIP, Protocol: protocol, Port: 80, VPCID: "vpc-1"})
	if err != nil {
		f.t.Fatal(err)
	}
	return view.ARN.String()
}

func (f fixture) use(arn, protocol string) (balancer, listener string) {
	f.t.Helper()
	b, err := f.CreateLoadBalancer(epoch, BalancerSpec{Name: fmt.Sprintf("lb%d", f.serial), Type: balancerTypeOf(protocol)})
	if err != nil {
		f.t.Fatal(err)
	}
	l, err := f.CreateListener(epoch, ListenerSpec{Balancer: b.ARN, Protocol: protocol, Port: 80, Groups: []string{arn}})
	if err != nil {
		f.t.Fatal(err)
	}
	return b.ARN, l.ARN
}

func ref(text string) TargetRef {
	key, err := target.ParseKey(text)
	if err != nil {
		return TargetRef{ID: text}
	}
	return TargetRef{ID: key.Addr.String(), Port: int(key.Port)}
}

func refs(texts ...string) []TargetRef {
	var all []TargetRef
	for _, text := range texts {
		all = append(all, ref(text))
	}
	return all
}

func (f fixture) register(d time.Duration, targets ...string) {
	f.t.Helper()
	if err := f.RegisterTargets(at(d), f.arn, refs(targets...)); err != nil {
		f.t.Fatal(err)
	}
}

func (f fixture) deregister(d time.Duration, targets ...string) {
	f.t.Helper()
	if err := f.DeregisterTargets(at(d), f.arn, refs(targets...)); err != nil {
		f.t.Fatal(err)
	}
}

// shown spells out the targets of the group: address:port=state/reason.
func (f fixture) shown(d time.Duration) string {
	f.t.Helper()
	observed, err := f.TargetHealth(at(d), f.arn, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	var words []string
	for _, o := range observed {
		word := o.Key.String() + "=" + string(o.Health.State)
		if o.Health.Reason != "" {
			word += "/" + o.Health.Reason
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (f fixture) want(d time.Duration, want string) {
	f.t.Helper()
	if got := f.shown(d); got != want {
		f.t.Errorf("at %v:\n got %q\nwant %q", d, got, want)
	}
}

// check makes the checks due at d come out as told, and says how many there were.
func (f fixture) check(d time.Duration, outcome Outcome) int {
	due := f.ChecksDue(at(d))
	for _, check := range due {
		f.Checked(at(d), CheckResult{ID: check.ID, Outcome: outcome, Code: 503})
	}
	return len(due)
}

func wantCode(t *testing.T, err error, code, words string) {
	t.Helper()
	refusal, is := errors.AsType[*Error](err)
	if !is || refusal.Code != code || !strings.Contains(refusal.Message, words) {
		t.Errorf("got %v, want %s with %q", err, code, words)
	}
}

const (
	a80   = "10.0.0.1:80"
	a81   = "10.0.0.1:81"
	b80   = "10.0.0.2:80"
	regP  = "=initial/Elb.RegistrationInProgress"
	init1 = "=initial/Elb.InitialHealthChecking"
	drn   = "=draining/Target.DeregistrationInProgress"
)

func TestALBOnePassedCheckMakesHealthyAndThresholdsDecideAfterwards(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	f.register(0, a80)
	f.want(0, a80+regP)
	f.want(time.Second, a80+init1)
	f.check(time.Second, Passed)
	f.want(time.Second, a80+"=healthy")
	f.check(31*time.Second, WrongCode)
	f.want(31*time.Second, a80+"=healthy")
	f.check(61*time.Second, WrongCode)
	f.want(61*time.Second, a80+"=unhealthy/Target.ResponseCodeMismatch")
	f.check(91*time.Second, TookTooLong)
	f.want(91*time.Second, a80+"=unhealthy/Target.Timeout")
	for i := range 5 {
		f.want(120*time.Second, a80+"=unhealthy/Target.Timeout")
		f.check(time.Duration(121+30*i)*time.Second, Passed)
	}
	f.want(300*time.Second, a80+"=healthy")
}

func TestNLBNeedsTheHealthyThresholdFromTheStart(t *testing.T) {
	f := newFixture(t, "TCP", nil)
	f.register(0, a80)
	f.want(89*time.Second, a80+regP)
	for i := range 5 {
		d := time.Duration(90+30*i) * time.Second
		f.want(d, a80+init1)
		f.check(d, Passed)
	}
	f.want(211*time.Second, a80+"=healthy")
}

func TestInitialTargetTurnsUnhealthyAtTheThreshold(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	f.register(0, a80)
	f.check(time.Second, CannotAnswer)
	f.want(time.Second, a80+init1)
	f.check(31*time.Second, CannotAnswer)
	f.want(31*time.Second, a80+"=unhealthy/Target.FailedHealthChecks")
}

func TestDrainingLastsTheWholeDelayAndThenTheTargetIsGone(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	f.register(0, a80, b80)
	f.deregister(10*time.Second, a80)
	f.deregister(20*time.Second, a80) // again: nothing starts over
	f.want(310*time.Second-1, a80+drn+" "+b80+init1)
	f.want(310*time.Second, b80+init1)
}

func TestDelayOfZeroAndUnusedGroupsDoNotDrain(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	if err := f.ModifyGroupAttributes(epoch, f.arn, map[string]string{DeregistrationDelayKey: "0"}); err != nil {
		t.Fatal(err)
	}
	f.register(0, a80)
	f.deregister(time.Second, a80)
	f.want(time.Second, "")

	f.arn = f.group("idle", "HTTP")
	f.register(0, a80)
	f.want(time.Hour, a80+"=unused/Target.NotInUse")
	f.deregister(time.Hour, a80)
	f.want(time.Hour, "")
}

func TestPortsAreKeys(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	f.register(0, a81)
	f.deregister(0, "10.0.0.1") // the group's port, not this one
	f.want(0, a81+regP)
	f.register(0, "10.0.0.1")
	f.want(0, a80+regP+" "+a81+regP)
	f.deregister(0, "10.0.0.1")
	f.want(0, a80+drn+" "+a81+regP)
	f.deregister(0, "10.9.9.9")
}

func TestHealthOfNamedTargets(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	f.register(0, a81)
	observed, err := f.TargetHealth(epoch, f.arn, refs(a81, "10.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if observed[0].Health != registering || observed[1].Health != notRegistered || observed[1].Port != 80 {
		t.Errorf("got %v", observed)
	}
}

func TestReregisteringADrainingTarget(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	f.register(0, a80)
	f.check(time.Second, Passed)
	f.deregister(10*time.Second, a80)
	f.register(20*time.Second, a80)
	f.want(20*time.Second, a80+regP)
	f.want(time.Hour, a80+init1)

	f = newFixture(t, "HTTP", func(c *Config) { c.Reregister = ReregisterRefused })
	f.register(0, a80)
	f.deregister(0, a80)
	wantCode(t, f.RegisterTargets(at(time.Second), f.arn, refs(a80)), "InvalidTarget", "10.0.0.1:80")
	f.register(300*time.Second, a80)
}

func TestUseDecidesWhetherTargetsAreChecked(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	arn := f.group("idle", "HTTP")
	f.arn = arn
	f.register(0, a80)
	if next := f.Next(epoch); !next.IsZero() {
		t.Errorf("something happens at %v in an unused group", next)
	}
	_, listener := f.use(arn, "HTTP")
	f.want(0, a80+regP)
	f.check(time.Second, Passed)
	f.want(time.Second, a80+"=healthy")
	if err := f.DeleteListener(at(2*time.Second), listener); err != nil {
		t.Fatal(err)
	}
	f.want(2*time.Second, a80+"=unused/Target.NotInUse")
	if n := f.check(time.Hour, Passed); n != 0 {
		t.Errorf("%d checks of an unused group", n)
	}
}

func TestResultsOfEarlierRegistrationsAreIgnored(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	f.register(0, a80)
	late := f.ChecksDue(at(time.Second))
	f.deregister(2*time.Second, a80)
	f.register(3*time.Second, a80)
	f.want(4*time.Second, a80+init1)
	f.Checked(at(4*time.Second), CheckResult{ID: late[0].ID})
	f.want(4*time.Second, a80+init1)
}

func TestOverrideWinsOverChecks(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	f.register(0, a80)
	key, _ := target.ParseKey(a80)
	if err := f.Override(epoch, f.arn, key, target.Healthy); err != nil {
		t.Fatal(err)
	}
	f.check(time.Minute, CannotAnswer)
	f.want(time.Hour, a80+"=healthy")
	if err := f.Override(at(time.Hour), f.arn, key, ""); err != nil {
		t.Fatal(err)
	}
	f.want(time.Hour, a80+regP)
	wantCode(t, f.Override(at(time.Hour), f.arn, target.Key{}, target.Healthy), "InvalidTarget", "not registered")
}

func TestAddresses(t *testing.T) {
	vpc := []Subnet{
		{CIDR: netip.MustParsePrefix("10.1.0.0/16"), Zone: "eu-central-1b"},
		{CIDR: netip.MustParsePrefix("2001:db8::/56"), Zone: "eu-central-1c"},
	}
	tests := []struct {
		name, id, zone string
		family         target.Family
		code, words    string
		wantZone       string
	}{
		{name: "inside", id: "10.1.2.3", wantZone: "eu-central-1b"},
		{name: "inside, right zone", id: "10.1.2.3", zone: "eu-central-1b", wantZone: "eu-central-1b"},
		{name: "inside, all", id: "10.1.2.3", zone: "all", code: "ValidationError", words: "cannot have its Availability Zone overridden"},
		{name: "outside", id: "10.2.0.1", code: "ValidationError", words: "You must specify a valid Availability Zone"},
		{name: "outside, all", id: "10.2.0.1", zone: "all", wantZone: "all"},
		{name: "carrier range", id: "100.64.1.1", zone: "all", wantZone: "all"},
		{name: "public", id: "8.8.8.8", zone: "all", code: "InvalidTarget", words: "8.8.8.8"},
		{name: "loopback", id: "127.0.0.1", zone: "all", code: "InvalidTarget", words: "127.0.0.1"},
		{name: "link-local", id: "169.254.169.254", zone: "all", code: "InvalidTarget"},
		{name: "wrong family", id: "2001:db8::1", code: "ValidationError", words: "not a valid IPv4 address"},
		{name: "not an address", id: "i-0123", code: "ValidationError", words: "not a valid IPv4 address"},
		{name: "IPv6", family: target.IPv6, id: "2001:db8::1", wantZone: "eu-central-1c"},
		{name: "IPv4 in IPv6 group", family: target.IPv6, id: "10.1.2.3", code: "ValidationError", words: "not a valid IPv6 address"},
		{name: "IPv6 outside", family: target.IPv6, id: "2001:db9::1", zone: "all", code: "InvalidTarget"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, "HTTP", func(c *Config) { c.Subnets = map[string][]Subnet{"vpc-1": vpc} })
			view, err := f.CreateTargetGroup(epoch, GroupSpec{Name: "six", Type: target.TypeIP, Family: test.family, Protocol: "HTTP", Port: 80, VPCID: "vpc-1"})
			if err != nil {
				t.Fatal(err)
			}
			arn := view.ARN.String()
			err = f.RegisterTargets(epoch, arn, []TargetRef{{ID: test.id, Zone: test.zone}})
			if test.code != "" {
				wantCode(t, err, test.code, test.words)
				return
			}
			observed, _ := f.TargetHealth(epoch, arn, nil)
			if err != nil || len(observed) != 1 || observed[0].Zone != test.wantZone {
				t.Errorf("got %v, %v; want zone %s", observed, err, test.wantZone)
			}
		})
	}
}

func TestOneBadTargetFailsAllOrItselfAlone(t *testing.T) {
	for _, rule := range []BadTarget{BadTargetFailsAll, BadTargetFailsAlone} {
		f := newFixture(t, "HTTP", func(c *Config) { c.BadTarget = rule })
		wantCode(t, f.RegisterTargets(epoch, f.arn, refs(a80, "8.8.8.8:80", "127.0.0.1:80")), "InvalidTarget", "8.8.8.8")
		want := map[BadTarget]string{BadTargetFailsAll: "", BadTargetFailsAlone: a80 + regP}[rule]
		f.want(0, want)
	}
}

func TestQuotas(t *testing.T) {
	f := newFixture(t, "HTTP", func(c *Config) {
		c.Quotas = Quotas{Groups: 2, TargetsPerGroup: 2, TargetsPerALB: 3, BalancersPerGroup: 1, TargetsPerCall: 3}
	})
	f.register(0, a80, b80)
	f.register(0, a80) // known: takes no place
	wantCode(t, f.RegisterTargets(epoch, f.arn, refs(a81)), "TooManyTargets", "per target group '2'")
	f.deregister(0, b80) // draining: takes no place
	f.register(0, a81)
	wantCode(t, f.RegisterTargets(epoch, f.arn, refs(a80, b80, a81, "10.0.0.3:80")), "ValidationError", "'3' targets")

	second := f.group("second", "HTTP")
	_, err := f.CreateTargetGroup(epoch, GroupSpec{Name: "third", Type: target.TypeIP, Protocol: "HTTP", Port: 80, VPCID: "vpc-1"})
	wantCode(t, err, "TooManyTargetGroups", "")
	balancer := f.balancerList[0].ARN
	if _, err := f.CreateListener(epoch, ListenerSpec{Balancer: balancer, Protocol: "HTTP", Port: 81, Groups: []string{second}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.RegisterTargets(epoch, second, refs(a80, b80)), "TooManyTargets", "per load balancer '3'")
	other, _ := f.CreateLoadBalancer(epoch, BalancerSpec{Name: "other"})
	_, err = f.CreateListener(epoch, ListenerSpec{Balancer: other.ARN, Protocol: "HTTP", Port: 80, Groups: []string{second}})
	wantCode(t, err, "TargetGroupAssociationLimit", "")
}

func TestBucketsAreThoseOfTheTable(t *testing.T) {
	tests := []struct {
		action      string
		burst, rate int
	}{
		{"RegisterTargets", 20, 4},
		{"DescribeTargetHealth", 40, 10},
		{"CreateTargetGroup", 20, 3},
	}
	for _, test := range tests {
		w := New(DefaultConfig("eu-central-1", "123456789012"))
		admitted := func(d time.Duration) int {
			n := 0
			for w.Admit(at(d), test.action) == nil {
				n++
			}
			return n
		}
		if n := admitted(0); n != test.burst {
			t.Errorf("%s: burst of %d, want %d", test.action, n, test.burst)
		}
		if n := admitted(time.Second); n != test.rate {
			t.Errorf("%s: %d in a second, want %d", test.action, n, test.rate)
		}
		wantCode(t, w.Admit(at(time.Second), test.action), "Throttling", "Rate exceeded")
	}
}

func TestTheTotalIsSharedByAllClasses(t *testing.T) {
	w := New(DefaultConfig("eu-central-1", "123456789012"))
	for range 40 {
		if err := w.Admit(epoch, "DescribeTags"); err != nil {
			t.Fatal(err)
		}
	}
	if w.Admit(epoch, "RegisterTargets") == nil {
		t.Error("a registration was admitted although the total is spent")
	}
	if w.Admit(at(100*time.Millisecond), "RegisterTargets") != nil {
		t.Error("a registration was refused although the total has a token again")
	}
}

func TestAnswersLagBehindWrites(t *testing.T) {
	f := newFixture(t, "HTTP", func(c *Config) { c.VisibilityLag = 5 * time.Second; c.DeregistrationDelay = 10 * time.Second })
	f.arn = f.group("lagging", "HTTP")
	f.use(f.arn, "HTTP")
	f.register(0, a80)
	f.want(5*time.Second-1, "")
	f.want(5*time.Second, a80+regP)
	f.want(6*time.Second, a80+init1)
	f.deregister(20*time.Second, a80)
	f.want(24*time.Second, a80+init1)
	f.want(25*time.Second, a80+drn)
	f.want(34*time.Second, a80+drn)
	f.want(35*time.Second, "")
}

func TestGroups(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	if _, err := f.CreateTargetGroup(epoch, GroupSpec{Name: "web", Type: target.TypeIP, Protocol: "HTTP", Port: 80, VPCID: "vpc-1"}); err != nil {
		t.Errorf("an identical repetition fails: %v", err)
	}
	_, err := f.CreateTargetGroup(epoch, GroupSpec{Name: "web", Type: target.TypeIP, Protocol: "HTTP", Port: 81, VPCID: "vpc-1"})
	wantCode(t, err, "DuplicateTargetGroupName", "")
	wantCode(t, f.DeleteTargetGroup(epoch, f.arn), "ResourceInUse", "")
	if err := f.VanishGroup(epoch, f.arn); err != nil {
		t.Fatal(err)
	}
	wantCode(t, f.RegisterTargets(epoch, f.arn, refs(a80)), "TargetGroupNotFound", "")
	_, _, err = f.TargetGroups(epoch, GroupFilter{ARNs: []string{f.arn}})
	wantCode(t, err, "TargetGroupNotFound", "")
	_, _, err = f.TargetGroups(epoch, GroupFilter{Names: []string{"web"}})
	wantCode(t, err, "TargetGroupNotFound", "")
	wantCode(t, f.RegisterTargets(epoch, "arn:nonsense", refs(a80)), "ValidationError", "")
}

func TestPagesCoverAllGroupsOnce(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	for i := range 6 {
		f.group(fmt.Sprintf("g%d", i), "TCP")
	}
	var names []string
	page := Page{Size: 3}
	for {
		views, next, err := f.TargetGroups(epoch, GroupFilter{Page: page})
		if err != nil {
			t.Fatal(err)
		}
		for _, view := range views {
			names = append(names, view.ARN.Name)
		}
		if page.Marker = next; next == "" {
			break
		}
	}
	if got := strings.Join(names, " "); got != "web g0 g1 g2 g3 g4 g5" {
		t.Errorf("got %s", got)
	}
	_, _, err := f.TargetGroups(epoch, GroupFilter{Page: Page{Marker: "never"}})
	wantCode(t, err, "ValidationError", "marker")
}

func TestMatcher(t *testing.T) {
	tests := map[string][]int{"200": {200}, "200-202": {200, 201, 202}, "200,302": {200, 302}}
	for matcher, pass := range tests {
		settings := CheckSettings{Matcher: matcher}
		for _, code := range pass {
			if !settings.Matches(code) {
				t.Errorf("%s does not match %d", matcher, code)
			}
		}
		if settings.Matches(500) || !validMatcher(matcher) {
			t.Errorf("%s matches 500 or is not valid", matcher)
		}
	}
	for _, matcher := range []string{"", "abc", "100", "300-200", "500"} {
		if validMatcher(matcher) {
			t.Errorf("%q is valid", matcher)
		}
	}
}

func TestTagsAndAttributes(t *testing.T) {
	f := newFixture(t, "HTTP", nil)
	arns := []string{f.arn, f.balancerList[0].ARN}
	if err := f.AddTags(epoch, arns, map[string]string{"k": "v", "l": "w"}); err != nil {
		t.Fatal(err)
	}
	if err := f.RemoveTags(epoch, arns[:1], []string{"k"}); err != nil {
		t.Fatal(err)
	}
	tags, err := f.Tags(epoch, arns)
	if err != nil || len(tags[0]) != 1 || len(tags[1]) != 2 {
		t.Errorf("got %v, %v", tags, err)
	}
	wantCode(t, f.ModifyGroupAttributes(epoch, f.arn, map[string]string{"nonsense": "1"}), "ValidationError", "nonsense")
	wantCode(t, f.ModifyGroupAttributes(epoch, f.arn, map[string]string{DeregistrationDelayKey: "3601"}), "ValidationError", "3600")
	_, err = f.Tags(epoch, []string{strings.Replace(f.arn, "web", "nope", 1)})
	wantCode(t, err, "TargetGroupNotFound", "")
}

func TestTargetsTellSinceWhenTheirStateHolds(t *testing.T) {
	for name, c := range map[string]struct {
		lag time.Duration
		// what is seen at a moment, as state@since
		seen map[time.Duration]string
	}{
		"at once": {0, map[time.Duration]string{
			0: "initial@0s", 2 * time.Second: "initial@0s", 10 * time.Second: "healthy@10s", 60 * time.Second: "unhealthy@1m0s forced",
			90 * time.Second: "draining@1m30s",
		}},
		"lagging": {5 * time.Second, map[time.Duration]string{
			5 * time.Second: "initial@0s", 14 * time.Second: "initial@0s", 15 * time.Second: "healthy@10s", 70 * time.Second: "unhealthy@1m0s forced",
			94 * time.Second: "unhealthy@1m0s", 95 * time.Second: "draining@1m30s",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, "HTTP", func(config *Config) { config.VisibilityLag = c.lag })
			key, _ := target.ParseKey(a80)
			steps := map[time.Duration]func(time.Duration){
				0:                func(d time.Duration) { f.register(d, a80) },
				10 * time.Second: func(d time.Duration) { f.check(d, Passed) },
				60 * time.Second: func(d time.Duration) {
					if err := f.Override(at(d), f.arn, key, target.Unhealthy); err != nil {
						t.Fatal(err)
					}
				},
				90 * time.Second: func(d time.Duration) { f.deregister(d, a80) },
			}
			for d := time.Duration(0); d <= 95*time.Second; d += time.Second {
				if step := steps[d]; step != nil {
					step(d)
				}
				if want := c.seen[d]; want != "" && f.since(d) != want {
					t.Errorf("at %v: got %s, want %s", d, f.since(d), want)
				}
			}
		})
	}
}

// since spells out the only target of the group: state@since.
func (f fixture) since(d time.Duration) string {
	f.t.Helper()
	views, err := f.Targets(at(d), f.arn)
	if err != nil || len(views) != 1 {
		f.t.Fatalf("at %v: got %v, %v", d, views, err)
	}
	text := fmt.Sprintf("%s@%v", views[0].Health.State, views[0].Since.Sub(epoch))
	if views[0].Forced {
		text += " forced"
	}
	return text
}

func TestBudgetsTellWhatIsLeftAndTakeNothing(t *testing.T) {
	w := New(DefaultConfig("eu-central-1", "123456789012"))
	left := func(d time.Duration) string {
		var words []string
		for _, b := range w.Budgets(at(d)) {
			words = append(words, fmt.Sprintf("%s %.2f/%d", b.Class, b.Tokens, b.Capacity))
		}
		return strings.Join(words, ", ")
	}
	want := func(d time.Duration, want string) {
		t.Helper()
		for range 2 {
			if got := left(d); got != want {
				t.Errorf("at %v: got %s, want %s", d, got, want)
			}
		}
	}
	want(0, "registration 20.00/20, describe 40.00/40, mutating 20.00/20, total 40.00/40")
	for range 3 {
		if err := w.Admit(epoch, "RegisterTargets"); err != nil {
			t.Fatal(err)
		}
	}
	want(0, "registration 17.00/20, describe 40.00/40, mutating 20.00/20, total 37.00/40")
	want(100*time.Millisecond, "registration 17.40/20, describe 40.00/40, mutating 20.00/20, total 38.00/40")
	want(time.Minute, "registration 20.00/20, describe 40.00/40, mutating 20.00/20, total 40.00/40")
	w.Reconfigure(at(time.Minute), Config{Buckets: map[Class]Bucket{ClassTotal: {Capacity: 1, PerSecond: 1}}})
	want(time.Minute, "total 1.00/1")
	w.Reconfigure(at(time.Minute), Config{})
	want(time.Minute, "")
}
