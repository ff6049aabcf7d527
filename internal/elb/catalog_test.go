package elb_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// afresh is how long a Catalog of a few groups believes what it read.
const afresh = time.Minute

// shelves is a Catalog on the simulator.
type shelves struct {
	t       *testing.T
	sim     *elbsim.Sim
	catalog *elb.Catalog
	ctx     context.Context
	woken   int
}

// withShelves makes groups g0, g1 ... with the tag team, shop and api by turns.
func withShelves(t *testing.T, groups int, over func(elb.Client) elb.Client, test func(*shelves)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim := unthrottled(t)
		s := &shelves{t: t, sim: sim}
		for i := range groups {
			s.plant(fmt.Sprint("g", i), map[string]string{"team": []string{"shop", "api"}[i%2], "n": fmt.Sprint(i)})
		}
		client := sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion)
		if over != nil {
			client = over(client)
		}
		s.catalog = elb.NewCatalog(&elb.Account{Client: client, Budget: pace.New(ample)}, afresh, func() { s.woken++ })
		ctx, stop := context.WithCancel(context.Background())
		s.ctx = ctx
		test(s)
		stop()
		s.catalog.Wait()
	})
}

func (s *shelves) plant(name string, tags map[string]string) target.ARN {
	s.t.Helper()
	arn, err := s.sim.PlantGroup(elbsim.SeedGroup{Name: name, Tags: tags})
	if err != nil {
		s.t.Fatal(err)
	}
	return arn
}

