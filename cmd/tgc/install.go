package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

// waitProgram lies beside this program. It is one of its own because it runs within the
// memory limits of the containers of others.
const waitProgram = "tgc-wait"

// installCommand is `tgc install`. It runs in an init container that admission puts
// into pods, and is of no use to people.
func installCommand() *cobra.Command {
	var pod drain.Pod
	command := &cobra.Command{
		Use:    "install FOLDER",
		Short:  "Copy the program that waits into a volume that the containers of a pod share",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			return install(args[0], filepath.Join(filepath.Dir(self), waitProgram), pod)
		},
	}
	flags := command.Flags()
	flags.StringVar(&pod.Namespace, "pod-namespace", "", "namespace of the pod")
	flags.StringVar(&pod.Name, "pod-name", "", "name of the pod")
	flags.StringVar(&pod.UID, "pod-uid", "", "UID of the pod")
	flags.IntVar(&pod.HoldSeconds, "hold-seconds", 0, "how long the pod serves on after its deregistration")
	flags.IntVar(&pod.LateSeconds, "late-seconds", 0, "how late the deregistration may be")
	flags.IntVar(&pod.ShutdownSeconds, "shutdown-seconds", 0, "how long the application needs after SIGTERM")
	flags.StringVar(&pod.Endpoint, "drain-endpoint", "", "where the controller answers, as host:port, several with commas")
	return command
}

// install copies the program to folder/tgc, and beside it what it has to know. Any
// user may run the copy. An init container may run again: what is there is replaced
// as a whole.
func install(folder, program string, pod drain.Pod) error {
	if err := pod.Check(); err != nil {
		return err
	}
	known, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, drain.PodFile), known, 0o644); err != nil { //nolint:gosec // because every user of the pod's containers reads it, and it holds no secret
		return err
	}
	from, err := os.Open(program) //nolint:gosec // because it is this program itself
	if err != nil {
		return err
	}
	defer from.Close()
	unfinished := filepath.Join(folder, ".tgc")
	to, err := os.OpenFile(unfinished, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755) //nolint:gosec // because every user of the pod's containers runs it
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", program, err)
	}
	return os.Rename(unfinished, filepath.Join(folder, "tgc"))
}
