package losses

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// reportOf a case without anything that happened in it but these numbers.
func reportOf(c Case, lost, requests, ended int) Report {
	return Report{
		Strategy: c.Strategy.Name, Scenario: c.Scenario.Name, Profile: c.Profile.Name, Lateness: c.Lateness.Name,
		Speed: c.Speed, Seed: c.Seed, Lost: lost, Requests: requests, Terminations: make([]Termination, ended),
	}
}

func TestMatrix(t *testing.T) {
	hold, none := caseOf(t, "hold", "scale-down", "ALB", "normal"), caseOf(t, "none", "scale-down", "ALB", "normal")
	again, late, other := hold, hold, caseOf(t, "none", "rolling-update", "NLB", "60s")
	again.Seed = 2
	late.Lateness = Latenesses()[2]
	var b strings.Builder
	err := WriteMatrix(&b, []Report{
		reportOf(hold, 0, 1000, 8), reportOf(none, 1234, 10000, 8), reportOf(again, 1, 2000, 8), reportOf(late, 0, 1234567, 8),
		reportOf(other, 7, 100, 4), reportOf(caseOf(t, "hold", "restart-storm", "ALB", "normal"), 5, 100, 0),
	})
	want := `| ALB | deregistration | none | hold |
|---|---|---|---|
| scale-down | normal | 1,234 / 10,000 / 8 | 1 / 3,000 / 16 |
| scale-down | 60s | – | 0 / 1,234,567 / 8 |
| restart-storm | normal | – | 5 / 100 / 0 |
| **pods that left** |  | 1,234 / 10,000 / 8 | 1 / 1,237,567 / 24 |

| NLB | deregistration | none | hold |
|---|---|---|---|
| rolling-update | 60s | 7 / 100 / 4 | – |
| **pods that left** |  | 7 / 100 / 4 | – |

- hold: 1 lost of 1,237,567 requests in 24 terminations and 3 runs; with 95 % confidence fewer than 0.00038 %
- none: 1,241 lost of 10,100 requests in 12 terminations and 2 runs; with 95 % confidence fewer than 13 %
`
	if err != nil || b.String() != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, b.String(), want)
	}
}

func TestSums(t *testing.T) {
	c := caseOf(t, "none", "rolling-update", "ALB", "normal")
	got := sums([]Report{reportOf(c, 3, 10, 4), reportOf(c, 1, 10, 4), reportOf(c, 2, 10, 3)}, byCell)
	want := []sum{{cell: byCell(reportOf(c, 0, 0, 0)), runs: 3, sent: 30, lost: 6, ended: 11, least: 1, most: 3}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What was measured is kept, and not measured again; a line that was cut off is.
func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reports")
	hold, none := caseOf(t, "hold", "scale-down", "ALB", "normal"), caseOf(t, "none", "scale-down", "ALB", "normal")
	s, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	full := reportOf(hold, 5, 10, 8)
	full.Fates = make([]Fate, 5)
	for i := range full.Fates {
		full.Fates[i].Explained = true
	}
	full.Fates[4].Explained, full.Fates[4].Words = false, "why"
	if err := s.Add(full); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(whole, `{"strategy": "none"`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenStore(path); err != nil {
		t.Fatal(err)
	}
	seeded, faster := hold, hold
	seeded.Seed, faster.Speed = 2, 100
	missing := s.Missing([]Case{hold, none, seeded, faster}, false)
	var names []string
	for _, c := range missing {
		names = append(names, c.name())
	}
	if want := []string{none.name(), seeded.name(), faster.name()}; !reflect.DeepEqual(names, want) {
		t.Errorf("missing are %v, want %v", names, want)
	}
	if len(s.Missing([]Case{hold}, true)) != 1 {
		t.Error("on real nodes it was measured, too")
	}
	if err := s.Add(reportOf(none, 1, 10, 8)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	reports, err := ReadStore(path)
	if err != nil || len(reports) != 2 || reports[0].Lost != 5 || reports[1].Strategy != "none" {
		t.Fatalf("%v, have %+v", err, reports)
	}
	if f := reports[0].Fates; len(f) != 1 || f[0].Words != "why" {
		t.Errorf("kept are %+v, want the one that is not explained", f)
	}
	if err := os.WriteFile(path, []byte("no JSON\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(path); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a file of something else: %v", err)
	}
}
