// Package prooftest keeps tables of the documentation in line with what they name: the
// tests, flags, metrics and alerts that there are.
package prooftest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
)

// Every rule of the data plane names where it comes from and the tests that hold
// the simulator to it, and those tests are there.
func TestEveryRuleOfTheDataPlaneHasItsTest(t *testing.T) {
	_, section, found := strings.Cut(page(t, "simulator.md"), "\n## The data plane\n")
	section, _, ends := strings.Cut(section, "\n## ")
	if !found || !ends {
		t.Fatal("docs/simulator.md has no section about the data plane")
	}
	if rules := prove(t, section, "| rule | source | test |", "../elbsim"); rules < 40 {
		t.Errorf("only %d rules were found: has the form of the tables changed?", rules)
	}
}

// Every capability of the programs that came before names the tests that show it, and
// those tests are there.
func TestEveryCapabilityHasItsTest(t *testing.T) {
	if rows := prove(t, page(t, "capabilities.md"), "| capability | who has it | here | test |", "../.."); rows < 25 {
		t.Errorf("only %d capabilities were found: has the form of the table changed?", rows)
	}
}

func page(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// prove checks all tables with a header, whose last column names tests that are to be
// found below a folder and whose other columns are filled. It returns how many rows
// they have.
func prove(t *testing.T, text, header, root string) (rows int) {
	t.Helper()
	tests, columns, inTable := testsBelow(t, root), strings.Count(header, "|")-1, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		cells := strings.Split(strings.Trim(line, "|"), "|")
		switch {
		case line == header:
			inTable = true
			continue
		case len(cells) != columns:
			inTable = false
		}
		if !inTable || strings.HasPrefix(line, "|---") {
			continue
		}
		rows++
		names := testName.FindAllStringSubmatch(cells[columns-1], -1)
		if len(names) == 0 || strings.TrimSpace(cells[1]) == "" {
			t.Errorf("a cell is empty or names no test: %s", line)
		}
		for _, name := range names {
			if !tests[name[1]] {
				t.Errorf("there is no test %s, which is to prove: %s", name[1], cells[0])
			}
		}
	}
	return rows
}

// testsBelow are the names of all tests in a folder and those below.
func testsBelow(t *testing.T, root string) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range testFunc.FindAllStringSubmatch(string(source), -1) {
			tests[match[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
