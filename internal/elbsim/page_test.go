package elbsim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// browse makes a request as a browser does and gives status and body.
func (w wire) browse(t *testing.T, method, path string, fields url.Values, header ...string) (status int, body string) {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), method, w.url+AdminPath+path, strings.NewReader(fields.Encode())))(t)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	response := must(http.DefaultClient.Do(r))(t)
	defer response.Body.Close()
	return response.StatusCode, string(must(io.ReadAll(response.Body))(t))
}

// do posts a form of the page, given as name, value and so on, and gives what the
// page would tell.
func (w wire) do(t *testing.T, action string, fields ...string) string {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	_, body := w.browse(t, "POST", "/do/"+action, form)
	var told struct{ Outcome, Error string }
	if err := json.Unmarshal([]byte(body), &told); err != nil {
		t.Fatalf("%s: %v in %s", action, err, body)
	}
	return told.Outcome + told.Error
}

func TestPageShowsTheWorld(t *testing.T) {
	w := newWire(t, nil)
	w.register(t, "10.0.0.1")
	must(w.sim.PlantGroup(SeedGroup{SeedScope: SeedScope{Account: "210987654321", Region: "us-east-1"}, Name: "elsewhere", Tags: map[string]string{"team": "<shop>"}}))(t)
	must(w.sim.AddFault(Fault{Kind: FaultLose, Action: "DescribeTags", Group: "web", Nth: 3, Count: 5}))(t)
	status, page := w.browse(t, "GET", "/", nil)
	if status != 200 {
		t.Fatalf("got %d %s", status, page)
	}
	for _, part := range []string{
		"10.0.0.1:80", `data-state="initial"`, "Elb.RegistrationInProgress", "elsewhere", "account 210987654321, us-east-1", w.arn,
		"RegisterTargets</th>", "20 of 20", "5 times from no. 3 on, 5 left", "The data plane is off", "front", "<code>team=&lt;shop&gt;</code>",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q in the page", part)
		}
	}
	if strings.Contains(page, "style=") {
		t.Error("the page has inline styles, which its policy forbids")
	}
	if status, _ := w.browse(t, "GET", "", nil); status != 200 {
		t.Errorf("without the slash it is %d", status)
	}
	if status, page := w.browse(t, "GET", "/?action=RegisterTargets&code=Throttling", nil); status != 200 || !strings.Contains(page, "No call in the log matches") {
		t.Errorf("got %d", status)
	}
}

func TestPageOfHostileNamesIsSafe(t *testing.T) {
	w := newWire(t, nil)
	w.post(t, http.Header{"Authorization": {authorization("AKID", "elasticloadbalancing")}, "User-Agent": {`<script>alert(1)</script>`}},
		`Version=2015-12-01&Action=<script>alert(2)</script>&TargetGroupArn="><b>`)
	_, page := w.browse(t, "GET", "/", nil)
	if strings.Contains(page, "<script>alert") || strings.Contains(page, `"><b>`) || !strings.Contains(page, "&lt;script&gt;alert(2)") {
		t.Errorf("got %s", page)
	}
}

