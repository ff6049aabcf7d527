package browser_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/browser"
)

// simulator is one that serves over the wire, with targets that answer.
type simulator struct {
	*elbsim.Sim
	endpoint string
	page     string
	targets  []string // of the group web; the last one refuses connections
	stop     func()
}

// startSimulator starts one with a data plane, at any speed of time. Address may be
// that of one that was stopped.
func startSimulator(t *testing.T, address string, speed float64) *simulator {
	t.Helper()
	dial, err := elbsim.ParseDialMap([]string{"10.0.0.0/8=127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	s := &simulator{targets: []string{answering(t, "127.1.0.1"), answering(t, "127.1.0.2"), answering(t, "127.1.0.3"), "10.1.0.4:1"}}
	plane := dataplane.DefaultOptions()
	plane.Range, plane.Dial = netip.MustParsePrefix("127.0.0.1/32"), dial.Dial
	sim, err := elbsim.New(elbsim.Options{
		Check: elbsim.Prober{Dial: dial.Dial}.Check, DataPlane: &plane, Speed: speed,
		Seed: elbsim.Seed{Groups: []elbsim.SeedGroup{
			{Name: "web", Port: 8080, LoadBalancer: "front", Targets: s.targets},
			{Name: "mail", Protocol: "TCP", Port: 25, LoadBalancer: "post", Targets: []string{"10.2.0.1:25"}},
			{SeedScope: elbsim.SeedScope{Account: "210987654321", Region: "us-east-1"}, Name: "reports", Targets: []string{"10.3.0.1:80"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Sim = sim
	s.serve(t, address)
	return s
}

func (s *simulator) serve(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.endpoint = "http://" + listener.Addr().String()
	s.page = s.endpoint + elbsim.AdminPath + "/"
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: time.Minute}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	running.Go(func() { _ = server.Serve(listener) }) // ends with ErrServerClosed
	s.stop = sync.OnceFunc(func() {
		cancel()
		server.Close()
		running.Wait()
	})
	t.Cleanup(s.stop)
}

// answering serves on a loopback address and gives the target that is found there.
func answering(t *testing.T, host string) string {
	t.Helper()
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
	return strings.Replace(listener.Addr().String(), "127.", "10.", 1)
}

// call calls the simulated AWS API and gives the status, 0 without an answer.
func (s *simulator) call(t *testing.T, form string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.endpoint, strings.NewReader(form+"&Version=2015-12-01"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-central-1/elasticloadbalancing/aws4_request, SignedHeaders=host, Signature=0")
	r.Header.Set("User-Agent", "browser-test/1")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func (s *simulator) group(t *testing.T, name string) elbsim.GroupState {
	t.Helper()
	for _, g := range s.Groups() {
		if g.Name == name {
			return g
		}
	}
	t.Fatalf("there is no group %s", name)
	return elbsim.GroupState{}
}

// state is that of a target of web.
func (s *simulator) state(t *testing.T, key string) elbsim.TargetState {
	t.Helper()
	for _, one := range s.group(t, "web").Targets {
		if one.Target == key {
			return one
		}
	}
	t.Fatalf("there is no target %s", key)
	return elbsim.TargetState{}
}

func (s *simulator) register(t *testing.T, id string) int {
	t.Helper()
	return s.call(t, "Action=RegisterTargets&TargetGroupArn="+url.QueryEscape(s.group(t, "web").ARN)+"&Targets.member.1.Id="+id)
}

// send sends requests through the load balancer front until the test ends: some
// of them fail.
func (s *simulator) send(t *testing.T) {
	t.Helper()
	balancers, err := s.LoadBalancers()
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for _, b := range balancers {
		if b.Name == "front" {
			nodes = b.Listeners[0].Nodes
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	for i, node := range nodes {
		sending.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				path := "/"
				if n%7 == 0 {
					path = "/broken"
				}
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node+path, nil)
				if err != nil {
					return
				}
				if response, err := http.DefaultClient.Do(r); err == nil {
					response.Body.Close()
				}
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		sending.Wait()
	})
}

// picture writes a screenshot where one is wanted.
func picture(tab *browser.Tab, name string) {
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		tab.Screenshot(filepath.Join(dir, name+".png"))
	}
}

func TestSimulatorPage(t *testing.T) {
	b := browser.Start(t)
	t.Run("looks", func(t *testing.T) { looks(t, b) })
	t.Run("forms", func(t *testing.T) { simulatorForms(t, b) })
	t.Run("errors", func(t *testing.T) { simulatorErrors(t, b) })
	t.Run("keyboard", func(t *testing.T) { simulatorKeyboard(t, b) })
	t.Run("filter", func(t *testing.T) { simulatorFilter(t, b) })
	t.Run("connection", func(t *testing.T) { simulatorConnection(t, b) })
}

// looks checks the page in every view with everything on it.
func looks(t *testing.T, b *browser.Browser) {
	s := startSimulator(t, "127.0.0.1:0", 10)
	s.send(t)
	if _, err := s.AddFault(elbsim.Fault{Action: "DeregisterTargets", Group: "web", Kind: elbsim.FaultLose, Count: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddFault(elbsim.Fault{Action: "DescribeTags", Kind: elbsim.FaultFail, Code: "ServiceUnavailable"}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.register(t, fmt.Sprintf("10.1.1.%d", i))
	}
	s.call(t, "Action=DescribeTags&ResourceArns.member.1="+url.QueryEscape(s.group(t, "web").ARN))
	s.call(t, "Action=DeregisterTargets&TargetGroupArn="+url.QueryEscape(s.group(t, "web").ARN)+"&Targets.member.1.Id=10.1.1.2")
	s.call(t, "Action=RegisterTargets&TargetGroupArn=nothing&Targets.member.1.Id=10.1.1.2")
	for _, view := range []browser.View{browser.Laptop, browser.Laptop.InDark(), browser.Phone, browser.Phone.InDark()} {
		t.Run(view.String(), func(t *testing.T) {
			tab := b.Open(t, s.page, view)
			tab.WaitText("groups", "healthy")
			tab.WaitText("calls", "RegisterTargets")
			tab.WaitText("traffic", "connect")
			tab.Wait(`document.querySelectorAll("#traffic svg").length === 2`)
			if os.Getenv("SCREENSHOTS") != "" {
				tab.Wait(`document.querySelectorAll("#traffic .bar").length > 40`)
			}
			for _, wrong := range tab.Audit() {
				t.Error(wrong)
			}
			picture(tab, "sim-"+view.String())
			noProblems(t, tab)
		})
	}
}

// simulatorForms uses every form and looks at the simulator for what came of it.
func simulatorForms(t *testing.T, b *browser.Browser) {
	s := startSimulator(t, "127.0.0.1:0", 1)
	tab := b.Open(t, s.page, browser.Laptop)

	tab.Fill("What happens", "fail")
	tab.Fill("To the action", "RegisterTargets")
	tab.Fill("On the group", "web")
	tab.Fill("How often", "1")
	tab.Fill("Error code of a failure", "ServiceUnavailable")
	tab.Click("Add fault")
	tab.WaitText("faults", "ServiceUnavailable (503)")
	if faults := s.Faults(); len(faults) != 1 || faults[0].Count != 1 || faults[0].Group != s.group(t, "web").ARN {
		t.Fatalf("got %+v", faults)
	}
	if status := s.register(t, "10.1.1.1"); status != 503 {
		t.Errorf("the call is answered %d", status)
	}
	tab.WaitText("faults", "1 times, 0 left")
	tab.WaitText("calls", "ServiceUnavailable")
	tab.Click("End fault 1")
	tab.WaitText("faults", "None: calls go as AWS would have them.")
	tab.WaitText("outcome", "Fault 1 is ended.")

	tab.Fill("What happens", "hang")
	tab.Fill("Hang for", "50ms")
	tab.Click("Add fault")
	tab.WaitText("faults", "for 50ms")
	tab.Click("End all faults")
	tab.WaitText("faults", "None: calls go as AWS would have them.")

	tab.Click("Throttle")
	tab.WaitText("budget", "of 1")
	if bucket := s.Settings().Buckets[model.ClassTotal]; bucket.Capacity != 1 {
		t.Errorf("got %+v", bucket)
	}
	tab.Click("Lift throttling")
	tab.WaitText("budget", "of 40")

	tab.Fill("Action", "RegisterTargets")
	tab.Click("Deny")
	tab.WaitText("denied", "RegisterTargets is denied")
	if status := s.register(t, "10.1.1.1"); status != 403 {
		t.Errorf("the call is answered %d", status)
	}
	tab.Click("Allow RegisterTargets")
	tab.WaitText("denied", "Nothing is denied.")
	if status := s.register(t, "10.1.1.1"); status != 200 {
		t.Errorf("the call is answered %d", status)
	}

	tab.Fill("Group", "web")
	tab.Fill("Target", s.targets[0])
	tab.Fill("Health", "unhealthy")
	tab.Click("Set health")
	tab.WaitText("groups", "forced")
	if state := s.state(t, s.targets[0]); state.State != target.Unhealthy || !state.Forced {
		t.Errorf("got %+v", state)
	}
	tab.Fill("Health", "real")
	tab.Click("Set health")
	tab.Wait(`!document.getElementById("groups").innerText.includes("forced")`)

	tab.Click("Empty the log of calls")
	tab.WaitText("calls", "No calls yet.")
	if calls := s.Calls(); len(calls) != 0 {
		t.Errorf("got %d calls", len(calls))
	}
	if _, err := s.AddFault(elbsim.Fault{Kind: elbsim.FaultDrop}); err != nil {
		t.Fatal(err)
	}
	tab.WaitText("faults", "drop")
	tab.Click("Reset the simulator")
	tab.WaitText("faults", "None: calls go as AWS would have them.")
	tab.Wait(`[...document.querySelectorAll("output")].some((o) => o.innerText === "Everything is as it was at the start.")`)
	noProblems(t, tab)
}

// simulatorErrors: what is wrong is named with its value and the remedy, beside
// the form, and nothing is done.
func simulatorErrors(t *testing.T, b *browser.Browser) {
	s := startSimulator(t, "127.0.0.1:0", 1)
	tab := b.Open(t, s.page, browser.Phone)
	says := func(text string) {
		t.Helper()
		tab.Wait(fmt.Sprintf(`[...document.querySelectorAll("output.failed")].some((o) => o.innerText.includes(%q))`, text))
	}
	tab.Fill("On the group", "wbe")
	tab.Click("Add fault")
	says(`group "wbe": there is none of that name or ARN; there is web, mail, reports`)
	tab.Fill("On the group", "")
	tab.Fill("How often", "often")
	tab.Click("Add fault")
	says(`how often "often": want a whole number`)
	tab.Fill("How often", "")
	tab.Fill("Hang for", "5")
	tab.Click("Add fault")
	says(`hang for "5": want a number with its unit`)
	tab.Fill("Group", "web")
	tab.Fill("Target", "10.1.2.3")
	tab.Click("Set health")
	says(`"10.1.2.3" is not of the form address:port`)
	tab.Fill("Target", "10.99.99.99:1")
	tab.Click("Set health")
	says(`The target '10.99.99.99:1' is not registered`)
	if faults := s.Faults(); len(faults) != 0 {
		t.Errorf("got %+v", faults)
	}
	for _, wrong := range tab.Audit() { // with its longest texts
		t.Error(wrong)
	}
	for _, p := range tab.Problems() {
		if p.Source != "network" { // the browser logs answers of 400
			t.Errorf("got %v", p)
		}
	}
}

// simulatorKeyboard reaches all that can be operated, and operates it, without a
// mouse.
func simulatorKeyboard(t *testing.T, b *browser.Browser) {
	s := startSimulator(t, "127.0.0.1:0", 1)
	if _, err := s.AddFault(elbsim.Fault{Kind: elbsim.FaultDrop, Action: "DescribeTags"}); err != nil {
		t.Fatal(err)
	}
	tab := b.Open(t, s.page, browser.Laptop)
	tab.Find("End fault 1")
	visited, folds := map[string]bool{}, 0
	for _, n := range tab.TabThrough() {
		visited[n.String()] = true
		if n.Role == "DisclosureTriangle" {
			folds++
		}
	}
	// The names of folds hold counts, which go on changing.
	if folds != len(s.Groups()) {
		t.Errorf("the keyboard reaches %d of the groups", folds)
	}
	for _, n := range tab.Tree() {
		if n.Interactive() && n.Role != "option" && n.Role != "DisclosureTriangle" && !visited[n.String()] {
			t.Errorf("the keyboard does not reach %v", n)
		}
	}
	tab.Focus("End fault 1")
	tab.Press("Space")
	tab.WaitText("faults", "None: calls go as AWS would have them.")
	tab.Focus("How often")
	tab.Press("2", "Enter")
	tab.WaitText("faults", "2 times, 2 left")
	tab.Focus("How often")
	tab.Press("Shift+Tab", "w", "e", "b", "Tab")
	if n := tab.Focused(); n.Name != "How often" {
		t.Errorf("the focus is on %v", n)
	}
	noProblems(t, tab)
}

func simulatorFilter(t *testing.T, b *browser.Browser) {
	s := startSimulator(t, "127.0.0.1:0", 1)
	tab := b.Open(t, s.page, browser.Laptop)
	tab.Fill("Show only action", "RegisterTargets")
	tab.Fill("Show only code", "OK")
	tab.Click("Filter")
	tab.WaitText("calls", "No call in the log matches.")
	s.call(t, "Action=DescribeTargetGroups")
	s.call(t, "Action=RegisterTargets&TargetGroupArn=nothing&Targets.member.1.Id=10.1.1.2")
	s.register(t, "10.1.1.1")
	tab.WaitText("calls", "browser-test/1")
	var rows int
	tab.Eval(`document.querySelectorAll("#calls tbody tr").length`, &rows)
	if rows != 1 {
		t.Errorf("%d calls are shown", rows)
	}
	noProblems(t, tab)
}

func simulatorConnection(t *testing.T, b *browser.Browser) {
	s := startSimulator(t, "127.0.0.1:0", 1)
	tab := b.Open(t, s.page, browser.Phone)
	tab.Wait(`document.getElementById("live").innerText === "live"`)
	s.stop()
	tab.WaitText("connection", "the page shows the past")
	tab.Click("Throttle")
	tab.Wait(`document.querySelector("output.failed")?.innerText.includes("there is no connection")`)
	if len(tab.Audit()) > 0 {
		t.Errorf("got %q", tab.Audit())
	}
	picture(tab, "sim-lost")
	startSimulator(t, strings.TrimPrefix(s.endpoint, "http://"), 1)
	tab.Wait(`document.getElementById("live").innerText === "live"`)
	tab.Click("Throttle")
	tab.WaitText("budget", "of 1")
}
