package elbsim

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
	data, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(data), "\n## The data plane\n")
	section, _, ends := strings.Cut(section, "\n## ")
	if !found || !ends {
		t.Fatal("docs/simulator.md has no section about the data plane")
	}
	tests, rules, inTable := testsHere(t), 0, false
	for line := range strings.Lines(section) {
		if line = strings.TrimSpace(line); line == "| rule | source | test |" {
			inTable = true
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		inTable = inTable && len(cells) == 3
		if !inTable || cells[0] == " rule " || cells[0] == "---" {
			continue
		}
		rules++
		names := testName.FindAllStringSubmatch(cells[2], -1)
		if len(names) == 0 || strings.TrimSpace(cells[1]) == "" {
			t.Errorf("this rule names no source or no test: %s", cells[0])
		}
		for _, name := range names {
			if !tests[name[1]] {
				t.Errorf("there is no test %s, which is to prove: %s", name[1], cells[0])
			}
		}
	}
	if rules < 40 {
		t.Errorf("only %d rules were found: has the form of the tables changed?", rules)
	}
}

// testsHere are the names of all tests of the simulator.
func testsHere(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
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
