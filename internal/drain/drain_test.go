package drain_test

import (
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

func seconds(n int) *time.Duration {
	d := time.Duration(n) * time.Second
	return &d
}

func TestHoldFollowsFromTheGroup(t *testing.T) {
	application := func(delay *time.Duration) drain.Group {
		return drain.Group{Known: true, Application: true, Delay: delay}
	}
	network := func(delay *time.Duration) drain.Group { return drain.Group{Known: true, Delay: delay} }
	for _, c := range []struct {
		name  string
		group drain.Group
		set   *time.Duration
		want  int
	}{
		{"ALB, AWS's default", application(seconds(300)), nil, 315},
		{"ALB, short delay", application(seconds(10)), nil, 45},
		{"ALB, no delay", application(seconds(0)), nil, 45},
		{"ALB, where the two rules meet", application(seconds(30)), nil, 45},
		{"ALB, one second more", application(seconds(31)), nil, 46},
		{"ALB, delay not known", application(nil), nil, 315},
		{"NLB, AWS's default", network(seconds(300)), nil, 300},
		{"NLB, short delay", network(seconds(10)), nil, 300},
		{"NLB, delay not known", network(nil), nil, 300},
		{"nothing known", drain.Group{}, nil, 315},
		{"short delay, kind not known", drain.Group{Delay: seconds(0)}, nil, 300},
		{"long delay, kind not known", drain.Group{Delay: seconds(3600)}, nil, 3615},
		{"set", network(seconds(300)), seconds(7), 7},
		{"set to nothing", network(seconds(300)), seconds(0), 0},
	} {
		for _, mode := range []drain.Mode{drain.Sleep, drain.Hold} {
			got := drain.Of(drain.Settings{Mode: mode, Hold: c.set}, c.group).Hold
			if got != time.Duration(c.want)*time.Second {
				t.Errorf("%s, %s: hold is %v, want %d s", c.name, mode, got, c.want)
			}
		}
	}
}

func TestTimesAddUp(t *testing.T) {
	group := drain.Group{Known: true, Application: true, Delay: seconds(30)}
	for _, c := range []struct {
		name     string
		settings drain.Settings
		want     drain.Times
	}{
		{"none", drain.Settings{Mode: drain.None, Hold: seconds(9)}, drain.Times{}},
		{"nothing said", drain.Settings{}, drain.Times{}},
		{"sleep", drain.Settings{Mode: drain.Sleep}, drain.Times{
			Mode: drain.Sleep, Hold: 45 * time.Second, Late: 15 * time.Second, Shutdown: 30 * time.Second,
			Sleep: 60 * time.Second, Grace: 95 * time.Second,
		}},
		{"hold", drain.Settings{Mode: drain.Hold}, drain.Times{
			Mode: drain.Hold, Hold: 45 * time.Second, Late: 120 * time.Second, Shutdown: 30 * time.Second,
			Grace: 200 * time.Second,
		}},
		{"all set", drain.Settings{Mode: drain.Sleep, Hold: seconds(10), Late: seconds(0), Shutdown: seconds(3)}, drain.Times{
			Mode: drain.Sleep, Hold: 10 * time.Second, Shutdown: 3 * time.Second, Sleep: 10 * time.Second, Grace: 18 * time.Second,
		}},
	} {
		if got := drain.Of(c.settings, group); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}
