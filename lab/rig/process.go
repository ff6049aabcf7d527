package rig

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/child"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/cluster"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
)

// Process is a running tgc.
type Process struct {
	command *exec.Cmd
	ended   chan struct{}

	// Webhook is the URL of the pods' webhook; empty if it serves none.
	Webhook string
	// Desk is where pods ask that leave, as host:port.
	Desk string

	metrics, health string // URLs; empty if it serves none

	mu    sync.Mutex
	lines []string
	told  *sync.Cond
}

// ProcessOptions say how tgc is run.
type ProcessOptions struct {
	// Args follow the subcommand.
	Args []string
	// Env is put over the rig's: the simulator's endpoint, credentials and a
	// region. An entry NAME= with nothing behind it removes NAME.
	Env []string
	// Config is the access to Kubernetes; nil for an administrator's.
	Config *rest.Config
	// Webhook makes the controller serve its webhook.
	Webhook bool
	// Desk is where the controller answers pods that leave, such as that of one that
	// was stopped; empty for an address of its own.
	Desk string
	// Log also receives the log, as it is written. May be nil.
	Log io.Writer
	// Clock is the wall clock of the process; nil for the machine's.
	Clock *Clock
}

// Controller starts `tgc controller` with its endpoints on an address of its own,
// and returns once it serves them. Whether it has the Lease is another matter.
func (r *Rig) Controller(ctx context.Context, options ProcessOptions) (*Process, error) {
	address := r.nextAddress()
	metrics, health := address+":8080", address+":8081"
	desk := cmp.Or(options.Desk, address+":8082")
	args := append([]string{
		"controller", "--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + health,
		"--drain-bind-address=" + desk, "--drain-endpoint=" + desk,
	}, options.Args...)
	if options.Webhook {
		args = append(args, "--webhook-bind-address="+address+":9443", "--webhook-host="+address)
	}
	p, err := r.Run(ctx, args, options)
	if err != nil {
		return nil, err
	}
	if options.Webhook {
		p.Webhook = "https://" + address + ":9443/pods"
	}
	p.Desk = desk
	p.metrics, p.health = "http://"+metrics, "http://"+health
	if err := p.awaitHealth(ctx); err != nil {
		p.Kill()
		return nil, fmt.Errorf("tgc did not come up: %w\n%s", err, p.Log())
	}
	return p, nil
}

// NextDesk is an address for ProcessOptions.Desk that no other process has.
func (r *Rig) NextDesk() string { return r.nextAddress() + ":8082" }

// nextAddress is an address that pods reach and no other process uses. On loopback it
// is above those of the lab's pods, and made of our own process id: a free port of
// 127.0.0.1 could be taken before tgc listens on it.
func (r *Rig) nextAddress() string {
	pid, n := os.Getpid(), r.started.Add(1)
	if r.Real != nil {
		return realnode.Program(uint16(n)).String()
	}
	return fmt.Sprintf("127.%d.%d.%d", 100+pid>>8%100, pid%256, n%254+1)
}

func (p *Process) awaitHealth(ctx context.Context) error {
	const pause = 20 * time.Millisecond
	for {
		err := p.Healthy(ctx, "/healthz")
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-p.ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return err
		}
	}
}

// Run starts tgc with any arguments.
func (r *Rig) Run(ctx context.Context, args []string, options ProcessOptions) (*Process, error) {
	config := options.Config
	if config == nil {
		config = r.World.Config()
	}
	file, err := os.CreateTemp(r.dir, "kubeconfig-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(file.Close(), cluster.WriteKubeconfig(file.Name(), config, "default")); err != nil {
		return nil, err
	}
	executable, env := r.executable, append(
		[]string{"KUBECONFIG=" + file.Name(), "HOME=" + r.dir, "PATH=" + os.Getenv("PATH")}, AWSEnv(r.Endpoint)...)
	if options.Clock != nil {
		executable, env = options.Clock.executable, append(env, options.Clock.Env)
	}
	command := exec.Command(executable, args...)
	command.Env = environment(append(env, options.Env...))
	return startProcess(ctx, command, options.Log)
}

// AWSEnv is the environment in which tgc finds AWS at an endpoint, as NAME=value.
func AWSEnv(endpoint string) []string {
	return []string{
		"AWS_ENDPOINT_URL=" + endpoint, "AWS_REGION=eu-central-1", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID=lab", "AWS_SECRET_ACCESS_KEY=lab",
	}
}

// environment keeps the last value of each variable, and none that ends up empty.
func environment(entries []string) []string {
	values := map[string]string{}
	for _, entry := range entries {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	var kept []string
	for name, value := range values {
		if value != "" {
			kept = append(kept, name+"="+value)
		}
	}
	return kept
}

func startProcess(ctx context.Context, command *exec.Cmd, log io.Writer) (*Process, error) {
	p := &Process{command: command, ended: make(chan struct{})}
	p.told = sync.NewCond(&p.mu)
	output, input := io.Pipe()
	command.Stdout, command.Stderr = input, input
	ended, err := child.Start(command)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(command.Path), err)
	}
	go p.read(output, log)
	go func() { input.CloseWithError(<-ended) }()
	context.AfterFunc(ctx, p.Kill)
	return p, nil
}

// read takes in what the process prints, until it ends.
func (p *Process) read(output io.Reader, log io.Writer) {
	scanner := bufio.NewScanner(output)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if log != nil {
			fmt.Fprintln(log, scanner.Text())
		}
		p.mu.Lock()
		p.lines = append(p.lines, scanner.Text())
		p.told.Broadcast()
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, output) // after a line that is too long
	close(p.ended)
	p.mu.Lock()
	p.told.Broadcast()
	p.mu.Unlock()
}

// await waits until a condition on what the log told holds; false if the process
// or ctx ends before.
func (p *Process) await(ctx context.Context, holds func() bool) bool {
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.told.Broadcast()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !holds() {
		if ctx.Err() != nil || p.hasEnded() {
			return false
		}
		p.told.Wait()
	}
	return true
}

func (p *Process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Log is everything the process has printed.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// AwaitLog waits until a line contains the words; false if the process or ctx
// ends before.
func (p *Process) AwaitLog(ctx context.Context, words string) bool {
	seen := 0
	return p.await(ctx, func() bool {
		for ; seen < len(p.lines); seen++ {
			if strings.Contains(p.lines[seen], words) {
				return true
			}
		}
		return false
	})
}

// Signal sends a signal and returns at once.
func (p *Process) Signal(signal os.Signal) error { return p.command.Process.Signal(signal) }

// Stop asks the process to end and gives its exit code.
func (p *Process) Stop() int {
	_ = p.Signal(syscall.SIGTERM) // it may have ended
	return p.Wait()
}

// Kill ends the process at once, as a crash would.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // it may have ended
	<-p.ended
}

// Wait waits for the process to end and gives its exit code; -1 if a signal ended it.
func (p *Process) Wait() int {
	<-p.ended
	return p.command.ProcessState.ExitCode()
}

// Metrics reads the process's metrics page.
func (p *Process) Metrics(ctx context.Context) (string, error) {
	return Get(ctx, p.metrics+"/metrics")
}

// Healthy asks one of the health endpoints, such as /readyz.
func (p *Process) Healthy(ctx context.Context, path string) error {
	_, err := Get(ctx, p.health+path)
	return err
}

// Get gives the page at a URL. Any other status than 200 is an error.
func Get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return string(body), err
}
