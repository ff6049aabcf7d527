package metrics

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
)

const rulesFolder = "../../config/prometheus/"

// TestRules runs the tests of the rules with Prometheus's own tool.
func TestRules(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: apt-get install prometheus")
	}
	command := exec.CommandContext(t.Context(), tool, "test", "rules", "rules_test.yaml")
	command.Dir = rulesFolder
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// Rules speak only of metrics that there are, and each alert is tested, firing and at
// rest, and told of in docs/alerts.md.
func TestRulesFit(t *testing.T) {
	rules, tests, docs := read(t, rulesFolder+"rules.yaml"), read(t, rulesFolder+"rules_test.yaml"), read(t, "../../docs/alerts.md")
	described := make(chan *prometheus.Desc, 100)
	registry := &collected{}
	New(registry)
	for _, c := range registry.collectors {
		c.Describe(described)
	}
	close(described)
	known := map[string]bool{}
	for desc := range described {
		known[regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(desc.String())[1]] = true
	}
	for _, name := range regexp.MustCompile(`\btgc_\w+`).FindAllString(withoutRecorded(rules), -1) {
		if !known[strings.TrimSuffix(name, "_bucket")] {
			t.Errorf("there is no metric %s", name)
		}
	}
	alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(rules, -1)
	if len(alerts) == 0 {
		t.Error("there are no alerts")
	}
	for _, alert := range alerts {
		if !strings.Contains(tests, "alertname: "+alert[1]+", exp_alerts: []") || !strings.Contains(tests, "alertname: "+alert[1]+"\n") {
			t.Errorf("%s is not tested both firing and at rest", alert[1])
		}
		if !strings.Contains(docs, "\n## "+alert[1]+"\n") {
			t.Errorf("docs/alerts.md does not tell of %s", alert[1])
		}
	}
	for _, outcome := range regexp.MustCompile(`outcome=~?"([A-Z][\w|]*)"`).FindAllStringSubmatch(rules, -1) {
		for kind := range strings.SplitSeq(outcome[1], "|") {
			if !isKind(kind) {
				t.Errorf("no call has the outcome %s", kind)
			}
		}
	}
}

// withoutRecorded takes the names of recorded series out of the rules.
func withoutRecorded(rules string) string {
	return regexp.MustCompile(`\w+:\w+:\w+`).ReplaceAllString(rules, "")
}

func isKind(word string) bool {
	for _, kind := range []elb.Kind{elb.AccessDenied, elb.CredentialsInvalid, elb.Throttled, elb.GroupNotFound} {
		if string(kind) == word {
			return true
		}
	}
	return false
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// collected is a Registerer that keeps what is registered.
type collected struct{ collectors []prometheus.Collector }

// Register is prometheus.Registerer's.
func (c *collected) Register(one prometheus.Collector) error {
	c.collectors = append(c.collectors, one)
	return nil
}

// MustRegister is prometheus.Registerer's.
func (c *collected) MustRegister(all ...prometheus.Collector) {
	c.collectors = append(c.collectors, all...)
}

// Unregister is prometheus.Registerer's.
func (c *collected) Unregister(prometheus.Collector) bool { return false }
