package rig

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ClockImage is the image of tgc that pods can have whose wall clock is a Clock, once
// there is one.
const ClockImage = "lab.local/tgc-clock"

// clockVariable names the file of a Clock.
const clockVariable = "LAB_CLOCK"

// Clock is the wall clock of processes that a test steps, while their monotonic clocks
// run on, as when somebody sets the clock of a machine. Nothing of the machine's own
// clock changes.
//
// The processes are built with a package time whose Now adds what the file says that
// LAB_CLOCK names.
type Clock struct {
	// Env is the entry of the environment by which a process has this clock.
	Env string

	executable, file string
}

// NewClock makes a clock that is right, and builds tgc for it if that was not done yet.
func (r *Rig) NewClock(ctx context.Context) (*Clock, error) {
	r.clocks.Lock()
	defer r.clocks.Unlock()
	executable := r.clockExecutable()
	if _, err := os.Stat(executable); err != nil {
		if err := r.buildForClocks(ctx, filepath.Dir(executable)); err != nil {
			return nil, err
		}
	}
	file, err := os.CreateTemp(r.dir, "clock-")
	if err != nil {
		return nil, err
	}
	c := &Clock{Env: clockVariable + "=" + file.Name(), executable: executable, file: file.Name()}
	return c, errors.Join(file.Close(), c.Set(0))
}

// Set makes the clock be so many whole seconds ahead of the machine's from now on, or
// behind it.
func (c *Clock) Set(ahead time.Duration) error {
	file, err := os.OpenFile(c.file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(binary.NativeEndian.AppendUint64(nil, uint64(int64(ahead/time.Second))))
	return errors.Join(err, file.Close())
}

func (r *Rig) clockExecutable() string { return filepath.Join(r.dir, "clock", "tgc") }

// buildForClocks makes tgc, and the program that it puts into pods.
func (r *Rig) buildForClocks(ctx context.Context, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	overlay, err := writeOverlay(folder)
	if err != nil {
		return err
	}
	return build(ctx, folder, r.progress, "-overlay="+overlay)
}

// now is the line of package time that reads the clocks, and steppedNow what it
// becomes.
const (
	now        = "sec, nsec, mono := runtimeNow()\n\tif mono == 0 {"
	steppedNow = "sec, nsec, mono := runtimeNow()\n\tsec += labAhead()\n\tif mono == 0 {"
)

// ahead is a file of package time. It maps the file of the clock into memory, since
// the runtime reads the clock where no system call can be made.
const ahead = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var labClock = labMap()

func labMap() *int64 {
	name, _ := syscall.Getenv("` + clockVariable + `")
	if name == "" {
		return new(int64)
	}
	file, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	defer syscall.Close(file)
	memory, err := syscall.Mmap(file, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&memory[0]))
}

// labAhead is how many seconds the wall clock is ahead.
func labAhead() int64 {
	if labClock == nil {
		return 0 // not mapped yet
	}
	return atomic.LoadInt64(labClock)
}
`

// writeOverlay writes what the go command is to read instead of its own package time,
// and gives the file that says so.
func writeOverlay(folder string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find the source of Go: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	original, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", err
	}
	if strings.Count(string(original), now) != 1 {
		return "", errors.New("package time of this Go reads the clock in another way than the lab knows")
	}
	files := map[string]string{
		"time.go":     strings.Replace(string(original), now, steppedNow, 1),
		"labahead.go": ahead,
	}
	replace := map[string]string{}
	for name, content := range files {
		replace[filepath.Join(source, name)] = filepath.Join(folder, name)
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(folder, "overlay.json")
	return file, os.WriteFile(file, overlay, 0o600)
}
