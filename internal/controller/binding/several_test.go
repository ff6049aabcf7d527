package binding

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/controller"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func arn(name string) target.ARN {
	return target.ARN{Partition: "aws", Region: "eu-central-1", Account: "123456789012", Name: name, ID: "0123456789abcdef"}
}

// groups are named by letters: those with the tags, that exist, that are filed, that
// were freed, and that the status remembers.
type groups struct{ tagged, exist, filed, freed, remembered string }

// sorted spells out what is filed after so many readings, and of which groups the status
// is to tell besides.
func (g groups) sorted(read int) string {
	s := sorting{answer: elb.Tagged{Read: read}, find: func(arn target.ARN) (target.Group, bool) {
		return target.Group{ARN: arn}, strings.Contains(g.exist, arn.Name)
	}}
	for _, name := range g.tagged {
		s.answer.Groups = append(s.answer.Groups, target.Group{ARN: arn(string(name))})
	}
	s.binding.Remembered = map[target.ARN]target.Set{}
	for _, name := range g.remembered {
		s.binding.Remembered[arn(string(name))] = target.SetOf(target.Key{Port: 80})
	}
	var bounds []controller.Bound
	for _, name := range g.filed {
		bounds = append(bounds, controller.Bound{Target: target.Group{ARN: arn(string(name))}})
	}
	s.sort(bounds, func(b controller.Bound) bool { return strings.Contains(g.freed, b.Target.ARN.Name) })
	text, told := "", map[target.ARN]bool{}
	for _, b := range s.bounds {
		told[b.Target.ARN] = true
		text += b.Target.ARN.Name
		if b.Left {
			text += "-"
		}
		if b.OursIn != b.Target.ARN.String() || b.Ours.Len() != s.binding.Remembered[b.Target.ARN].Len() {
			text += "?"
		}
	}
	for _, group := range s.groups {
		if !told[group] {
			text += " " + group.Name
		}
	}
	return text
}

func TestGroupsThatHaveTheTagsAndThatHadThem(t *testing.T) {
	for _, c := range []struct {
		name   string
		read   int
		groups groups
		want   string
	}{
		{"found", 1, groups{"ab", "abc", "", "", ""}, "ab"},
		{"found again", 2, groups{"ab", "abc", "ab", "", "ab"}, "ab"},
		{"one more", 2, groups{"abc", "abc", "ab", "", "ab"}, "abc"},
		{"one lost its tags", 2, groups{"a", "ab", "ab", "", "ab"}, "ab-"},
		{"and its targets are gone", 2, groups{"a", "ab", "ab", "b", "ab"}, "a"},
		{"and it gets them again", 2, groups{"ab", "ab", "ab", "b", "ab"}, "ab"},
		{"one does not exist any more", 2, groups{"a", "a", "ab", "", "ab"}, "a"},
		{"after a start, one without the tags", 1, groups{"a", "ab", "", "", "ab"}, "ab"},
		{"after a start, for sure", 2, groups{"a", "ab", "a", "", "ab"}, "ab-"},
		{"after a start, one that is not there", 1, groups{"a", "a", "", "", "ab"}, "a b"},
		{"after a start, one that is not there for sure", 2, groups{"a", "a", "a", "", "ab"}, "a"},
		{"none", 2, groups{"", "ab", "", "", ""}, ""},
	} {
		if got := c.groups.sorted(c.read); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// ipAddressType and vpcID choose among the groups with the tags.
func TestGroupsAreNarrowed(t *testing.T) {
	all := []target.Group{
		{ARN: arn("a"), Family: target.IPv4, VPCID: "vpc-1"}, {ARN: arn("b"), Family: target.IPv6, VPCID: "vpc-1"}, {ARN: arn("c"), Family: target.IPv4, VPCID: "vpc-2"},
	}
	for _, c := range []struct {
		family target.Family
		vpc    string
		want   int
	}{{"", "", 3}, {target.IPv4, "", 2}, {"", "vpc-1", 2}, {target.IPv6, "vpc-2", 0}} {
		s := sorting{binding: kube.Binding{Family: c.family, VPC: c.vpc, Tags: map[string]string{"team": "shop"}}, answer: elb.Tagged{Groups: all}}
		s.sort(nil, nil)
		wrong := s.trouble()
		if len(s.bounds) != c.want || (wrong.reason == target.TargetGroupNotFound) != (c.want == 0) {
			t.Errorf("%s %s: %d groups, %+v", c.family, c.vpc, len(s.bounds), wrong)
		}
		if c.want == 0 && !strings.Contains(wrong.message, "team=shop and the ipAddressType ipv6 and the vpcID vpc-2") {
			t.Errorf("the message is %q", wrong.message)
		}
	}
}

// No group is left that has the tags, nor on the word of one reading, nor while it may
// have targets; and no two groups are one.
func TestBehaviour08_NoGroupIsLeftOnIgnorance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := func(name string) string {
			text := ""
			for _, letter := range "abc" {
				if rapid.Bool().Draw(t, name+string(letter)) {
					text += string(letter)
				}
			}
			return text
		}
		read := rapid.IntRange(1, 2).Draw(t, "read")
		g := groups{some("tagged"), some("exist"), some("filed"), some("freed"), some("remembered")}
		got := g.sorted(read)
		for _, letter := range "abc" {
			name := string(letter)
			left := strings.Contains(got, name+"-")
			had := strings.Contains(g.filed+g.remembered, name)
			switch {
			case strings.Count(got, name) > 1:
				t.Errorf("%q has %s twice", got, name)
			case strings.Contains(g.tagged, name) && (!strings.Contains(got, name) || left):
				t.Errorf("%q lacks %s, which has the tags", got, name)
			case left && read < 2:
				t.Errorf("%q has left %s after one reading", got, name)
			case had && strings.Contains(g.exist, name) && !strings.Contains(g.freed, name) && !strings.Contains(got, name):
				t.Errorf("%q has forgotten %s, where targets may be", got, name)
			}
		}
		if strings.Contains(got, "?") {
			t.Errorf("%q: a group with the targets of another", got)
		}
		if again := g.sorted(read); again != got {
			t.Errorf("got %q and %q", got, again)
		}
	})
}
