// Package kube builds the lab's executables of Kubernetes (cmd/kube, cmd/kubelet)
// from Go modules and keeps them in a cache, so that only the first start on a
// machine pays for compiling Kubernetes.
package kube

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/child"
)

const (
	// CacheEnv names the environment variable that moves the cache.
	CacheEnv = "TGC_LAB_CACHE"
	// SourceEnv names the environment variable that says where the source of
	// the lab module is, for programs that run outside of the repository.
	SourceEnv = "TGC_LAB_SOURCE"

	module     = "github.com/targetgroupcontroller/targetgroupcontroller/lab"
	patience   = 2 * time.Second
	unusedLife = 14 * 24 * time.Hour
)

// program is an executable that is made of Kubernetes.
type program struct {
	// name is that of its folder in cmd, and its own.
	name string
	// what it is, for people who wait for it.
	what string
}

// Executable returns the path of the control plane executable, building it
// when the cache has none for this source and this Go toolchain.
//
// The key of the cache is a hash over go.mod, go.sum, the sources of cmd/kube
// and the version of Go. Several processes may call it at once: one builds, the
// others wait. When it takes more than two seconds, progress says so, with the
// time that has passed. Executables that nobody asked for in two weeks are
// removed.
func Executable(ctx context.Context, progress io.Writer) (string, error) {
	return program{name: "kube", what: "the control plane"}.executable(ctx, progress)
}

// Kubelet is [Executable] for the kubelet of real nodes. Whoever has no real
// nodes never builds it.
func Kubelet(ctx context.Context, progress io.Writer) (string, error) {
	return program{name: "kubelet", what: "the kubelet"}.executable(ctx, progress)
}

func (p program) executable(ctx context.Context, progress io.Writer) (string, error) {
	source, err := SourceDir()
	if err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	key, err := p.cacheKey(ctx, source)
	if err != nil {
		return "", fmt.Errorf("kube: hash the source: %w", err)
	}
	path := filepath.Join(cache, key, p.name)
	if used(path) {
		return path, nil
	}
	tell := startTelling(progress, "building "+p.what+" (the first time takes minutes)")
	defer tell.stop()
	unlock, err := Lock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return "", fmt.Errorf("kube: wait for another build: %w", err)
	}
	defer unlock()
	if used(path) {
		return path, nil
	}
	prune(cache)
	return path, p.build(ctx, source, path)
}

// used says whether the executable exists, and marks it as used now; in the
// cache of another user it stays unmarked.
func used(path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	now := time.Now()
	os.Chtimes(path, now, now)
	return true
}

func (p program) build(ctx context.Context, source, path string) error {
	version, err := kubernetesVersion(ctx, source)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("kube: make the cache: %w", err)
	}
	unfinished := path + ".unfinished"
	defer os.Remove(unfinished)
	_, err = GoTool(ctx, source, "build", "-tags", "lab_kube", "-o", unfinished, "-ldflags", ldflags(version), "./cmd/"+p.name)
	if err != nil {
		return fmt.Errorf("kube: build: %w", err)
	}
	if err := os.Rename(unfinished, path); err != nil {
		return fmt.Errorf("kube: keep the executable: %w", err)
	}
	return nil
}

// ldflags stamps the Kubernetes version into the executable: without it the API
// server calls itself v0.0.0-master, and clients that look at the version fail.
func ldflags(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	return strings.Join([]string{
		"-s", "-w",
		"-X k8s.io/component-base/version.gitVersion=" + version,
		"-X k8s.io/component-base/version.gitMajor=" + parts[0],
		"-X k8s.io/component-base/version.gitMinor=" + parts[1],
		"-X k8s.io/client-go/pkg/version.gitVersion=" + version,
	}, " ")
}

func kubernetesVersion(ctx context.Context, source string) (string, error) {
	version, err := GoTool(ctx, source, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	if err != nil {
		return "", fmt.Errorf("kube: read the Kubernetes version: %w", err)
	}
	if strings.Count(version, ".") < 2 {
		return "", fmt.Errorf("kube: Kubernetes version %q is not of the form v1.2.3", version)
	}
	return version, nil
}

// GoTool runs the go command in a folder, for executables without C, and returns
// what it printed. A cancelled context kills it with its compilers; its temporary
// files are removed in any case.
func GoTool(ctx context.Context, dir string, args ...string) (string, error) {
	temp, err := os.MkdirTemp("", "tgc-lab-build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false", "GOTMPDIR="+temp)
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	// Who is killed leaves no go command that would go on writing.
	ended, err := child.Start(c)
	if err == nil {
		err = <-ended
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("go %s: %w", args[0], err), ctx.Err(), errors.New(strings.TrimSpace(stderr.String())))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// SourceDir finds the lab module: named by the environment, or the working
// directory, one of its parents, or a folder lab in one of those.
func SourceDir() (string, error) {
	if dir := os.Getenv(SourceEnv); dir != "" {
		return dir, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("kube: find the source: %w", err)
	}
	for {
		for _, candidate := range []string{dir, filepath.Join(dir, "lab")} {
			if isLab(candidate) {
				return candidate, nil
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("kube: the source of %s is in none of the working directory's parents; set %s", module, SourceEnv)
		}
		dir = parent
	}
}

func isLab(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	first, _, _ := strings.Cut(string(text), "\n")
	return err == nil && strings.TrimSpace(first) == "module "+module
}

// CacheDir is where the lab keeps what takes long to make, see [CacheEnv]. It exists.
func CacheDir() (string, error) {
	dir := os.Getenv(CacheEnv)
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("kube: find the cache: %w", err)
		}
		dir = filepath.Join(user, "targetgroupcontroller", "lab")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("kube: make the cache: %w", err)
	}
	return dir, nil
}

func (p program) cacheKey(ctx context.Context, source string) (string, error) {
	sum := sha256.New()
	toolchain, err := GoTool(ctx, source, "env", "GOVERSION", "GOOS", "GOARCH")
	if err != nil {
		return "", err
	}
	fmt.Fprintln(sum, toolchain)
	files, err := filepath.Glob(filepath.Join(source, "cmd", p.name, "*.go"))
	if err != nil {
		return "", err
	}
	for _, file := range append(files, filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum")) {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", filepath.Base(file), len(text), text)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// prune removes executables that no lab has used for long. What cannot be
// removed stays: a cache that is too large is no reason not to start.
func prune(cache string) {
	paths, _ := filepath.Glob(filepath.Join(cache, "*", "kube*"))
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > unusedLife {
			os.RemoveAll(filepath.Dir(path))
		}
	}
}

// Lock waits for an exclusive lock on a file, which is made. The kernel releases
// it when the process ends in whatever way.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
