package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// memory is what outlasts the process: a file on a volume of the pod, so that who
// reads it knows that an earlier process of the same pod wrote it, and not one of an
// earlier pod with the same address. Without a directory nothing outlasts.
type memory struct {
	file string // empty without a directory
	kept kept
}

// kept is the content of the file.
type kept struct {
	// Registered are the targets that were registered, or were about to be, by the ARN
	// of their group.
	Registered map[string][]string `json:"registered,omitempty"`
	// Leaving is since when the pod leaves; zero if it stays.
	Leaving time.Time `json:"leaving,omitzero"`
}

// recall reads what an earlier process left, and makes sure that it can be written.
func recall(dir string) (*memory, error) {
	m := &memory{kept: kept{Registered: map[string][]string{}}}
	if dir == "" {
		return m, nil
	}
	m.file = filepath.Join(dir, "tgc-sidecar.json")
	data, err := os.ReadFile(m.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("--state-dir %s: %w", dir, err)
	default:
		if err := json.Unmarshal(data, &m.kept); err != nil {
			return nil, fmt.Errorf("--state-dir %s: %s is not what this program wrote: %w: remove it", dir, m.file, err)
		}
		if m.kept.Registered == nil {
			m.kept.Registered = map[string][]string{}
		}
	}
	if err := m.write(); err != nil {
		return nil, fmt.Errorf("--state-dir %s: want a directory that can be written to, such as an emptyDir volume: %w", dir, err)
	}
	return m, nil
}

// write replaces the file as a whole.
func (m *memory) write() error {
	if m.file == "" {
		return nil
	}
	data, err := json.Marshal(m.kept)
	if err != nil {
		return err
	}
	if err := os.WriteFile(m.file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(m.file+".new", m.file)
}

// lasts tells whether anything outlasts the process.
func (m *memory) lasts() bool { return m.file != "" }

// empty tells whether it is certain that nothing was ever registered for this pod.
func (m *memory) empty() bool { return m.lasts() && len(m.kept.Registered) == 0 }

// ours are the targets of a group that an earlier process registered.
func (m *memory) ours(group target.ARN) target.Set {
	var keys []target.Key
	for _, text := range m.kept.Registered[group.String()] {
		if key, err := target.ParseKey(text); err == nil {
			keys = append(keys, key)
		}
	}
	return target.SetOf(keys...)
}

// registering notes that a target is about to be registered.
func (m *memory) registering(group target.ARN, key target.Key) error {
	arn, text := group.String(), key.String()
	if slices.Contains(m.kept.Registered[arn], text) {
		return nil
	}
	m.kept.Registered[arn] = append(m.kept.Registered[arn], text)
	return m.write()
}

// forget notes that no target is registered any more.
func (m *memory) forget() error {
	m.kept.Registered = map[string][]string{}
	return m.write()
}

// leaving notes since when the pod leaves; zero for a pod that stays.
func (m *memory) leaving(since time.Time) error {
	m.kept.Leaving = since.Round(0)
	return m.write()
}
