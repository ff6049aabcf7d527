package prooftest

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the guide for those who move here says that something is called is what it is
// called: flags, metrics and alerts.
func TestGuideForThoseWhoMoveNamesWhatThereIs(t *testing.T) {
	rules, err := os.ReadFile("../../config/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	here := hereColumns(page(t, "migrating.md"))
	for _, named := range []struct {
		what, where string
		form        *regexp.Regexp
		least       int
	}{
		{"flag", page(t, "reference/flags.md"), regexp.MustCompile("--[a-z][a-z-]+"), 20},
		{"metric", page(t, "reference/metrics.md"), regexp.MustCompile("tgc_[a-z_]+"), 8},
		{"alert", string(rules), regexp.MustCompile("TargetGroupController[A-Z][A-Za-z]+"), 1},
	} {
		names := named.form.FindAllString(here, -1)
		slices.Sort(names)
		names = slices.Compact(names)
		if len(names) < named.least {
			t.Errorf("the guide names only %[2]d of what is a %[1]s: has the form of the tables changed?", named.what, len(names))
		}
		for _, name := range names {
			if !regexp.MustCompile(regexp.QuoteMeta(name) + "([^A-Za-z_-]|$)").MatchString(named.where) {
				t.Errorf("docs/migrating.md names the %s %s, which there is not", named.what, name)
			}
		}
	}
}

// hereColumns are the last columns of all tables whose header says that they are about
// this project.
func hereColumns(text string) string {
	var cells strings.Builder
	inTable := false
	for line := range strings.Lines(text) {
		columns := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		last := columns[len(columns)-1]
		switch {
		case len(columns) < 2:
			inTable = false
		case strings.HasPrefix(strings.TrimSpace(last), "Here"):
			inTable = true
		case inTable:
			cells.WriteString(last + "\n")
		}
	}
	return cells.String()
}
