package realnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/kube"
)

// debianPackages are what a node consists of besides the kubelet. What they depend
// on is on every Debian.
func debianPackages() []string {
	return []string{"containerd", "runc", "containernetworking-plugins"}
}

// packages returns the folder in which Debian's packages are unpacked, after
// downloading them when the cache has none of this release. Nothing is installed
// on the machine, and neither its package lists nor its packages are touched.
func packages(ctx context.Context, progress io.Writer) (string, error) {
	cache, err := kube.CacheDir()
	if err != nil {
		return "", err
	}
	release, err := release(ctx)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "packages-"+release)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := kube.Lock(ctx, filepath.Join(cache, "packages.lock"))
	if err != nil {
		return "", fmt.Errorf("wait for another download: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fmt.Fprintln(progress, "downloading", strings.Join(debianPackages(), ", "))
	unfinished, err := os.MkdirTemp(cache, "packages-unfinished-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(unfinished)
	if err := download(ctx, unfinished); err != nil {
		return "", err
	}
	if err := unpack(ctx, unfinished, filepath.Join(unfinished, "root")); err != nil {
		return "", err
	}
	return dir, os.Rename(filepath.Join(unfinished, "root"), dir)
}

// release names what is installed here: packages of another release might not run.
func release(ctx context.Context) (string, error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	var name []string
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "ID" || key == "VERSION_ID" {
			name = append(name, strings.Trim(value, `"`))
		}
	}
	architecture, err := exec.CommandContext(ctx, "dpkg", "--print-architecture").Output()
	if err != nil {
		return "", fmt.Errorf("dpkg: %w", err)
	}
	return strings.Join(append(name, strings.TrimSpace(string(architecture))), "-"), nil
}

// download puts the packages into a folder, with the machine's package lists or,
// if these know no such packages, with lists fetched for the occasion. apt checks
// signatures as ever.
func download(ctx context.Context, dir string) error {
	first := apt(ctx, dir, append([]string{"download"}, debianPackages()...)...)
	if first == nil {
		return nil
	}
	lists := filepath.Join(dir, "lists")
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		return err
	}
	own := []string{"-o", "Dir::State::lists=" + lists, "-o", "Dir::Cache=" + dir}
	if err := apt(ctx, dir, append(own, "update")...); err != nil {
		return errors.Join(first, err)
	}
	return apt(ctx, dir, append(append(own, "download"), debianPackages()...)...)
}

func apt(ctx context.Context, dir string, args ...string) error {
	// Its other user need not be able to reach the folder.
	c := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-o", "APT::Sandbox::User=root"}, args...)...)
	c.Dir = dir
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return nil
}

func unpack(ctx context.Context, dir, root string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if output, err := exec.CommandContext(ctx, "dpkg-deb", "-x", file, root).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(file), err, output)
		}
	}
	return nil
}
