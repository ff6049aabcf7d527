package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// outputKept is how much of a command's output is logged: its end.
	outputKept = 4 << 10
	// outputWait is how long the output is waited for of children that a command left.
	outputWait = time.Second
)

// run runs a command and logs what it says. With its timeout, and when ctx ends, the
// command and all that it started are killed.
func (c Command) run(ctx context.Context, log *slog.Logger) error {
	if len(c.Argv) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("it took longer than %s and was killed", c.Timeout))
	defer cancel()
	var output bytes.Buffer
	command := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...) //nolint:gosec // because running it is what the user asked for
	command.Stdout, command.Stderr = &output, &output
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = outputWait
	began := time.Now()
	err := command.Run()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	said := strings.TrimSpace(string(output.Bytes()[max(0, output.Len()-outputKept):]))
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return fmt.Errorf("%s command %q: %w%s", c.Name, c.Argv, err, quoted(said))
	}
	log.Info("Command ended", "command", c.Name, "took", time.Since(began).Round(time.Millisecond).String(), "output", said)
	return nil
}

func quoted(said string) string {
	if said == "" {
		return ""
	}
	return fmt.Sprintf("; it said %q", said)
}
