package lawtest

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// listed is what `go list` tells of a package, tests left out.
type listed struct {
	ImportPath string
	Dir        string
	Standard   bool
	GoFiles    []string
	Imports    []string // what its files import
	Deps       []string // what it is built from in the end
}

// packages are the module's packages and all they are built from, by import path.
type packages map[string]listed

// standard tells whether name is a package of the standard library.
func (p packages) standard(name string) bool { return p[name].Standard }

func load(t *testing.T) packages {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,Imports,Deps", module+"...")
	var complaints strings.Builder
	list.Stderr = &complaints
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, complaints.String())
	}
	tree := packages{}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var pkg listed
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		tree[pkg.ImportPath] = pkg
	}
	tree.touch(t)
	return tree
}

// touch looks at each file of the module that go list read. `go test` repeats a
// cached result until a file that the test itself looked at changes, and knows
// nothing of what its child processes read.
func (p packages) touch(t *testing.T) {
	t.Helper()
	for name, pkg := range p {
		if !strings.HasPrefix(name, module) {
			continue
		}
		for _, file := range append([]string{"."}, pkg.GoFiles...) {
			if _, err := os.Stat(filepath.Join(pkg.Dir, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
