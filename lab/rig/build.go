package rig

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// withRace builds with the race detector.
const withRace = "-race"

// build makes tgc, and the program that it puts into pods, from the main module, with
// further arguments of the go command.
func build(ctx context.Context, folder string, progress io.Writer, args ...string) error {
	root, err := sourceRoot()
	if err != nil {
		return err
	}
	cgo := "CGO_ENABLED=0" // as it is released
	if slices.Contains(args, withRace) {
		cgo = "CGO_ENABLED=1"
	}
	fmt.Fprintln(progress, "building tgc")
	args = slices.Concat([]string{"build", "-o", folder + string(filepath.Separator)}, args, []string{"./cmd/tgc", "./cmd/tgc-wait"})
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = root
	// Who interrupts kills the go command with its compilers; their temporary
	// files are among ours, which are removed.
	command.Env = append(os.Environ(), cgo, "GOTMPDIR="+folder)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build tgc: %w\n%s", err, output)
	}
	return nil
}

// sourceRoot is the folder of the main module: the parent of this one.
func sourceRoot() (string, error) {
	output, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the lab's go.mod: %w", err)
	}
	root := filepath.Dir(filepath.Dir(strings.TrimSpace(string(output))))
	if _, err := os.Stat(filepath.Join(root, "cmd", "tgc")); err != nil {
		return "", fmt.Errorf("the lab must be run from within its own folder: %w", err)
	}
	return root, nil
}
