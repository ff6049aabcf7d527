package gen

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

const metricsIntro = `The metrics that ` + "`tgc controller`" + ` serves under ` + "`/metrics`" + ` at ` + "`--metrics-bind-address`" + `, besides those that Go programs and controller-runtime's controllers have in common. Durations are in seconds. Names and labels are kept once released.`

// Metrics is the page about the metrics that register registers.
func Metrics(register func(prometheus.Registerer)) (string, error) {
	var all collected
	register(&all)
	var rows [][]string
	for _, collector := range all {
		kind, err := kindOf(collector)
		if err != nil {
			return "", err
		}
		for _, desc := range describe(collector) {
			cells, err := metricRow(desc, kind)
			if err != nil {
				return "", err
			}
			rows = append(rows, cells)
		}
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	p := newPage("Metrics", metricsIntro)
	p.table([]string{"Metric", "Type", "Labels", "Meaning"}, rows)
	return p.String(), nil
}

// collected is a Registerer that only remembers what was registered.
type collected []prometheus.Collector

// Register is prometheus.Registerer's.
func (c *collected) Register(collector prometheus.Collector) error {
	*c = append(*c, collector)
	return nil
}

// MustRegister is prometheus.Registerer's.
func (c *collected) MustRegister(collectors ...prometheus.Collector) {
	*c = append(*c, collectors...)
}

// Unregister is prometheus.Registerer's.
func (c *collected) Unregister(prometheus.Collector) bool { return false }

func kindOf(collector prometheus.Collector) (string, error) {
	switch collector.(type) {
	case *prometheus.CounterVec:
		return "counter", nil
	case *prometheus.GaugeVec:
		return "gauge", nil
	case *prometheus.HistogramVec:
		return "histogram", nil
	}
	return "", fmt.Errorf("%v is a %T, of which the type of metric is not known here: add it", describe(collector), collector)
}

func describe(collector prometheus.Collector) []*prometheus.Desc {
	channel := make(chan *prometheus.Desc)
	go func() {
		collector.Describe(channel)
		close(channel)
	}()
	var all []*prometheus.Desc
	for desc := range channel {
		all = append(all, desc)
	}
	return all
}

// selfDescription reads what a Desc says of itself, since it has no other way to tell
// before there are samples.
var selfDescription = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: ("(?:[^"\\]|\\.)*"), unit: "[^"]*", constLabels: \{[^}]*\}, variableLabels: \{([^}]*)\}`)

func metricRow(desc *prometheus.Desc, kind string) ([]string, error) {
	found := selfDescription.FindStringSubmatch(desc.String())
	if found == nil {
		return nil, fmt.Errorf("cannot read %s: the Prometheus library writes it in a new form", desc)
	}
	help, err := strconv.Unquote(found[2])
	if err != nil {
		return nil, fmt.Errorf("help of %s: %w", found[1], err)
	}
	var labels []string
	for label := range strings.SplitSeq(found[3], ",") {
		if label != "" {
			labels = append(labels, code(label))
		}
	}
	return []string{code(found[1]), kind, strings.Join(labels, ", "), plain(help)}, nil
}
