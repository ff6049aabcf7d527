package realnode

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cgroupMount = "/sys/fs/cgroup"
	// cgroupPrefix begins the name of each lab's group.
	cgroupPrefix = "tgc-lab-"
)

// hierarchies lists where there may be control groups: one folder with version 2,
// and one for each controller with version 1. Beside those there may be one of
// version 2 without controllers, in which runc makes groups too.
func hierarchies() ([]string, error) {
	if isVersion2(cgroupMount) {
		return []string{cgroupMount}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, entry := range entries {
		if entry.IsDir() { // links are second names
			all = append(all, filepath.Join(cgroupMount, entry.Name()))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no hierarchies", cgroupMount)
	}
	return all, nil
}

func isVersion2(hierarchy string) bool {
	_, err := os.Stat(filepath.Join(hierarchy, "cgroup.controllers"))
	return err == nil
}

// cgroupsAllowed tries whether groups can be made.
func cgroupsAllowed() error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	name := newGroup()
	for _, hierarchy := range all {
		try := filepath.Join(hierarchy, name)
		if err := errors.Join(os.Mkdir(try, 0o755), os.Remove(try)); err != nil {
			return err
		}
	}
	return nil
}

// newGroup is a name for a group that this process will own. It tells whether the
// owner still lives: process ids return, but not with the same time of start.
func newGroup() string {
	pid := strconv.Itoa(os.Getpid())
	return cgroupPrefix + pid + "-" + startTime(pid) + "-" + rand.Text()[:6]
}

// startTime of a process, in ticks since the machine was booted; "" without it.
func startTime(pid string) string {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return ""
	}
	// The second field is a name in parentheses and may hold anything.
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	const after = 22 - 3 // it is the 22nd field, and rest begins with the third
	return strings.Fields(rest)[after]
}

// makeGroup makes a group in every hierarchy.
func makeGroup(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range all {
		if err := makeGroupIn(hierarchy, name); err != nil {
			return fmt.Errorf("make a control group: %w", err)
		}
	}
	return nil
}

func makeGroupIn(hierarchy, name string) error {
	parent := hierarchy
	for part := range strings.SplitSeq(name, "/") {
		if err := delegate(parent); err != nil {
			return err
		}
		group := filepath.Join(parent, part)
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if filepath.Base(hierarchy) == "cpuset" {
			if err := inherit(group, "cpuset.cpus", "cpuset.mems"); err != nil {
				return err
			}
		}
		parent = group
	}
	return nil
}

// delegate lets the groups beneath one of version 2 use the controllers that
// containers need, as far as it has them itself.
func delegate(group string) error {
	if !isVersion2(group) {
		return nil
	}
	has, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return err
	}
	var use []string
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids"} {
		if slices.Contains(strings.Fields(string(has)), controller) {
			use = append(use, "+"+controller)
		}
	}
	return os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte(strings.Join(use, " ")), 0o644)
}

// inherit copies from its parent what a group must have before it can hold a
// process.
func inherit(group string, files ...string) error {
	for _, file := range files {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(group), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(group, file), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// removeGroup removes a group and all beneath it, whose processes have ended. The
// kernel may take a moment to notice that.
func removeGroup(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	const pause, limit = 10 * time.Millisecond, 5 * time.Second
	for deadline := time.Now().Add(limit); ; time.Sleep(pause) {
		var failures error
		for _, hierarchy := range all {
			failures = errors.Join(failures, removeTree(filepath.Join(hierarchy, name)))
		}
		if !errors.Is(failures, unix.EBUSY) || time.Now().After(deadline) {
			return failures
		}
	}
}

// removeTree removes folders from the innermost on. The files in them cannot be
// removed, and need not.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if entry.IsDir() {
			err = errors.Join(err, removeTree(filepath.Join(dir, entry.Name())))
		}
	}
	if removed := unix.Rmdir(dir); removed != nil && !errors.Is(removed, unix.ENOENT) {
		err = errors.Join(err, removed)
	}
	return err
}

// sweepGroups removes the groups of killed owners. What cannot be removed is left
// to the next start.
func sweepGroups() {
	all, err := hierarchies()
	if err != nil {
		return
	}
	for _, hierarchy := range all {
		groups, _ := filepath.Glob(filepath.Join(hierarchy, cgroupPrefix+"*-*-*"))
		for _, group := range groups {
			parts := strings.Split(strings.TrimPrefix(filepath.Base(group), cgroupPrefix), "-")
			if startTime(parts[0]) != parts[1] {
				_ = removeTree(group)
			}
		}
	}
}
