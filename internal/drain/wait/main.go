package wait

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Main is the hook: it waits as the settings beside the program say, then becomes
// the command that follows "--", if there is one, and otherwise gives the exit code.
// It is 0 however the wait ends, since the container ends anyway, and 1 with a word
// why if the hook itself is broken, of which the kubelet makes an event.
func Main(args []string, output io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	settings, err := ofProgram()
	if err != nil {
		fmt.Fprintln(output, "tgc: cannot wait:", err)
		return 1
	}
	options := Options{Output: output}
	if len(settings.Endpoints) > 0 {
		options.Asker = NewAsker()
	}
	Wait(ctx, settings, options)
	if ctx.Err() != nil || len(args) == 0 {
		return 0
	}
	stop()
	return become(args, output)
}

// ofProgram loads the settings that lie beside the program.
func ofProgram() (Settings, error) {
	program, err := os.Executable()
	if err != nil {
		return Settings{}, err
	}
	return Load(filepath.Dir(program))
}

// become runs the command that was the container's hook before, with its exit code
// as that of the hook.
func become(command []string, output io.Writer) int {
	path, err := exec.LookPath(command[0])
	if err == nil {
		err = syscall.Exec(path, command, os.Environ())
	}
	fmt.Fprintf(output, "tgc: cannot run %s: %v\n", command[0], err)
	return 1
}
