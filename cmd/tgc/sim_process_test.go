package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asProgram makes this test binary behave as tgc.
const asProgram = "BE_TGC"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// program is this test binary, which behaves as tgc where asProgram is set.
func program(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shell is somebody at a terminal who has tgc in the search path.
func shell(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(program(t), filepath.Join(dir, "tgc")); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	command.Dir = dir
	command.Env = []string{asProgram + "=1", "PATH=" + dir + ":/usr/bin:/bin", "HOME=" + dir}
	return command
}

// outcome runs a command and gives what it wrote and its exit code.
func outcome(t *testing.T, command *exec.Cmd) (out, problem string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), command.ProcessState.ExitCode()
}

// A command gets an environment, standard output of its own, and its exit code out.
func TestSimRunsACommand(t *testing.T) {
	t.Parallel()
	script := `AWS_REGION=eu-west-1 tgc sim --listen 127.0.0.1:0 --group name=web -- sh -c '
		curl -sf "$TGC_SIM_ADMIN/groups" | grep -c :targetgroup/web/
		echo $AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2/_sim | sed "s|$TGC_SIM_ADMIN|same|"
		echo $AWS_DEFAULT_REGION $AWS_ACCESS_KEY_ID; cat; exit 7'`
	command := shell(t, script)
	command.Stdin = strings.NewReader("from standard input\n")
	out, problem, code := outcome(t, command)
	if want := "1\nsame\neu-west-1 simulated\nfrom standard input\n"; out != want || code != 7 {
		t.Errorf("got %q, exit code %d, want %q, 7", out, code, want)
	}
	if !strings.HasPrefix(problem, "group name=web") || strings.Contains(problem, "Error") {
		t.Errorf("standard error: %q", problem)
	}
}

func TestSimExitCodes(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	for _, c := range []struct {
		script, says string
		code         int
	}{
		{"tgc sim --listen 127.0.0.1:0 -- true", "ready ", 0},
		{"tgc sim --listen 127.0.0.1:0 -- sh -c 'kill -9 $$'", "ready ", 128 + 9},
		{"tgc sim --listen 127.0.0.1:0 -- no-such-command", "no-such-command", 1},
		{"tgc sim --listen " + address, "--listen", 1},
		{"tgc sim --listen 127.0.0.1:0 --admin-listen " + address, "the admin API cannot be served", 1},
		{"tgc sim surplus", `"surplus" is no flag`, 2},
		{"tgc sim surplus -- true", `"surplus" is no flag`, 2},
		{"tgc sim --group name=-", `"-"`, 2},
		{"tgc sim --speed 0", "--speed 0: want more than 0", 2},
		{"tgc sim --latency soon", `--latency "soon": want a duration`, 2},
		{"TGC_REREGISTER=maybe tgc sim", "set by the environment variable TGC_REREGISTER", 2},
		{"TGC_NO_THROTTLING=maybe tgc sim", "TGC_NO_THROTTLING", 2},
		{"tgc sim --help | grep -c 'tgc sim --'", "", 0},
	} {
		if _, problem, code := outcome(t, shell(t, c.script)); code != c.code || !strings.Contains(problem, c.says) {
			t.Errorf("%s: exit code %d, want %d with %s in %s", c.script, code, c.code, c.says, problem)
		}
	}
}

// Both signals end the simulator well, and a command with it.
func TestSimIsInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		command := shell(t, "exec tgc sim --listen 127.0.0.1:0 -- sh -c 'trap \"echo told to end; exit 0\" TERM; echo up; sleep 600 & wait'")
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, len("up\n"))
		if _, err := out.Read(line); err != nil {
			t.Fatal(err)
		}
		if err := command.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		rest := make([]byte, 64)
		n, _ := out.Read(rest)
		if err := command.Wait(); err != nil || string(rest[:n]) != "told to end\n" {
			t.Errorf("%v: got %q, %v", signal, rest[:n], err)
		}
	}
}

// What docs/simulator.md tells people to paste into their CI works.
func TestSimRecipes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- run by a test -->\n```sh\n"
	recipes := strings.Split(string(page), mark)[1:]
	if len(recipes) != 2 {
		t.Fatalf("there are %d recipes in the page", len(recipes))
	}
	for _, recipe := range recipes {
		recipe, _, _ = strings.Cut(recipe, "```")
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		free.Close()
		// The page has the default port, which may be taken here, and stands in the
		// place of the tests of its reader.
		recipe = strings.NewReplacer("127.0.0.1:8480", free.Addr().String(), "tgc sim", "tgc sim --listen "+free.Addr().String(),
			"./run-tests", `curl -sf -o world.json "http://`+free.Addr().String()+`/_sim/groups"`).Replace(recipe)
		command := shell(t, recipe+"\ngrep -c :targetgroup/web/ world.json")
		if out, problem, code := outcome(t, command); code != 0 || !strings.HasSuffix(out, "1\n") {
			t.Errorf("%s\nended with %d: %s%s", recipe, code, out, problem)
		}
	}
}