func TestFormsOfThePage(t *testing.T) {
	w := newWire(t, nil)
	w.register(t, "10.0.0.1")
	same := must(w.sim.PlantGroup(SeedGroup{SeedScope: SeedScope{Region: "us-east-1"}, Name: "web"}))(t)
	for _, step := range []struct {
		action string
		fields []string
		want   string
	}{
		{"fault", []string{"kind", "throttle"}, "Fault 1 is in force: throttle of all calls."},
		{"fault", []string{"kind", "hang", "action", "DescribeTags", "group", w.arn, "count", " 2 ", "duration", "5s"}, "Fault 2 is in force: hang of DescribeTags calls."},
		{"fault", []string{"kind", "burn"}, `fault kind "burn": want fail, throttle, hang, drop or lose`},
		{"fault", []string{"kind", "fail", "action", "Describe"}, `action "Describe": want one of AddTags, `},
		{"fault", []string{"kind", "fail", "group", "wbe"}, `group "wbe": there is none of that name or ARN; there is web, web`},
		{"fault", []string{"kind", "fail", "group", "web"}, `group "web": there are 2 of that name, in different accounts or regions; give the ARN`},
		{"fault", []string{"kind", "fail", "count", "0"}, `how often "0": want a whole number of calls`},
		{"fault", []string{"kind", "hang", "duration", "-5s"}, `hang for "-5s": want a number with its unit`},
		{"end-fault", []string{"id", "2"}, "Fault 2 is ended."},
		{"end-fault", []string{"id", "2"}, `fault "2": there is none of that number any more`},
		{"end-faults", nil, "All faults are ended."},
		{"throttle", []string{"throttle", "on"}, "Every account may make one call a second."},
		{"throttle", []string{"throttle", "off"}, "Throttling is as it was at the start."},
		{"throttle", []string{"throttle", "up"}, `throttle "up": want on or off`},
		{"deny", []string{"action", "*"}, "Every action is answered with AccessDenied."},
		{"deny", []string{"action", "Register"}, `action "Register": want one of`},
		{"allow", []string{"action", "*"}, "Every action is allowed again."},
		{"allow", []string{"action", "*"}, `action "*": it is not denied`},
		{"health", []string{"group", w.arn, "target", "10.0.0.1:80", "state", "healthy"}, "10.0.0.1:80 is healthy in web, whatever its checks find."},
		{"health", []string{"group", w.arn, "target", "10.0.0.1:80", "state", "real"}, "10.0.0.1:80 in web is left to its health checks again."},
		{"health", []string{"group", w.arn, "target", "10.0.0.1:80", "state", "ill"}, `health "ill": want healthy, unhealthy or real`},
		{"health", []string{"group", w.arn, "target", "10.0.0.1"}, `target "10.0.0.1" is not of the form address:port`},
		{"health", []string{"group", same.String(), "target", "10.0.0.1:80", "state", "healthy"}, "The target '10.0.0.1:80' is not registered"},
		{"clear-calls", nil, "The log of calls is empty."},
		{"reset", nil, "Everything is as it was at the start."},
	} {
		if got := w.do(t, step.action, step.fields...); !strings.Contains(got, step.want) {
			t.Errorf("%s %q: got %q, want %q", step.action, step.fields, got, step.want)
		}
	}
	if groups := w.sim.Groups(); len(groups) != 0 {
		t.Errorf("a reset leaves %+v", groups)
	}
}

// TestLiftingThrottlingRestoresWhatThereWas: a simulator that began without any
// has none again.
func TestLiftingThrottlingRestoresWhatThereWas(t *testing.T) {
	settings := DefaultSettings()
	settings.Buckets = nil
	w := newWire(t, &settings)
	w.do(t, "throttle", "throttle", "on")
	for _, class := range []model.Class{model.ClassRegistration, model.ClassDescribe, model.ClassMutating, model.ClassTotal} {
		if got := w.sim.Settings().Buckets[class]; got != (model.Bucket{Capacity: 1, PerSecond: 1}) {
			t.Errorf("%s: got %+v", class, got)
		}
	}
	w.do(t, "throttle", "throttle", "off")
	if got := w.sim.Settings().Buckets; got != nil {
		t.Errorf("got %v", got)
	}
}

