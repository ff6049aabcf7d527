package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/config"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/gen"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
)

//go:generate go test -count=1 -run ^TestReference$ . -update

var update = flag.Bool("update", false, "write the reference pages rather than compare them")

// The reference is written here, since only package main knows all commands.
func TestReference(t *testing.T) {
	const root = "../.."
	pages := map[string]func() (string, error){
		"flags.md": func() (string, error) { return gen.Flags(rootCommand(new(bool)), config.EnvName), nil },
		"metrics.md": func() (string, error) {
			return gen.Metrics(func(registry prometheus.Registerer) { metrics.New(registry) })
		},
		"reasons.md": func() (string, error) {
			file := filepath.Join(root, "internal", "target", "reason.go")
			source, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			return gen.Reasons(filepath.Base(file), source)
		},
		"targetgroupbinding.md": func() (string, error) {
			definition, err := os.ReadFile(filepath.Join(root, "config", "crd", "targetgroupcontroller.io_targetgroupbindings.yaml"))
			if err != nil {
				return "", err
			}
			return gen.Resource(definition)
		},
	}
	for name, render := range pages {
		t.Run(name, func(t *testing.T) {
			page, err := render()
			if err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join(root, "docs", "reference", name), page)
		})
	}
}

// compare fails unless a file holds the text, or writes it there with -update.
func compare(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	// A missing file is a stale one.
	if have, err := os.ReadFile(file); err != nil || string(have) != text {
		t.Errorf("%s is not what the code says (%v): run make generate", file, err)
	}
}
