package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// runHook runs a lifecycle hook to its end, or to that of the context or the
// process.
func (c *container) runHook(ctx context.Context, p *process, hook *corev1.LifecycleHandler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	switch {
	case hook.Sleep != nil:
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(hook.Sleep.Seconds) * time.Second):
			return nil
		}
	case hook.Exec != nil:
		return c.exec(ctx, hook.Exec.Command)
	case hook.HTTPGet != nil:
		return c.httpGet(ctx, hook.HTTPGet)
	case hook.TCPSocket != nil:
		return c.tcpSocket(ctx, hook.TCPSocket)
	}
	return nil
}

// runProbe makes one attempt.
func (c *container) runProbe(ctx context.Context, probe *corev1.Probe) error {
	limit := time.Duration(max(1, probe.TimeoutSeconds)) * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	switch {
	case probe.Exec != nil:
		return c.exec(ctx, probe.Exec.Command)
	case probe.HTTPGet != nil:
		return c.httpGet(ctx, probe.HTTPGet)
	case probe.TCPSocket != nil:
		return c.tcpSocket(ctx, probe.TCPSocket)
	}
	return nil
}

// exec runs a command as a process of this machine. Beyond the container's
// environment, of which LAB_BIND is the address on this machine that stands for POD_IP,
// it sees POD_NAME, POD_NAMESPACE, POD_IP and NODE_NAME. Paths in its volumes are found
// where these are on this machine.
func (c *container) exec(ctx context.Context, command []string) error {
	env, err := c.env()
	if err != nil {
		return err
	}
	object := c.pod.current()
	env.set("POD_NAME", object.Name)
	env.set("POD_NAMESPACE", object.Namespace)
	env.set("POD_IP", c.pod.address.String())
	env.set("NODE_NAME", c.pod.node.spec.Name)
	command = c.localize(command)
	run := exec.CommandContext(ctx, command[0], command[1:]...)
	for name, value := range env.all() {
		run.Env = append(run.Env, name+"="+value)
	}
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run.Cancel = func() error { return syscall.Kill(-run.Process.Pid, syscall.SIGKILL) }
	run.WaitDelay = time.Second
	var output bytes.Buffer
	run.Stdout, run.Stderr = &output, &output
	if err := run.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", command[0], errors.Join(err, ctx.Err()), bytes.TrimSpace(output.Bytes()))
	}
	return nil
}

func (c *container) httpGet(ctx context.Context, get *corev1.HTTPGetAction) error {
	address, err := c.hostPort(get.Host, get.Port)
	if err != nil {
		return err
	}
	scheme := strings.ToLower(string(get.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	path := get.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-probe/lab")
	for _, h := range get.HTTPHeaders {
		request.Header.Add(h.Name, h.Value)
		if strings.EqualFold(h.Name, "Host") {
			request.Host = h.Value
		}
	}
	response, err := c.pod.node.fleet.prober().RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d: %s", response.StatusCode, bytes.TrimSpace(body))
	}
	return nil
}

// prober makes a new connection for each request, as a kubelet does, and trusts
// any certificate.
func (f *Fleet) prober() *http.Transport {
	return &http.Transport{
		DialContext:       f.options.Dial,
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}
}

func (c *container) tcpSocket(ctx context.Context, socket *corev1.TCPSocketAction) error {
	address, err := c.hostPort(socket.Host, socket.Port)
	if err != nil {
		return err
	}
	conn, err := c.pod.node.fleet.options.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// hostPort is where a handler connects to: the pod, unless it says otherwise.
func (c *container) hostPort(host string, port intstr.IntOrString) (string, error) {
	if host == "" {
		host = c.pod.address.String()
	}
	if port.Type == intstr.Int {
		return net.JoinHostPort(host, strconv.Itoa(port.IntValue())), nil
	}
	for _, p := range c.spec.Ports {
		if p.Name == port.StrVal {
			return net.JoinHostPort(host, strconv.Itoa(int(p.ContainerPort))), nil
		}
	}
	return "", fmt.Errorf("the container has no port named %q", port.StrVal)
}
