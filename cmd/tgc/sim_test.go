package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// startSim runs `tgc sim` until the test ends and gives the lines it wrote up to
// the one that says that it is ready.
func startSim(t *testing.T, arguments ...string) []string {
	t.Helper()
	command := simCommand()
	command.SetArgs(append([]string{"--listen", "127.0.0.1:0"}, arguments...))
	out, in := io.Pipe()
	command.SetOut(in)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		err := command.ExecuteContext(ctx)
		in.CloseWithError(io.ErrUnexpectedEOF)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var lines []string
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		if lines = append(lines, scanner.Text()); strings.HasPrefix(scanner.Text(), "ready ") {
			return lines
		}
	}
	t.Fatalf("never ready: %q", lines)
	return nil
}

// field is the value of name=value in a line.
func field(line, name string) string {
	for word := range strings.FieldsSeq(line) {
		if value, is := strings.CutPrefix(word, name+"="); is {
			return value
		}
	}
	return ""
}

func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestSimServesWhatItsFlagsAndFileSay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "seed.yaml")
	const seed = "groups: [{name: mail, protocol: TCP, port: 25}]\nsettings: {latency: {fixed: 1ms}, throttleCode: ThrottlingException}\n"
	if err := os.WriteFile(file, []byte(seed), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := startSim(t, "--seed", file, "--group", "name=web,protocol=HTTP,port=8080,loadBalancer=front", "--latency", "2ms", "--bucket", "describe=7/2")
	if len(lines) != 3 || field(lines[0], "name") != "mail" || field(lines[1], "name") != "web" {
		t.Fatalf("got %q", lines)
	}
	ready := lines[2]
	if field(ready, "admin") != field(ready, "endpoint")+elbsim.AdminPath {
		t.Errorf("got %q", ready)
	}
	if page := get(t, field(ready, "page")); field(ready, "page") != field(ready, "admin")+"/" || !strings.Contains(page, "<h1>Simulator</h1>") {
		t.Errorf("got %q and %s", ready, page)
	}
	settings := get(t, field(ready, "admin")+"/settings")
	for _, part := range []string{`"fixed":"2ms"`, `"throttleCode":"ThrottlingException"`, `"describe":{"capacity":7,"perSecond":2}`} {
		if !strings.Contains(settings, part) {
			t.Errorf("no %s in %s", part, settings)
		}
	}
	if groups := get(t, field(ready, "admin")+"/groups"); !strings.Contains(groups, field(lines[1], "arn")) {
		t.Errorf("got %s", groups)
	}
}

func TestSimTellsWhereItListens(t *testing.T) {
	lines := startSim(t, "--data-plane", "--nodes", "2", "--node-range", "127.0.0.1/32", "--group", "name=web,loadBalancer=front")
	if len(lines) != 3 || field(lines[1], "loadbalancer") != "front" || field(lines[1], "port") != "80" {
		t.Fatalf("got %q", lines)
	}
	nodes := strings.Split(field(lines[1], "nodes"), ",")
	if len(nodes) != 2 {
		t.Fatalf("got %q", lines)
	}
	for _, node := range nodes {
		if got := get(t, "http://"+node); !strings.Contains(got, "503 Service") {
			t.Errorf("got %q", got)
		}
	}
}

func TestSimAdminOnItsOwnAddress(t *testing.T) {
	var events *http.Response
	t.Cleanup(func() { events.Body.Close() })
	lines := startSim(t, "--admin-listen", "127.0.0.1:0", "--health-checks", "none")
	ready := lines[0]
	if got := get(t, field(ready, "admin")+"/faults"); !strings.Contains(got, `"faults":[]`) {
		t.Errorf("got %s", got)
	}
	if got := get(t, field(ready, "endpoint")+elbsim.AdminPath+"/faults"); !strings.Contains(got, "InvalidAction") {
		t.Errorf("the AWS face serves the admin API: %s", got)
	}
	// The stream stays open until the simulator was stopped, which it does not hold up.
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, field(ready, "page")+"events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if events, err = http.DefaultClient.Do(r); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(events.Body).ReadString('\n'); err != nil || !strings.HasPrefix(line, "event: ") {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestSimRefusesWrongFlags(t *testing.T) {
	for _, arguments := range [][]string{
		{"--group", "port=80"},
		{"--group", "name=web,colour=blue"},
		{"--group", "name=web,port=x"},
		{"--dial-map", "10.0.0.0/8"},
		{"--speed", "0"},
		{"--nodes", "256"},
		{"--node-range", "127.0.0.1"},
		{"--delay", "alb.sleep=1s-2s"},
		{"--delay", "alb.health=2s-1s"},
		{"--health-checks", "maybe"},
		{"--bucket", "describe=7"},
		{"--bucket", "nonsense=7/2"},
		{"--throttle-code", "Slow"},
		{"--reregister", "maybe"},
		{"--seed", "does-not-exist.yaml"},
		{"--log-limit", "0"},
		{"--latency", "soon"},
		{"--deregistration-delay", "2h"},
		{"--speed", "NaN"},
	} {
		command := simCommand()
		command.SilenceErrors, command.SilenceUsage = true, true
		command.SetArgs(append([]string{"--listen", "127.0.0.1:0"}, arguments...))
		err := command.ExecuteContext(t.Context())
		if err == nil {
			t.Errorf("%q was accepted", arguments)
			continue
		}
		wrong := arguments[1][strings.LastIndex(arguments[1], "=")+1:]
		for _, part := range []string{arguments[0], wrong} {
			if text := err.Error(); !strings.Contains(text, part) {
				t.Errorf("%q: the error does not name %s: %s", arguments, part, text)
			}
		}
	}
}

func TestSimSettersAreFlagsAndTheOtherWayRound(t *testing.T) {
	flags := simCommand().Flags()
	for name := range settingSetters {
		if flags.Lookup(name) == nil {
			t.Errorf("there is no flag --%s", name)
		}
	}
	if len(model.DefaultBuckets()) != 4 {
		t.Error("the help of --bucket lists four classes")
	}
}

// The policies of config/iam, as they stand, are for the simulator's own account and
// region, and a wrong one is refused with its flag, file and element.
func TestSimTakesThePoliciesOfThisRepository(t *testing.T) {
	policies, err := filepath.Glob(filepath.Join("..", "..", "config", "iam", "*.json"))
	if err != nil || len(policies) == 0 {
		t.Fatal(policies, err)
	}
	for _, policy := range policies {
		startSim(t, "--iam-policy", policy)
	}
	wrong := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(wrong, []byte(`{"Statement": {"Effect": "Allow", "Action": "RegisterTargets", "Resource": "*"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		wrong:        `: iamPolicy: Statement.Action: "RegisterTargets": want SERVICE:NAME, such as`,
		"nowhere.js": "no such file",
	} {
		command := simCommand()
		command.SetArgs([]string{"--listen", "127.0.0.1:0", "--iam-policy", file})
		command.SilenceErrors, command.SilenceUsage = true, true
		if err := command.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "--iam-policy "+file) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
}