// retag sets a tag of a group.
func (s *shelves) retag(arn target.ARN, key, value string) {
	s.t.Helper()
	err := s.sim.With(elbsim.DefaultAccount, elbsim.DefaultRegion, func(w *model.World, now time.Time) error {
		return w.AddTags(now, []string{arn.String()}, map[string]string{key: value})
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelves) fault(f elbsim.Fault) {
	s.t.Helper()
	if _, err := s.sim.AddFault(f); err != nil {
		s.t.Fatal(err)
	}
}

// look waits for a reading that is due, and gives what is known then.
func (s *shelves) look(key, value string) elb.Tagged {
	s.catalog.Look(s.ctx, map[string]string{key: value})
	synctest.Wait()
	return s.catalog.Look(s.ctx, map[string]string{key: value})
}

// later lets what is known age, and looks again.
func (s *shelves) later(key, value string) elb.Tagged {
	time.Sleep(time.Until(s.catalog.Look(s.ctx, nil).Next))
	return s.look(key, value)
}

func (s *shelves) calls() int { synctest.Wait(); return len(s.sim.Calls()) }

func called(answer elb.Tagged) string {
	var names []string
	for _, g := range answer.Groups {
		names = append(names, g.ARN.Name)
	}
	slices.Sort(names)
	return fmt.Sprint(names)
}

func TestCatalogFindsGroupsByTheirTags(t *testing.T) {
	withShelves(t, 5, nil, func(s *shelves) {
		if answer := s.catalog.Look(s.ctx, map[string]string{"team": "shop"}); answer.Known || answer.Groups != nil {
			t.Errorf("got %+v before anybody was asked", answer)
		}
		if answer := s.look("team", "shop"); !answer.Known || called(answer) != "[g0 g2 g4]" || answer.Err != nil || answer.Groups[0].VPCID == "" {
			t.Errorf("got %+v", answer)
		}
		if s.calls() != 2 || s.woken != 1 {
			t.Errorf("%d calls, woken %d times, want a call for the groups and one for their tags", s.calls(), s.woken)
		}
		both := s.catalog.Look(s.ctx, map[string]string{"team": "shop", "n": "2"})
		if none := s.catalog.Look(s.ctx, map[string]string{"team": ""}); called(both) != "[g2]" || called(none) != "[]" || s.calls() != 2 {
			t.Errorf("got %s and %s after %d calls", called(both), called(none), s.calls())
		}
	})
}

// Groups that pods cannot be targets of are passed over, and cost no call.
func TestCatalogKnowsGroupsOfTypeIPOnly(t *testing.T) {
	withShelves(t, 1, nil, func(s *shelves) {
		if _, err := s.sim.PlantGroup(elbsim.SeedGroup{Name: "nodes", Type: target.TypeInstance, Tags: map[string]string{"team": "shop"}}); err != nil {
			t.Fatal(err)
		}
		if answer := s.look("team", "shop"); called(answer) != "[g0]" {
			t.Errorf("got %s", called(answer))
		}
	})
}

func TestCatalogCountsItsCalls(t *testing.T) {
	withShelves(t, 850, nil, func(s *shelves) {
		answer := s.look("n", "849")
		if called(answer) != "[g849]" || s.calls() != 3+43 {
			t.Errorf("got %s after %d calls, want 3 pages of groups and 43 calls for their tags", called(answer), s.calls())
		}
		if rest := time.Until(answer.Next); rest != 46*2*time.Second {
			t.Errorf("reads again after %v, want 2 s for each call", rest)
		}
		time.Sleep(time.Hour)
		if s.calls() != 46 {
			t.Errorf("%d calls, though nobody looked", s.calls())
		}
	})
}

// What appears is there after one reading, and what vanishes is gone after two.
func TestCatalogPicksUpChanges(t *testing.T) {
	withShelves(t, 3, nil, func(s *shelves) {
		if answer := s.look("team", "shop"); answer.Read != 1 {
			t.Errorf("%d readings", answer.Read)
		}
		fresh := s.plant("new", map[string]string{"team": "shop"})
		if answer := s.later("team", "shop"); called(answer) != "[g0 g2 new]" || answer.Read != 2 {
			t.Errorf("got %s", called(answer))
		}
		s.retag(fresh, "team", "api")
		if err := s.sim.VanishGroup(s.look("n", "0").Groups[0].ARN); err != nil {
			t.Fatal(err)
		}
		if answer := s.later("team", "shop"); called(answer) != "[g0 g2 new]" {
			t.Errorf("one reading took %s for all", called(answer))
		}
		if answer := s.later("team", "shop"); called(answer) != "[g2]" {
			t.Errorf("got %s", called(answer))
		}
	})
}

// A reading that fails at any of its calls changes nothing, and is repeated.
func TestBehaviour08_CatalogKeepsWhatItKnewWhenAReadingFails(t *testing.T) {
	for _, action := range []string{"DescribeTargetGroups", "DescribeTags"} {
		withShelves(t, 30, nil, func(s *shelves) {
			want := called(s.look("team", "shop"))
			s.later("team", "shop")
			for i := range 3 {
				s.fault(elbsim.Fault{Action: action, Kind: elbsim.FaultFail, Code: "AccessDenied", Message: "no", Count: 1})
				answer := s.later("team", "shop")
				if called(answer) != want || answer.Err == nil || answer.Err.Kind != elb.AccessDenied || answer.Err.Op != action || time.Until(answer.Next) < 10*time.Second {
					t.Errorf("failure %d: got %s, %v", i, called(answer), answer.Err)
				}
			}
			if answer := s.later("team", "shop"); called(answer) != want || answer.Err != nil {
				t.Errorf("got %s, %v", called(answer), answer.Err)
			}
		})
	}
}

func TestCatalogToldOfAFailureAtTheBeginning(t *testing.T) {
	withShelves(t, 1, nil, func(s *shelves) {
		s.fault(elbsim.Fault{Kind: elbsim.FaultFail, Code: "AccessDenied", Message: "no", Count: 1})
		if answer := s.look("team", "shop"); !answer.Known || answer.Read != 0 || answer.Err == nil || answer.Groups != nil {
			t.Errorf("got %+v", answer)
		}
	})
}

func TestCatalogGoesOnWhereItWasThrottled(t *testing.T) {
	withShelves(t, 45, nil, func(s *shelves) {
		s.fault(elbsim.Fault{Action: "DescribeTags", Kind: elbsim.FaultThrottle, Count: 3})
		if answer := s.look("n", "44"); !answer.Known {
			time.Sleep(20 * time.Second) // the budget makes it wait
		}
		if answer := s.look("n", "44"); called(answer) != "[g44]" || s.calls() != 1+3+3 {
			t.Errorf("got %s, %v after %d calls", called(answer), answer.Err, s.calls())
		}
	})
}

// haunted lists groups that do not exist beside those that do.
type haunted struct {
	elb.Client
	ghosts []target.ARN
}

func (h haunted) AllGroups(ctx context.Context, marker string) ([]target.Group, string, error) {
	groups, next, err := h.Client.AllGroups(ctx, marker)
	for _, ghost := range h.ghosts {
		groups = append(groups, target.Group{ARN: ghost, Type: target.TypeIP})
	}
	return groups, next, err
}

// A group that is deleted between the two calls does not spoil the reading.
func TestCatalogPassesOverGroupsThatAreGoneMeanwhile(t *testing.T) {
	var ghosts []target.ARN
	for _, id := range []string{"0123456789abcdef", "0123456789abcde0"} {
		ghosts = append(ghosts, target.ARN{Partition: "aws", Region: elbsim.DefaultRegion, Account: elbsim.DefaultAccount, Name: "ghost", ID: id})
	}
	withShelves(t, 18, func(c elb.Client) elb.Client { return haunted{c, ghosts} }, func(s *shelves) {
		if answer := s.look("team", "shop"); len(answer.Groups) != 9 || answer.Err != nil {
			t.Errorf("got %s, %v", called(answer), answer.Err)
		}
		if _, known := s.catalog.Group(ghosts[0]); known {
			t.Error("a group is known that does not exist")
		}
	})
}

func TestCatalogDoubted(t *testing.T) {
	withShelves(t, 1, nil, func(s *shelves) {
		s.look("team", "shop")
		s.catalog.Doubt()
		s.look("team", "shop")
		if s.calls() != 2 {
			t.Errorf("%d calls: what was read just now was doubted", s.calls())
		}
		time.Sleep(11 * time.Second)
		s.catalog.Doubt()
		s.look("team", "shop")
		if s.calls() != 4 {
			t.Errorf("%d calls: what proved wrong was not read again", s.calls())
		}
	})
}

// After any changes two readings end in what is so, and no reading on the way loses a
// group that has the tags all the time.
func TestCatalogEndsInWhatIsSo(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		type change struct {
			group int
			team  string
		}
		changes := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) change {
			return change{rapid.IntRange(0, 5).Draw(r, "group"), rapid.SampledFrom([]string{"shop", "api"}).Draw(r, "team")}
		}), 1, 8).Draw(r, "changes")
		var wrong string
		withShelves(t, 6, nil, func(s *shelves) {
			arns := map[int]target.ARN{}
			for i := range 6 {
				arns[i] = s.look("n", fmt.Sprint(i)).Groups[0].ARN
			}
			teams := map[int]string{0: "shop", 1: "api", 2: "shop", 3: "api", 4: "shop", 5: "api"}
			always := map[string]bool{"g0": true, "g2": true, "g4": true}
			for _, c := range changes {
				s.retag(arns[c.group], "team", c.team)
				teams[c.group] = c.team
				if c.team != "shop" {
					delete(always, fmt.Sprint("g", c.group))
				}
				names := called(s.later("team", "shop"))
				for name := range always {
					if !strings.Contains(names, name) {
						wrong = fmt.Sprintf("%s had the tag all the time, and is not in %s", name, names)
					}
				}
			}
			s.later("team", "shop")
			var want []string
			for i, team := range teams {
				if team == "shop" {
					want = append(want, fmt.Sprint("g", i))
				}
			}
			slices.Sort(want)
			if got := called(s.later("team", "shop")); got != fmt.Sprint(want) {
				wrong = fmt.Sprintf("got %s, want %v", got, want)
			}
		})
		if wrong != "" {
			r.Error(wrong)
		}
	})
}
