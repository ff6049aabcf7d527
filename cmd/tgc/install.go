package main

import (
	"bytes"
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
			return installHook(args[0], pod)
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

// installHook installs the program that lies beside this one.
func installHook(folder string, pod drain.Pod) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return install(folder, filepath.Join(filepath.Dir(self), waitProgram), pod)
}

// install copies the program to folder/tgc, and beside it what it has to know. Any
// user may run the copy. What is there is replaced as a whole, since a container may run
// again, and while a hook waits.
func install(folder, program string, pod drain.Pod) error {
	if err := pod.Check(); err != nil {
		return err
	}
	known, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	from, err := os.Open(program) //nolint:gosec // because it is this program itself
	if err != nil {
		return err
	}
	defer from.Close()
	if err := replace(filepath.Join(folder, drain.PodFile), bytes.NewReader(known), 0o644); err != nil {
		return err
	}
	return replace(filepath.Join(folder, "tgc"), from, 0o755)
}

// replace makes a file hold what is read, for every user of the pod's containers.
func replace(path string, from io.Reader, mode os.FileMode) error {
	unfinished := path + ".new"
	to, err := os.OpenFile(unfinished, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(unfinished, path)
}
