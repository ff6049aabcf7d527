package elb_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const fresh = 10 * time.Minute

// library is a Directory on the simulator with groups named g0, g1 ...
type library struct {
	t         *testing.T
	sim       *elbsim.Sim
	refs      []target.Ref
	directory *elb.Directory
	ctx       context.Context
	stop      context.CancelFunc

	mu    sync.Mutex
	woken map[target.Ref]int
}

func withLibrary(t *testing.T, groups int, limits pace.Limits, test func(*library)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sim := unthrottled(t)
		l := &library{t: t, sim: sim, woken: map[target.Ref]int{}}
		for i := range groups {
			arn, err := sim.PlantGroup(elbsim.SeedGroup{Name: fmt.Sprint("g", i)})
			if err != nil {
				t.Fatal(err)
			}
			l.refs = append(l.refs, target.Ref{ARN: arn})
		}
		account := &elb.Account{Client: sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion), Budget: pace.New(limits)}
		l.directory = elb.NewDirectory(account, fresh, func(ref target.Ref) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.woken[ref]++
		})
		l.ctx, l.stop = context.WithCancel(context.Background())
		test(l)
		l.stop()
		l.directory.Wait()
	})
}

func (l *library) look(ref target.Ref) elb.Answer {
	l.directory.Look(l.ctx, ref)
	synctest.Wait()
	return l.directory.Look(l.ctx, ref)
}

func (l *library) calls() int { synctest.Wait(); return len(l.sim.Calls()) }

func TestDirectoryNeverWaits(t *testing.T) {
	withLibrary(t, 1, ample, func(l *library) {
		if answer := l.directory.Look(l.ctx, l.refs[0]); answer.Known {
			t.Error("an answer is known before anybody was asked")
		}
		synctest.Wait()
		if l.woken[l.refs[0]] != 1 {
			t.Errorf("woken %d times, want once", l.woken[l.refs[0]])
		}
		answer := l.look(l.refs[0])
		if !answer.Known || answer.Err != nil || answer.Group.ARN != l.refs[0].ARN {
			t.Errorf("got %+v, want the group", answer)
		}
		if l.calls() != 1 {
			t.Errorf("%d calls, want 1", l.calls())
		}
	})
}

func TestDirectoryAsksForManyInOneCall(t *testing.T) {
	slow := ample
	slow.Describe = pace.Limit{Capacity: 1, Refill: 1} // while one waits, the others come
	withLibrary(t, 45, slow, func(l *library) {
		for _, ref := range l.refs {
			l.directory.Look(l.ctx, ref)
		}
		l.directory.Look(l.ctx, target.Ref{Name: "g1"})
		l.directory.Look(l.ctx, target.Ref{Name: "g2"})
		time.Sleep(time.Minute)
		for _, ref := range append(l.refs, target.Ref{Name: "g1"}, target.Ref{Name: "g2"}) {
			if answer := l.look(ref); !answer.Known || answer.Group.ARN.IsZero() {
				t.Fatalf("%s: got %+v", ref, answer)
			}
		}
		if n := l.calls(); n > 5 {
			t.Errorf("%d calls for 45 groups by ARN and 2 by name, want 3 and 1", n)
		}
	})
}

func TestBehaviour18_MissingGroupDoesNotHurtTheOthersOfItsCall(t *testing.T) {
	slow := ample
	slow.Describe = pace.Limit{Capacity: 1, Refill: 1}
	withLibrary(t, 20, slow, func(l *library) {
		if err := l.sim.VanishGroup(l.refs[7].ARN); err != nil {
			t.Fatal(err)
		}
		for _, ref := range l.refs {
			l.directory.Look(l.ctx, ref)
		}
		time.Sleep(time.Minute)
		for i, ref := range l.refs {
			answer := l.directory.Look(l.ctx, ref)
			missing := answer.Err != nil && answer.Err.Kind == elb.GroupNotFound && answer.Group.ARN.IsZero()
			if !answer.Known || missing != (i == 7) {
				t.Errorf("%s: got %+v", ref, answer)
			}
		}
	})
}

