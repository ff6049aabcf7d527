package gen

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

func TestReasonsRefusesWhatPeopleCouldNotLookUp(t *testing.T) {
	for name, test := range map[string]struct{ group, wants string }{
		"value is not the name": {`// A: a.` + "\n" + `A Reason = "B"`, "its value is not its name"},
		"no comment":            {`A Reason = "A"`, `want a comment "A: what it means."`},
		"comment of another":    {`// B: b.` + "\n" + `A Reason = "A"`, `want a comment "A: what it means."`},
		"no value":              {`A Reason = "A"` + "\n" + `B`, "want a comment"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Reasons("reason.go", []byte("package p\n\ntype Reason string\n\n// Group.\nconst (\n"+test.group+"\n)\n"))
			if err == nil || !strings.Contains(err.Error(), test.wants) {
				t.Errorf("got %v, want an error with %q", err, test.wants)
			}
		})
	}
}

func TestMetricsTellsTypesLabelsAndHelp(t *testing.T) {
	page, err := Metrics(func(r prometheus.Registerer) {
		r.MustRegister(
			prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "b", Help: `Says "x", {y}|z.`}, []string{"one", "two"}),
			prometheus.NewCounterVec(prometheus.CounterOpts{Name: "a_total", Help: "Counts."}, nil),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = "| `a_total` | counter |  | Counts. |\n| `b` | gauge | `one`, `two` | Says \"x\", {y}\\|z. |\n"
	if !strings.HasSuffix(page, want) {
		t.Errorf("got\n%s\nwant it to end with\n%s", page, want)
	}
}

func TestMetricsRefusesAnUnknownType(t *testing.T) {
	_, err := Metrics(func(r prometheus.Registerer) {
		r.MustRegister(prometheus.NewSummary(prometheus.SummaryOpts{Name: "s"}))
	})
	if err == nil {
		t.Error("a metric of unknown type went into the page")
	}
}

func TestFlagsLeavesTheTwinOutOfTheMeaning(t *testing.T) {
	command := &cobra.Command{Use: "run", Short: "Run", Run: func(*cobra.Command, []string) {}}
	command.Flags().StringSliceP("at", "a", nil, "where to `place` <it> [TWIN]")
	root := &cobra.Command{Use: "root"}
	root.AddCommand(command)
	page := Flags(root, func(string) string { return "TWIN" })
	const want = "| `-a, --at place` | `TWIN` |  | where to place \\<it> |\n"
	if !strings.Contains(page, want) || !strings.Contains(page, "## root run\n\nRun.\n") {
		t.Errorf("got\n%s\nwant %s", page, want)
	}
}

func TestResourceTellsRequiredFieldsFirstAndRulesAtTheirField(t *testing.T) {
	page, err := Resource([]byte(`
spec:
  group: example.com
  names: {kind: Thing, shortNames: [th]}
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        properties:
          spec:
            required: [z]
            x-kubernetes-validations:
            - {rule: has(self.a), message: a is missing, fieldPath: .a}
            properties:
              a: {type: integer, default: 3, minimum: 1, maximum: 9}
              z: {type: array, items: {type: string}}
`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "### spec.z\n\n*list of strings, required*\n\n### spec.a\n\n*integer, default `3`*\n\n- At least 1\n- At most 9\n- Refused unless `has(self.a)`:\n  “a is missing”\n"
	if !strings.Contains(page, want) {
		t.Errorf("got\n%s\nwant\n%s", page, want)
	}
}
