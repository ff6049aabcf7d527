package metrics_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/gen"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/metrics"
)

const (
	rulesFolder = "../../config/prometheus"
	runbook     = "../../docs/alerts.md"
)

// rule is a rule of config/prometheus/rules.yaml.
type rule struct {
	Record      string            `json:"record"`
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func rules(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []rule `json:"rules"`
		} `json:"groups"`
	}
	read(t, "rules.yaml", &file)
	var all []rule
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there are no rules")
	}
	return all
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(rulesFolder, name))
	if err == nil {
		err = yaml.UnmarshalStrict(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// exported are the labels of each metric, as the reference page has them.
func exported(t *testing.T) map[string]string {
	t.Helper()
	page, err := gen.Metrics(func(registry prometheus.Registerer) { metrics.New(registry) })
	if err != nil {
		t.Fatal(err)
	}
	// controller-runtime's; the tests of the lab see it exported.
	all := map[string]string{"leader_election_master_status": "`name`"}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(page, -1) {
		name, kind, labels := row[1], row[2], row[3]
		if kind == "histogram" {
			name, labels = name+"_bucket", labels+" `le`"
		}
		all[name] = labels
	}
	return all
}

var (
	// A metric, and what is asked of its labels.
	selector = regexp.MustCompile(`([\w:]*tgc_\w+(?::\w+)?|leader_election_\w+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*[=!]~?`)
	grouping = regexp.MustCompile(`(?:by|on) \(([^)]*)\)`)
)

// Every metric and label that the rules name is one that is exported, or recorded
// by a rule before.
func TestRulesNameWhatIsExported(t *testing.T) {
	labels := exported(t)
	// Prometheus adds these itself.
	const scraped = "`job` `namespace` `instance`"
	for _, r := range rules(t) {
		var known string
		for _, found := range selector.FindAllStringSubmatch(r.Expr, -1) {
			have, exists := labels[found[1]]
			if !exists {
				t.Errorf("%s%s: metric %s does not exist", r.Alert, r.Record, found[1])
			}
			known += have
			for _, m := range matcher.FindAllStringSubmatch(found[2], -1) {
				if !strings.Contains(have, "`"+m[1]+"`") {
					t.Errorf("%s%s: metric %s has no label %s", r.Alert, r.Record, found[1], m[1])
				}
			}
		}
		for _, by := range grouping.FindAllStringSubmatch(r.Expr, -1) {
			for label := range strings.SplitSeq(by[1], ",") {
				if label = "`" + strings.TrimSpace(label) + "`"; !strings.Contains(known+scraped, label) {
					t.Errorf("%s%s: no metric in it has the label %s", r.Alert, r.Record, label)
				}
			}
		}
		if r.Record != "" {
			labels[r.Record] = known + scraped
		}
	}
}

// Each alert is described in docs/alerts.md, and tested both firing and not.
func TestAlertsAreDescribedAndTested(t *testing.T) {
	page, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Alerts []struct {
				Name     string `json:"alertname"`
				Expected []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	data, err := os.ReadFile(filepath.Join(rulesFolder, "rules_test.yaml"))
	if err == nil {
		err = yaml.Unmarshal(data, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]map[bool]bool{}
	for _, test := range file.Tests {
		for _, alert := range test.Alerts {
			if tested[alert.Name] == nil {
				tested[alert.Name] = map[bool]bool{}
			}
			tested[alert.Name][len(alert.Expected) > 0] = true
		}
	}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if !strings.Contains(string(page), "\n## "+r.Alert+"\n") {
			t.Errorf("docs/alerts.md has no section %s", r.Alert)
		}
		if want := "docs/alerts.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
			t.Errorf("%s: runbook %q, want %q", r.Alert, r.Annotations["runbook"], want)
		}
		if !tested[r.Alert][true] || !tested[r.Alert][false] {
			t.Errorf("rules_test.yaml does not show %s both firing and not firing", r.Alert)
		}
	}
}

func TestRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("SKIPPED: promtool is missing: apt-get install --no-install-recommends prometheus")
	}
	for _, arguments := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		command := exec.CommandContext(t.Context(), promtool, arguments...)
		command.Dir = rulesFolder
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
		}
	}
}

var block = regexp.MustCompile("(?s)```sh\n(\\{ cat <<.*?)\n```")

// The command in docs/install.md makes a PrometheusRule of the very rules.
func TestPrometheusRule(t *testing.T) {
	page, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	found := block.FindSubmatch(page)
	if found == nil {
		t.Fatal("docs/install.md has no command that makes a PrometheusRule")
	}
	script := strings.Replace(string(found[1]), " | kubectl apply -f -", "", 1)
	if script == string(found[1]) {
		t.Fatalf("kubectl applies nothing in %s", script)
	}
	command := exec.CommandContext(t.Context(), "sh", "-c", script)
	command.Dir = "../.."
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Kind string `json:"kind"`
		Spec struct {
			Groups []struct{ Rules []rule } `json:"groups"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(output, &object); err != nil {
		t.Fatalf("%v in\n%s", err, output)
	}
	n := 0
	for _, group := range object.Spec.Groups {
		n += len(group.Rules)
	}
	if want := len(rules(t)); object.Kind != "PrometheusRule" || n != want {
		t.Errorf("a %s with %d rules, want %d", object.Kind, n, want)
	}
}
