package losses

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// crashSidecars kills the sidecar of each pod that leaves as soon as it has deregistered
// the pod.
func crashSidecars(ctx context.Context, s *stage) (int, error) {
	ends, err := rollingUpdate(ctx, s)
	if err != nil {
		return 0, err
	}
	killed := map[string]bool{}
	return ends, s.await(ctx, "until the sidecars of all pods that leave were killed", func(context.Context) error {
		for _, p := range s.ledger.leavers() {
			if killed[p.pod] || !s.draining(p.target) {
				continue
			}
			if err := killSidecar(p.target); err != nil {
				return fmt.Errorf("kill the sidecar of %s: %w", p.pod, err)
			}
			killed[p.pod] = true
		}
		if len(killed) < ends {
			return fmt.Errorf("%d of %d were", len(killed), ends)
		}
		return nil
	})
}

// draining tells whether a target was deregistered and is listed yet.
func (s *stage) draining(address string) bool {
	return slices.ContainsFunc(s.sim.Groups(), func(group elbsim.GroupState) bool {
		return states(group)[address] == target.Draining
	})
}

// killSidecar kills the sidecar of the pod that has an address, as the kernel does that
// finds no memory for it. Pods of real nodes are processes of this machine as well.
func killSidecar(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, process := range processes {
		if pid, err := strconv.Atoi(filepath.Base(process)); err == nil && isSidecar(process, host) && isOurs(pid) {
			return syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return errors.New("it does not run")
}

// isSidecar tells whether a process is the sidecar of a pod. One that has ended is not.
func isSidecar(process, host string) bool {
	command, err1 := os.ReadFile(filepath.Join(process, "cmdline"))
	environment, err2 := os.ReadFile(filepath.Join(process, "environ"))
	words := bytes.Split(command, []byte{0})
	return errors.Join(err1, err2) == nil && len(words) > 1 && string(words[1]) == "sidecar" &&
		slices.ContainsFunc(bytes.Split(environment, []byte{0}), func(v []byte) bool { return string(v) == "POD_IP="+host })
}

// isOurs tells whether a process descends from this one: pods of other labs on this
// machine may have the same addresses.
func isOurs(pid int) bool {
	for pid > 1 && pid != os.Getpid() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, rest, found := strings.Cut(string(status), "\nPPid:")
		if err != nil || !found {
			return false
		}
		if _, err := fmt.Sscan(rest, &pid); err != nil {
			return false
		}
	}
	return pid == os.Getpid()
}