func TestOtherSitesCannotActOnTheSimulator(t *testing.T) {
	w := newWire(t, nil)
	for name, c := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"a program under any name":        {"/reset", []string{"Host", "sim.test"}, 204},
		"another site's page":             {"/reset", []string{"Origin", "http://evil.example"}, 403},
		"a page under a rebound name":     {"/reset", []string{"Host", "evil.example", "Origin", "http://evil.example"}, 403},
		"its own page":                    {"/do/clear-calls", []string{"Origin", w.url}, 200},
		"the page under a rebound name":   {"/do/clear-calls", []string{"Host", "evil.example"}, 403},
		"the page from another site":      {"/do/clear-calls", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"no such action":                  {"/do/nothing", nil, 404},
		"an action of the page, not sent": {"/do/", nil, 404},
	} {
		t.Run(name, func(t *testing.T) {
			if status, body := w.browse(t, "POST", c.path, nil, c.header...); status != c.want {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
	if status, _ := w.browse(t, "GET", "/", nil, "Host", "evil.example"); status != 403 {
		t.Errorf("the page can be read under a rebound name: %d", status)
	}
}

func TestBudgetAndSinceAreInTheAPI(t *testing.T) {
	w := newWire(t, nil)
	w.register(t, "10.0.0.1")
	var budget budgetList
	w.admin(t, "GET", "/budget", "", &budget)
	if len(budget.Budgets) != 1 || budget.Budgets[0].Account != DefaultAccount || len(budget.Budgets[0].Buckets) != 4 {
		t.Fatalf("got %+v", budget)
	}
	if b := budget.Budgets[0].Buckets[0]; b.Class != model.ClassRegistration || b.Capacity != 20 || b.Tokens < 19 || b.Tokens > 20 {
		t.Errorf("got %+v", b)
	}
	var groups groupList
	w.admin(t, "GET", "/groups", "", &groups)
	if since := groups.Groups[0].Targets[0].Since; since.IsZero() || since.After(groups.Now) {
		t.Errorf("got %v at %v", since, groups.Now)
	}
}

// TestAgesAreOfTheSimulatorsClock: at ten times the speed a second makes a state
// ten seconds old, and the page says so.
func TestAgesAreOfTheSimulatorsClock(t *testing.T) {
	for speed, want := range map[float64][2]string{
		0:  {"3 s", "How long a state has lasted is told in real time."},
		10: {"30 s", "which runs 10 times as fast as this machine's."},
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := must(New(Options{Speed: speed, Seed: Seed{Groups: []SeedGroup{{Name: "web", Targets: []string{"10.0.0.1:80"}}}}}))(t)
			time.Sleep(3 * time.Second)
			view := must(sim.pageData(t.Context(), nil))(t).(pageView)
			if got := [2]string{view.Groups[0].Shown[0].Age, view.ClockNote()}; got[0] != want[0] || !strings.Contains(got[1], want[1]) {
				t.Errorf("speed %g: got %q, want %q", speed, got, want)
			}
		})
	}
}

func TestLargeWorldsAreCut(t *testing.T) {
	seed := Seed{}
	for i := range shownGroups + 5 {
		seed.Groups = append(seed.Groups, SeedGroup{Name: fmt.Sprintf("g%d", i)})
	}
	for i := range shownTargets + 7 {
		seed.Groups[0].Targets = append(seed.Groups[0].Targets, fmt.Sprintf("10.0.%d.%d:80", i/250, i%250))
	}
	sim := must(New(Options{Seed: seed}))(t)
	view := must(sim.pageData(t.Context(), nil))(t).(pageView)
	if len(view.ShownGroups()) != shownGroups || view.HiddenGroups() != 5 || view.Groups[0].Hidden() != 7 || view.Targets != shownTargets+7 || view.Groups[0].Open {
		t.Errorf("got %d and %d groups, %d targets hidden", len(view.ShownGroups()), view.HiddenGroups(), view.Groups[0].Hidden())
	}
	if states := view.Groups[0].States; len(states) != 1 || states[0].State != target.Unused || states[0].Count != shownTargets+7 {
		t.Errorf("got %+v", states)
	}
}

func TestLatestCalls(t *testing.T) {
	l := newCallLog(4)
	for _, action := range []string{"a", "b", "a", "b", "a", "b"} {
		l.begin(Call{Action: action})
	}
	for name, c := range map[string]struct {
		n      int
		filter callFilter
		want   string
	}{
		"all kept": {10, callFilter{}, "6 5 4 3 "},
		"some":     {3, callFilter{}, "6 5 4 "},
		"filtered": {10, callFilter{Action: "a"}, "5 3 "},
		"none":     {10, callFilter{Action: "c"}, ""},
	} {
		got := ""
		for _, call := range l.latest(c.n, c.filter.selects) {
			got += fmt.Sprint(call.Seq, " ")
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	if l.size() != 4 {
		t.Errorf("got %d", l.size())
	}
	l.clear()
	if got := l.latest(10, callFilter{}.selects); len(got) != 0 || l.size() != 0 {
		t.Errorf("got %v", got)
	}
}

func TestWordsOfThePage(t *testing.T) {
	for want, got := range map[string]string{
		"until the client leaves":          faultView{Fault{Kind: FaultHang}}.Details(),
		"for 5s":                           faultView{Fault{Kind: FaultHang, Duration: Duration(5 * time.Second)}}.Details(),
		"ServiceUnavailable (503) not now": faultView{Fault{Kind: FaultFail, Code: "ServiceUnavailable", Status: 503, Message: "not now"}}.Details(),
		"always":                           faultView{Fault{Nth: 1}}.Often(),
		"3 times, 2 left":                  faultView{Fault{Nth: 1, Count: 3, Selected: 1}}.Often(),
		"3 times from no. 2 on, 0 left":    faultView{Fault{Nth: 2, Count: 3, Selected: 9}}.Often(),
		"10.0.0.1, 10.0.0.2 and 2 more":    callView{Call{Targets: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}}}.Some(),
		"tgc/1.2":                          callView{Call{UserAgent: "aws-sdk-go-v2/1.47 os/linux tgc/1.2 m/E"}}.By(),
		"aws-cli/2.9":                      callView{Call{UserAgent: "aws-cli/2.9 Python/3.11"}}.By(),
		"":                                 callView{Call{}}.By(),
		"web":                              resourceName("arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/904faf41c0bd9964"),
		"front":                            resourceName("arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/front/904faf41c0bd9964"),
		"a/b/c":                            resourceName("a/b/c"),
		"42 µs":                            took(42 * time.Microsecond),
		"1.5 ms":                           took(1500 * time.Microsecond),
		"150 ms":                           took(150 * time.Millisecond),
		"1.50 s":                           took(1500 * time.Millisecond),
		"throttled":                        callView{Call{Code: "ThrottlingException"}}.State(),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