func TestBehaviour18_GroupThatComesBackIsFound(t *testing.T) {
	withLibrary(t, 0, ample, func(l *library) {
		ref := target.Ref{Name: "late"}
		if answer := l.look(ref); !answer.Known || answer.Err == nil || answer.Err.Kind != elb.GroupNotFound {
			t.Fatalf("got %+v, want that it does not exist", answer)
		}
		if _, err := l.sim.PlantGroup(elbsim.SeedGroup{Name: "late"}); err != nil {
			t.Fatal(err)
		}
		answer := l.look(ref)
		for range 10 {
			time.Sleep(time.Until(answer.Next))
			answer = l.look(ref)
		}
		if answer.Err != nil || answer.Group.ARN.Name != "late" {
			t.Errorf("got %+v, want the group", answer)
		}
		if n := l.calls(); n > 11 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestDirectoryKeepsWhatItKnewThroughTrouble(t *testing.T) {
	for _, code := range []string{"InternalFailure", "Throttling", "AccessDenied"} {
		t.Run(code, func(t *testing.T) {
			withLibrary(t, 1, ample, func(l *library) {
				l.look(l.refs[0])
				if _, err := l.sim.AddFault(elbsim.Fault{Kind: elbsim.FaultFail, Code: code}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(fresh)
				answer := l.look(l.refs[0])
				if !answer.Known || answer.Err == nil || answer.Group.ARN != l.refs[0].ARN {
					t.Errorf("got %+v, want the old answer and the error", answer)
				}
				if pause := time.Until(answer.Next); pause < time.Second || pause > 2*time.Minute {
					t.Errorf("asks again in %v", pause)
				}
				l.sim.ClearFaults()
				time.Sleep(time.Until(answer.Next))
				if answer := l.look(l.refs[0]); answer.Err != nil {
					t.Errorf("got %v after the trouble", answer.Err)
				}
			})
		})
	}
}

func TestDirectoryAsksAgainWhenAnswersHaveAged(t *testing.T) {
	withLibrary(t, 1, ample, func(l *library) {
		answer := l.look(l.refs[0])
		if in := time.Until(answer.Next); in < fresh*8/10 || in > fresh {
			t.Errorf("asks again in %v, want a little less than %v", in, fresh)
		}
		time.Sleep(time.Until(answer.Next) - time.Second)
		l.look(l.refs[0])
		if l.calls() != 1 {
			t.Errorf("%d calls before the answer has aged, want 1", l.calls())
		}
		time.Sleep(time.Second)
		l.look(l.refs[0])
		if l.calls() != 2 {
			t.Errorf("%d calls after the answer has aged, want 2", l.calls())
		}
	})
}

func TestDirectoryAsksForNobodysSakeNoMore(t *testing.T) {
	withLibrary(t, 2, ample, func(l *library) {
		l.look(l.refs[0])
		l.look(l.refs[1])
		time.Sleep(2 * fresh)
		l.look(l.refs[1]) // nobody looks at the first any more
		if n := l.woken[l.refs[0]]; n != 1 {
			t.Errorf("asked %d times for a group that nobody looks at, want once", n)
		}
		if n := l.woken[l.refs[1]]; n != 2 {
			t.Errorf("asked %d times for the other, want twice", n)
		}
	})
}

func TestDoubtAsksAgainButNotAtOnce(t *testing.T) {
	withLibrary(t, 1, ample, func(l *library) {
		l.look(l.refs[0])
		l.directory.Doubt(l.refs[0])
		l.look(l.refs[0])
		if l.calls() != 1 {
			t.Errorf("%d calls, want no doubt about what was answered just now", l.calls())
		}
		time.Sleep(11 * time.Second)
		l.directory.Doubt(l.refs[0])
		l.directory.Doubt(target.Ref{Name: "never heard of"})
		if answer := l.look(l.refs[0]); !answer.Known || l.calls() != 2 {
			t.Errorf("got %+v after %d calls, want a second one", answer, l.calls())
		}
	})
}

func TestDirectoryStopsWithItsContext(t *testing.T) {
	none := ample
	none.Describe = pace.Limit{Capacity: 1, Refill: 0.01}
	withLibrary(t, 2, none, func(l *library) {
		l.look(l.refs[0])
		l.directory.Look(l.ctx, l.refs[1])
		l.stop()
		began := time.Now()
		l.directory.Wait()
		l.directory.Look(l.ctx, l.refs[1])
		l.directory.Wait()
		if took := time.Since(began); took != 0 || l.calls() != 1 {
			t.Errorf("Wait took %v, %d calls, want none and one", took, l.calls())
		}
	})
}

func TestBehaviour20_OneClientPerLoginOneBudgetPerAccount(t *testing.T) {
	opened := 0
	accounts := elb.NewAccounts(
		func(_ context.Context, login elb.Login) (elb.Client, error) {
			opened++
			if strings.Contains(login.Role, "bad") {
				return nil, fmt.Errorf("no such role")
			}
			return nil, nil
		},
		func(string, string) *pace.Budget { return pace.New(ample) },
	)
	open := func(login elb.Login) *elb.Account {
		account, err := accounts.Account(t.Context(), login)
		if err != nil {
			t.Fatal(err)
		}
		return account
	}
	const role = "arn:aws:iam::111122223333:role/a"
	own := open(elb.Login{Region: "eu-central-1"})
	first := open(elb.Login{Region: "eu-central-1", Role: role, ExternalID: "x"})
	second := open(elb.Login{Region: "eu-central-1", Role: role, ExternalID: "y"})
	other := open(elb.Login{Region: "eu-central-1", Role: strings.Replace(role, "1111", "4444", 1)})
	elsewhere := open(elb.Login{Region: "eu-west-1", Role: role, ExternalID: "x"})
	switch {
	case open(elb.Login{Region: "eu-central-1", Role: role, ExternalID: "x"}) != first || opened != 5:
		t.Errorf("opened %d clients for 5 logins", opened)
	case first == second:
		t.Error("two external ids share a client")
	case first.Budget != second.Budget:
		t.Error("one account and region has two budgets")
	case first.Budget == own.Budget, first.Budget == other.Budget, first.Budget == elsewhere.Budget:
		t.Error("two accounts or regions share a budget")
	}
	for range 2 {
		if _, err := accounts.Account(t.Context(), elb.Login{Region: "eu-central-1", Role: "bad"}); err == nil {
			t.Error("a login that cannot be opened gave no error")
		}
	}
	if opened != 7 {
		t.Errorf("opened %d times, want a bad login to be tried again", opened)
	}
}
