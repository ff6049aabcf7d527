package target_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const webARN = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef"

func TestParseARN(t *testing.T) {
	got, err := target.ParseARN(webARN)
	want := target.ARN{Partition: "aws", Region: "eu-central-1", Account: "123456789012", Name: "web", ID: "0123456789abcdef"}
	if err != nil || got != want {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	if got.String() != webARN {
		t.Errorf("String: got %s, want %s", got, webARN)
	}
}

func TestParseARNOfOtherPartitions(t *testing.T) {
	for _, text := range []string{
		"arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:targetgroup/web/0123456789abcdef",
		"arn:aws-us-gov:elasticloadbalancing:us-gov-west-1:123456789012:targetgroup/web/0123456789abcdef",
		"arn:aws-iso-b:elasticloadbalancing:us-isob-east-1:123456789012:targetgroup/web/0123456789abcdef",
	} {
		if got, err := target.ParseARN(text); err != nil || got.String() != text {
			t.Errorf("got %v, %v, want %s", got, err, text)
		}
	}
}

// Behaviour 35: the answer names the part that is wrong, its value and the remedy.
func TestBehaviour35_BadARNIsExplained(t *testing.T) {
	for _, c := range []struct{ arn, says string }{
		{"", "is not an ARN"},
		{"web", "is not an ARN"},
		{webARN + ":more", "is not an ARN"},
		{strings.Replace(webARN, "elasticloadbalancing", "s3", 1), "something else"},
		{strings.Replace(webARN, "targetgroup", "loadbalancer", 1), "something else"},
		{webARN + "/more", "something else"},
		{strings.Replace(webARN, "arn:aws:", "arn:azure:", 1), `partition "azure"`},
		{strings.Replace(webARN, "arn:aws:", "arn:aws and more:", 1), `partition "aws and more"`},
		{strings.Replace(webARN, "eu-central-1", "Frankfurt", 1), `region "Frankfurt"`},
		{strings.Replace(webARN, "123456789012", "12345", 1), `account "12345"`},
		{strings.Replace(webARN, "/web/", "/-web/", 1), `name "-web"`},
		{strings.Replace(webARN, "/web/", "/"+strings.Repeat("w", 33)+"/", 1), "want 1 to 32"},
		{strings.Replace(webARN, "0123456789abcdef", "xyz", 1), `id "xyz"`},
	} {
		got, err := target.ParseARN(c.arn)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: got error %v, want one that says %s", c.arn, err, c.says)
		}
		if !got.IsZero() {
			t.Errorf("%q: got %+v beside an error, want nothing", c.arn, got)
		}
	}
}

func FuzzParseARN(f *testing.F) {
	f.Add(webARN)
	f.Add("arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:targetgroup/a/0123456789abcdef0")
	f.Add("arn:aws:elasticloadbalancing:::targetgroup//")
	f.Fuzz(func(t *testing.T, s string) {
		arn, err := target.ParseARN(s)
		if err != nil {
			return
		}
		if arn.String() != s {
			t.Errorf("%q came back as %q", s, arn)
		}
	})
}

func TestParseKey(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"10.0.0.1:80", "10.0.0.1:80"},
		{"[2001:db8::1]:8080", "[2001:db8::1]:8080"},
		{"[::ffff:10.0.0.1]:80", "10.0.0.1:80"},
		{"10.0.0.1:65535", "10.0.0.1:65535"},
	} {
		got, err := target.ParseKey(c.text)
		if err != nil || got.String() != c.want {
			t.Errorf("%s: got %v, %v, want %s", c.text, got, err, c.want)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, text := range []string{"", "10.0.0.1", ":80", "10.0.0.1:65536", "10.0.0.1:http", "2001:db8::1:80", "web:80", "10.0.0.1:0", "[fe80::1%eth0]:80"} {
		if got, err := target.ParseKey(text); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: got %v, %v, want an error that quotes it", text, got, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"10.0.0.1:80", "[2001:db8::1]:8080", "[::ffff:10.0.0.1]:80", "[fe80::1%a]:1", ":0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := target.ParseKey(s)
		if err != nil {
			return
		}
		again, err := target.ParseKey(key.String())
		if err != nil || again != key {
			t.Errorf("%q became %v, which became %v, %v", s, key, again, err)
		}
		if key.Port == 0 || !key.Addr.IsValid() || key.Addr.Is4In6() {
			t.Errorf("%q became %#v, which is no target", s, key)
		}
	})
}

func TestKeyWithoutAddress(t *testing.T) {
	if got := (target.Key{Port: 80}).String(); got != ":80" {
		t.Errorf("got %s, want :80", got)
	}
}

