// Package wait is what runs in pods: a preStop hook that returns when the container
// may stop, and what puts it there.
//
// It runs beside other people's programs, on their account, and so is made of little
// more than the standard library.
package wait

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The names of the files that Install makes.
const (
	// Program is the program that waits.
	Program = "tgc"
	// settingsFile is what it needs to know.
	settingsFile = "wait.json"
)

// Settings is what the program needs to know of its pod.
type Settings struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	// Endpoints are where the controller answers, host:port each; a host may stand
	// for several addresses. None: nobody is asked.
	Endpoints []string `json:"endpoints,omitempty"`
	// Hold, Late and Shutdown are what admission gave the pod.
	Hold     time.Duration `json:"hold"`
	Late     time.Duration `json:"late"`
	Shutdown time.Duration `json:"shutdown"`
}

// FromEnv reads the settings from the environment that admission gives to the init
// container.
func FromEnv(getenv func(string) string) (Settings, error) {
	s := Settings{Namespace: getenv("TGC_POD_NAMESPACE"), Name: getenv("TGC_POD_NAME"), UID: getenv("TGC_POD_UID")}
	for endpoint := range strings.SplitSeq(getenv("TGC_DRAIN_ENDPOINT"), ",") {
		if endpoint = strings.TrimSpace(endpoint); endpoint != "" {
			s.Endpoints = append(s.Endpoints, endpoint)
		}
	}
	var problems []error
	for _, name := range []string{"TGC_POD_NAMESPACE", "TGC_POD_NAME", "TGC_POD_UID"} {
		if getenv(name) == "" {
			problems = append(problems, fmt.Errorf("%s is not set", name))
		}
	}
	for name, into := range map[string]*time.Duration{
		"TGC_HOLD_SECONDS": &s.Hold, "TGC_LATE_SECONDS": &s.Late, "TGC_SHUTDOWN_SECONDS": &s.Shutdown,
	} {
		seconds, err := strconv.ParseUint(getenv(name), 10, 16)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s is %q: want a number of seconds", name, getenv(name)))
		}
		*into = time.Duration(seconds) * time.Second
	}
	return s, errors.Join(problems...)
}

// Load reads the settings that Install wrote into a folder.
func Load(folder string) (Settings, error) {
	data, err := os.ReadFile(filepath.Join(folder, settingsFile))
	if err != nil {
		return Settings{}, err
	}
	var s Settings
	if err := json.Unmarshal(data, &s); err != nil {
		return Settings{}, fmt.Errorf("%s: %w", settingsFile, err)
	}
	return s, nil
}

// Install copies the program at a path into a folder, with the settings beside it.
// Who runs it in the folder need not be who installed it. A second time does no harm:
// an init container may be run again.
func Install(program, folder string, settings Settings) error {
	source, err := os.Open(program)
	if err != nil {
		return err
	}
	defer source.Close()
	data, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	if err := put(folder, settingsFile, 0o444, strings.NewReader(string(data))); err != nil {
		return err
	}
	return put(folder, Program, 0o555, source)
}

// put makes a file that is there entirely or not at all.
func put(folder, name string, mode os.FileMode, content io.Reader) error {
	file, err := os.CreateTemp(folder, "."+name+"-")
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	err = errors.Join(err, file.Chmod(mode), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), filepath.Join(folder, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
