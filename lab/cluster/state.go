package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// state is the directory of one control plane. Its owner holds a lock on a file
// in it; the kernel drops the lock when the owner ends in whatever way, and
// that is how leftovers are told from living ones.
type state struct {
	dir  string
	lock *os.File
}

func newState() (*state, error) {
	parent := filepath.Join(os.TempDir(), "tgc-lab-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	sweep(parent)
	dir, err := os.MkdirTemp(parent, "")
	if err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	lock, err := own(dir)
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	return &state{dir: dir, lock: lock}, nil
}

// own locks the directory. The lock file is opened close-on-exec, so children
// do not keep the lock.
func own(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes what killed programs left. A directory without a lock file is
// left alone: its owner may be about to make one.
func sweep(parent string) {
	locks, _ := filepath.Glob(filepath.Join(parent, "*", "lock"))
	for _, path := range locks {
		dir := filepath.Dir(path)
		if f, err := own(dir); err == nil {
			os.RemoveAll(dir)
			f.Close()
		}
	}
}

// remove deletes the directory. Further calls do nothing.
func (s *state) remove() error {
	err := os.RemoveAll(s.dir)
	s.lock.Close()
	if err != nil {
		return fmt.Errorf("remove the state directory: %w", err)
	}
	return nil
}
