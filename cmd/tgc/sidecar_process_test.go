package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// simulated is a simulator that processes find by their environment.
type simulated struct {
	*elbsim.Running
	t *testing.T
}

func simulate(t *testing.T, change ...func(*elbsim.Settings)) simulated {
	t.Helper()
	settings := elbsim.DefaultSettings()
	settings.ALBRegistration = 0
	for _, c := range change {
		c(&settings)
	}
	sim, err := elbsim.Start(elbsim.Options{
		Settings: &settings, Check: elbsim.AlwaysPass,
		Seed: elbsim.Seed{Groups: []elbsim.SeedGroup{{
			Name: "web", LoadBalancer: "front", Port: 8080, Targets: []string{"10.9.9.9:8080"},
			HealthCheck: elbsim.SeedCheck{Interval: elbsim.Duration(5 * time.Second)},
			Attributes:  map[string]string{target.DelayAttribute: "0"},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Stop(); err != nil {
			t.Error(err)
		}
	})
	return simulated{sim, t}
}

// process is a sidecar that runs.
type process struct {
	t       *testing.T
	command *exec.Cmd
	ended   chan error

	mu  sync.Mutex
	log bytes.Buffer
	// told is closed at the next line of the log.
	told chan struct{}
}

// sidecarOf starts a sidecar of the pod 10.1.1.1 in the group web, with a short hold. It
// takes seconds to come into service, in which the tests that call Parallel after this
// start theirs.
func (s simulated) sidecarOf(program string, args ...string) *process {
	s.t.Helper()
	return s.sidecar(program, slices.Concat([]string{"-target-group-name=web", "--hold", "500ms"}, args)...)
}

// sidecar starts a sidecar of the pod 10.1.1.1.
func (s simulated) sidecar(program string, args ...string) *process {
	s.t.Helper()
	args = slices.Concat([]string{
		"sidecar", "-target-id", "10.1.1.1", "--region", elbsim.DefaultRegion,
		"--bind-address", "127.0.0.1:0", "--log-format", "text",
	}, args)
	p := &process{t: s.t, command: exec.Command(program, args...), ended: make(chan error, 1), told: make(chan struct{})} //nolint:noctx // because tests end it by signals
	p.command.Env = slices.Concat(os.Environ(), s.Environ(os.Getenv), []string{asProgram + "=1"})
	output, err := p.command.StderrPipe()
	if err == nil {
		err = p.command.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	go p.read(output)
	s.t.Cleanup(func() { _ = p.command.Process.Kill() })
	return p
}

// read keeps the log, and learns of the end.
func (p *process) read(output io.Reader) {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		p.mu.Lock()
		fmt.Fprintln(&p.log, lines.Text())
		close(p.told)
		p.told = make(chan struct{})
		p.mu.Unlock()
	}
	p.ended <- p.command.Wait()
}

// says waits until the log says something.
func (p *process) says(text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	for {
		p.mu.Lock()
		log, told := p.log.String(), p.told
		p.mu.Unlock()
		if strings.Contains(log, text) {
			return
		}
		select {
		case <-told:
		case <-ctx.Done():
			p.t.Fatalf("it never said %q:\n%s", text, log)
		}
	}
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// url is where the endpoints are.
func (p *process) url(path string) string {
	p.t.Helper()
	p.says("address=")
	_, rest, _ := strings.Cut(p.text(), "address=")
	address, _, _ := strings.Cut(rest, "\n")
	return "http://" + address + path
}

// get asks an endpoint.
func (p *process) get(path, token string) (int, string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.url(path), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.text())
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// answers waits until an endpoint says something.
func (p *process) answers(path, text string) {
	p.t.Helper()
	_, body := p.get(path, "")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(body, text); _, body = p.get(path, "") {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s never said %q but %q", path, text, body)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exits waits for the end, and compares the exit code.
func (p *process) exits(want int) {
	p.t.Helper()
	err := <-p.ended
	code := 0
	if exit, is := errors.AsType[*exec.ExitError](err); is {
		code = exit.ExitCode()
	} else if err != nil {
		p.t.Fatal(err)
	}
	if code != want {
		p.t.Errorf("exit code %d, want %d:\n%s", code, want, p.text())
	}
}

// registered are the targets in the group.
func (s simulated) registered() (targets []string) {
	for _, t := range s.Groups()[0].Targets {
		if t.State != target.Draining {
			targets = append(targets, t.Target)
		}
	}
	return targets
}

func (s simulated) expect(targets ...string) {
	s.t.Helper()
	if got := s.registered(); !slices.Equal(got, targets) {
		s.t.Errorf("registered are %v, want %v", got, targets)
	}
}

const other, own = "10.9.9.9:8080", "10.1.1.1:8080"

func TestSidecarProcess(t *testing.T) {
	t.Parallel()
	program := program(t)

	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run("signal "+signal.String(), func(t *testing.T) {
			sim := simulate(t)
			p := sim.sidecarOf(program)
			t.Parallel()
			p.says("In service")
			sim.expect(own, other)
			p.signal(signal)
			p.exits(0)
			sim.expect(other)
		})
	}

	t.Run("drain", func(t *testing.T) {
		sim := simulate(t)
		p := sim.sidecarOf(program, "--drain-token", "secret")
		t.Parallel()
		p.says("In service")
		if code, body := p.get("/healthz", ""); code != http.StatusOK || body != "ok\n" {
			t.Errorf("/healthz: %d %q", code, body)
		}
		for _, token := range []string{"", "wrong"} {
			if code, _ := p.get("/drain", token); code != http.StatusUnauthorized {
				t.Errorf("/drain with the token %q: %d", token, code)
			}
		}
		sim.expect(own, other)
		if code, body := p.get("/metrics", ""); code != http.StatusOK || !strings.Contains(body, `tgc_sidecar_in_service{target_group="web"} 1`) {
			t.Errorf("/metrics: %d %q", code, body)
		}
		if code, body := p.get("/drain", "secret"); code != http.StatusOK || !strings.Contains(body, "the pod may stop") {
			t.Errorf("/drain: %d %q", code, body)
		}
		sim.expect(other)
		if code, body := p.get("/in-service", ""); code != http.StatusServiceUnavailable {
			t.Errorf("/in-service: %d %q", code, body)
		}
		p.signal(syscall.SIGTERM)
		p.exits(0)
	})

	t.Run("callers have their answer before the end", func(t *testing.T) {
		sim := simulate(t)
		p := sim.sidecarOf(program)
		t.Parallel()
		p.says("In service")
		answered := make(chan string, 1)
		go func() { _, body := p.get("/drain", ""); answered <- body }()
		p.says("Leaving")
		p.signal(syscall.SIGTERM)
		if body := <-answered; !strings.Contains(body, "may stop") {
			t.Errorf("/drain answered %q", body)
		}
		p.exits(0)
	})

	t.Run("grace too short", func(t *testing.T) {
		p := simulate(t).sidecarOf(program, "--hold", "30s", "--grace-period", "4s", "--shutdown-period", "1s")
		t.Parallel()
		p.says("In service")
		p.signal(syscall.SIGTERM)
		p.exits(exitForced)
	})

	t.Run("killed and started again", func(t *testing.T) {
		sim, dir := simulate(t), t.TempDir()
		p := sim.sidecarOf(program, "--state-dir", dir)
		t.Parallel()
		p.says("In service")
		p.signal(syscall.SIGKILL)
		if <-p.ended == nil {
			t.Error("a killed process ended in order")
		}
		sim.expect(own, other)
		sim.ClearCalls()
		again := sim.sidecarOf(program, "--state-dir", dir)
		again.says("In service")
		for _, call := range sim.Calls() {
			if call.Action == "RegisterTargets" {
				t.Error("it was registered again")
			}
		}
		again.signal(syscall.SIGTERM)
		again.exits(0)
		sim.expect(other)
	})
}

func TestSidecarCommands(t *testing.T) {
	t.Parallel()
	program := program(t)
	t.Run("order", func(t *testing.T) {
		sim, file := simulate(t), filepath.Join(t.TempDir(), "said")
		say := func(word string) string { return fmt.Sprintf("echo %s >> %s", word, file) }
		p := sim.sidecarOf(program, "-shell", "-pre-register-command", say("before"), "-post-register-command", say("up"),
			"-post-deregister-command", say("gone"))
		t.Parallel()
		p.says("command=post-register")
		p.signal(syscall.SIGTERM)
		p.exits(0)
		if said, err := os.ReadFile(file); err != nil || string(said) != "before\nup\ngone\n" {
			t.Errorf("said %q, %v", said, err)
		}
	})
	t.Run("failures are reported", func(t *testing.T) {
		sim := simulate(t)
		p := sim.sidecarOf(program, "-shell", "-pre-register-command", "echo oh; exit 3", "-post-register-command", "sleep 1000",
			"-post-register-timeout=300ms", "-post-deregister-command", "/no/such/program")
		t.Parallel()
		p.says("exit status 3; it said")
		p.says("it took longer than 300ms and was killed")
		p.signal(syscall.SIGTERM)
		p.exits(0)
		if !strings.Contains(p.text(), "/no/such/program") {
			t.Errorf("the last failure is not reported:\n%s", p.text())
		}
	})
	for name, test := range map[string]struct{ args, says string }{
		"pre-register":    {"--pre-register-command false", "pre-register command"},
		"post-register":   {"--post-register-command false", "post-register command"},
		"post-deregister": {"--post-deregister-command false", "post-deregister command"},
	} {
		t.Run("fatal "+name, func(t *testing.T) {
			sim := simulate(t)
			p := sim.sidecarOf(program, append(strings.Fields(test.args), "--fail-on", name)...)
			t.Parallel()
			if name == "post-deregister" {
				p.says("In service")
				p.signal(syscall.SIGTERM)
			}
			p.exits(exitFailure)
			if !strings.Contains(p.text(), test.says) {
				t.Errorf("it does not say what failed:\n%s", p.text())
			}
			sim.expect(other)
		})
	}
	t.Run("told to end during a command", func(t *testing.T) {
		p := simulate(t).sidecarOf(program, "--pre-register-command", "sleep 1000", "--pre-register-timeout", "1000s", "--state-dir", t.TempDir())
		t.Parallel()
		p.says("Serving")
		p.signal(syscall.SIGTERM)
		p.exits(0)
	})
}

// The application decides when the pod is registered.
func TestSidecarWaitsForTheApplication(t *testing.T) {
	t.Parallel()
	sim, program := simulate(t), program(t)
	ready := make(chan struct{})
	application := serveOn(t, func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-ready:
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	p := sim.sidecarOf(program, "--wait-for", application)
	p.answers("/in-service", "waiting for the application")
	sim.expect(other)
	close(ready)
	p.says("In service")
	sim.expect(own, other)
	p.signal(syscall.SIGTERM)
	p.exits(0)
}

func TestSidecarUsage(t *testing.T) {
	t.Parallel()
	sim, program := simulate(t), program(t)
	for args, want := range map[string]string{
		"-target-id=nonsense":             `--target-id "nonsense"`,
		"-wait-in-service-timeout=0s":     "--wait-in-service-timeout 0s",
		"-pre-register-timeout=soon":      `--pre-register-timeout "soon": want a duration`,
		"--nonsense":                      "unknown flag: --nonsense",
		"-pre-register-command=echo|more": "--shell",
		"extra":                           "unknown command",
	} {
		p := sim.sidecarOf(program, args)
		p.exits(exitUsage)
		if !strings.Contains(p.text(), want) {
			t.Errorf("%s: it does not say %q:\n%s", args, want, p.text())
		}
	}
	p := sim.sidecarOf(program, "--bind-address", strings.TrimPrefix(serveOn(t, http.NotFound), "http://"))
	p.exits(exitFailure)
	if !strings.Contains(p.text(), "choose a port that no other container") {
		t.Errorf("of a port that is taken it says:\n%s", p.text())
	}
}

// serveOn serves on a free port of loopback, and gives the URL.
func serveOn(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func TestDoubleDashes(t *testing.T) {
	for args, want := range map[string]string{
		"sidecar -target-group-name web -wait-in-service=false":             "sidecar --target-group-name web --wait-in-service=false",
		"sidecar --target-id 10.1.1.1 -pre-register-command-timeout 1s":     "sidecar --target-id 10.1.1.1 --pre-register-command-timeout 1s",
		"controller -region r -targetgrouparn a -service s -port 1 -http x": "controller --region r --targetgrouparn a --service s --port 1 --http x",
		"controller -n shop":              "controller -n shop",
		"sim -listen x -- prog -listen y": "sim --listen x -- prog -listen y",
		"sidecar -nonsense":               "sidecar -nonsense",
		"":                                "",
	} {
		if got := strings.Join(doubleDashes(rootCommand(new(bool)), strings.Fields(args)), " "); got != want {
			t.Errorf("%q: got %q, want %q", args, got, want)
		}
	}
}
