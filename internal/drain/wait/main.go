package wait

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

// Main is the hook: it waits as the file beside the program says, then becomes
// the command that follows "--", if there is one, and otherwise gives the exit code.
// It is 0 however the wait ends, since the container ends anyway, and 1 with a word
// why if the hook itself is broken, of which the kubelet makes an event.
func Main(args []string, output io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pod, err := ofProgram()
	if err != nil {
		fmt.Fprintln(output, "tgc: cannot wait:", err)
		return 1
	}
	options := Options{Output: output}
	if pod.Endpoint != "" {
		options.Asker = NewAsker()
	}
	Wait(ctx, pod, options)
	if ctx.Err() != nil || len(args) == 0 {
		return 0
	}
	stop()
	return become(args, output)
}

// ofProgram reads of the pod what lies beside the program.
func ofProgram() (drain.Pod, error) {
	program, err := os.Executable()
	if err != nil {
		return drain.Pod{}, err
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(program), drain.PodFile))
	if err != nil {
		return drain.Pod{}, err
	}
	var pod drain.Pod
	if err := json.Unmarshal(data, &pod); err != nil {
		return drain.Pod{}, fmt.Errorf("%s: %w", drain.PodFile, err)
	}
	return pod, pod.Check()
}

// become runs the command that was the container's hook before, with its exit code
// as that of the hook.
func become(command []string, output io.Writer) int {
	path, err := exec.LookPath(command[0])
	if err == nil {
		err = syscall.Exec(path, command, os.Environ()) //nolint:gosec // because the command is the hook that the pod's owner wrote
	}
	fmt.Fprintf(output, "tgc: cannot run %s: %v\n", command[0], err)
	return 1
}
