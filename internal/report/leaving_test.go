package report

import (
	"slices"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

func TestLeaving(t *testing.T) {
	gone := func(group string, after time.Duration) Departure { return Departure{Group: group, After: after} }
	denied := Departure{Group: "api", Registered: true, Reason: target.AccessDenied, Message: "not allowed"}
	waiting := Departure{Group: "web", Registered: true}
	for _, c := range []struct {
		name       string
		departures []Departure
		want       Condition
	}{
		{"in no group", nil, Condition{true, target.NotRegistered, "In no target group, no need to hold"}},
		{
			"deregistered",
			[]Departure{gone("web", 12*time.Millisecond)},
			Condition{true, target.Deregistered, "Deregistered from web after 12 ms, holding 45 s"},
		},
		{
			"from two",
			[]Departure{gone("web", 90*time.Second), gone("api", -time.Second)},
			Condition{true, target.Deregistered, "Deregistered from api before the deletion, web after 90.0 s, holding 45 s"},
		},
		{
			"from one by two bindings",
			[]Departure{gone("web", time.Second), gone("web", time.Second)},
			Condition{true, target.Deregistered, "Deregistered from web after 1.0 s, holding 45 s"},
		},
		{"not yet", []Departure{waiting}, Condition{false, target.Syncing, "Still registered in web (Syncing)"}},
		{"denied", []Departure{denied}, Condition{false, target.AccessDenied, "Still registered in api (not allowed)"}},
		{
			"a failure is graver than a moment",
			[]Departure{waiting, denied},
			Condition{false, target.AccessDenied, "Still registered in api (not allowed), web (Syncing)"},
		},
		{
			"one of two",
			[]Departure{gone("web", time.Second), denied},
			Condition{false, target.AccessDenied, "Deregistered from web after 1.0 s, still registered in api (not allowed)"},
		},
	} {
		for range 2 {
			if got := Leaving(c.departures, 45*time.Second); got != c.want {
				t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
			}
			slices.Reverse(c.departures)
		}
	}
}