func TestKeysAreOrderedByAddressThenPort(t *testing.T) {
	want := []string{"9.0.0.1:1", "10.0.0.1:80", "10.0.0.1:443", "10.0.0.2:1", "[2001:db8::1]:1"}
	var keys []target.Key
	for _, text := range []string{want[3], want[2], want[4], want[1], want[0], want[2]} {
		keys = append(keys, mustKey(text))
	}
	if got := fmt.Sprint(target.SetOf(keys...).Keys()); got != fmt.Sprint(want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func mustKey(s string) target.Key {
	key, err := target.ParseKey(s)
	if err != nil {
		panic(err)
	}
	return key
}

func anyKey() *rapid.Generator[target.Key] {
	return rapid.Custom(func(t *rapid.T) target.Key {
		host, port := rapid.Byte().Draw(t, "host"), rapid.Uint16Range(1, 4).Draw(t, "port")
		return target.Key{Addr: netip.AddrFrom4([4]byte{10, 0, 0, host % 8}), Port: port}
	})
}

func TestSetAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOf(anyKey()).Draw(t, "a"), rapid.SliceOf(anyKey()).Draw(t, "b")
		before := slices.Clone(a)
		union, minus := target.SetOf(a...).Union(target.SetOf(b...)), target.SetOf(a...).Minus(target.SetOf(b...))
		if !slices.Equal(a, before) {
			t.Errorf("SetOf reordered its arguments")
		}
		for _, key := range slices.Concat(a, b) {
			inA, inB := slices.Contains(a, key), slices.Contains(b, key)
			if union.Has(key) != (inA || inB) || minus.Has(key) != (inA && !inB) {
				t.Errorf("%v: in a %v, in b %v, in union %v, in minus %v", key, inA, inB, union.Has(key), minus.Has(key))
			}
		}
		if union.Len() != len(union.Keys()) || !slices.IsSortedFunc(union.Keys(), target.Key.Compare) {
			t.Errorf("union is %v of length %d", union.Keys(), union.Len())
		}
	})
}

func TestSetsAreValues(t *testing.T) {
	set := target.SetOf(mustKey("10.0.0.1:80"), mustKey("10.0.0.2:80"))
	set.Keys()[0] = mustKey("10.0.0.9:80")
	_ = set.Minus(target.SetOf(mustKey("10.0.0.1:80")))
	_ = set.Union(target.SetOf(mustKey("10.0.0.0:80")))
	if got := fmt.Sprint(set.Keys()); got != "[10.0.0.1:80 10.0.0.2:80]" {
		t.Errorf("the set became %s", got)
	}
}

func TestFamilyOf(t *testing.T) {
	for text, want := range map[string]target.Family{"10.0.0.1": target.IPv4, "::ffff:10.0.0.1": target.IPv4, "2001:db8::1": target.IPv6} {
		if got := target.FamilyOf(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestRefNamesGroup(t *testing.T) {
	arn, err := target.ParseARN(webARN)
	if err != nil {
		t.Fatal(err)
	}
	group, other := target.Group{ARN: arn}, target.Group{ARN: target.ARN{Name: "other"}}
	for _, ref := range []target.Ref{{ARN: arn}, {Name: "web"}} {
		if !ref.Names(group) || ref.Names(other) {
			t.Errorf("%s: names its group %v, another %v", ref, ref.Names(group), ref.Names(other))
		}
	}
	if got := (target.Ref{Name: "web"}).String() + " " + (target.Ref{ARN: arn}).String(); got != "web "+webARN {
		t.Errorf("String: got %s", got)
	}
}

func TestInUse(t *testing.T) {
	if (target.Group{}).InUse() || !(target.Group{LoadBalancers: []string{"front"}}).InUse() {
		t.Error("a group is in use if a load balancer uses it")
	}
}

func TestOnlyDrainingIsLeaving(t *testing.T) {
	for _, state := range []target.State{target.Initial, target.Healthy, target.Unhealthy, target.UnhealthyDraining, target.Unused, target.Draining, target.Unavailable} {
		if got := state.Leaving(); got != (state == target.Draining) {
			t.Errorf("%s: leaving is %v", state, got)
		}
	}
}

func TestHealthCheckFailsWithin(t *testing.T) {
	for _, c := range []struct {
		check target.HealthCheck
		want  time.Duration
	}{
		{target.HealthCheck{}, 70 * time.Second},
		{target.HealthCheck{Interval: 5 * time.Second, Timeout: 2 * time.Second, UnhealthyThreshold: 3}, 17 * time.Second},
	} {
		if got := c.check.FailsWithin(); got != c.want {
			t.Errorf("%+v: got %v, want %v", c.check, got, c.want)
		}
	}
}
