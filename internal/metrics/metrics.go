// Package metrics holds every metric of the project, so that their names, labels
// and help can be read, and documented, in one place.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/pace"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Metrics are the project's metrics. All methods are safe for concurrent use.
type Metrics struct {
	targets      *prometheus.GaugeVec
	changes      *prometheus.CounterVec
	acceptance   *prometheus.HistogramVec
	lastSuccess  *prometheus.GaugeVec
	calls        *prometheus.CounterVec
	callDuration *prometheus.HistogramVec
	budgetWait   *prometheus.HistogramVec
	gates        *prometheus.GaugeVec
	gateOpened   *prometheus.HistogramVec
	drains       *prometheus.CounterVec
	drainLate    *prometheus.HistogramVec
	inService    *prometheus.GaugeVec
}

// quick are buckets, in seconds, for what should take milliseconds and may take
// minutes when AWS throttles.
var quick = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// patient are buckets, in seconds, for what a load balancer takes its time for.
var patient = []float64{1, 2.5, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600}

// New makes the metrics and registers them.
func New(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		targets: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tgc_targets",
			Help: "Targets of a target group by state: desired should be registered; registered, healthy and draining are as the load balancer lists them; pending wait to be registered; held stay though nothing wants them; foreign are those of others in a shared group; left_out are refused by AWS.",
		}, []string{"target_group", "state"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tgc_target_changes_total",
			Help: "Targets that AWS accepted for registration or deregistration, by the reason of the change.",
		}, []string{"target_group", "operation", "reason"}),
		acceptance: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tgc_change_acceptance_seconds",
			Help:    "Time from when the controller saw that a target must be registered or deregistered until AWS accepted the call.",
			Buckets: quick,
		}, []string{"operation"}),
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tgc_target_group_last_success_timestamp_seconds",
			Help: "Unix time when a target group was last found in line with its bindings, with no call failing.",
		}, []string{"target_group"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tgc_aws_calls_total",
			Help: "Calls to AWS by operation and outcome; the outcome is ok or the reason of the failure.",
		}, []string{"operation", "outcome"}),
		callDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tgc_aws_call_duration_seconds",
			Help:    "Duration of calls to AWS, by operation.",
			Buckets: quick,
		}, []string{"operation"}),
		budgetWait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tgc_budget_wait_seconds",
			Help:    "Time that calls waited for their turn in the account's call budget, by class and priority.",
			Buckets: quick,
		}, []string{"class", "priority"}),
		gates: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tgc_gates_waiting",
			Help: "Pods of a target group whose containers are ready and whose readiness gate is closed.",
		}, []string{"target_group"}),
		gateOpened: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tgc_gate_open_seconds",
			Help:    "Time from when the containers of a pod were ready until its readiness gate was opened, by the reason of the opening: TargetHealthy, or why there was nothing to wait for.",
			Buckets: patient,
		}, []string{"reason"}),
		drains: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tgc_drains_total",
			Help: "Pods with a drain hook that left target groups, by outcome: held served for as long as requests could come; forced had a grace period that was too short for it; uncovered were gone early, as when they are deleted by force.",
		}, []string{"outcome"}),
		drainLate: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tgc_drain_deregistration_seconds",
			Help:    "Time from the deletion of a pod with a drain hook until all of its target groups had let go of it, by the mode of the hook: Sleep or Hold.",
			Buckets: quick,
		}, []string{"mode"}),
		inService: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tgc_sidecar_in_service",
			Help: "Of a sidecar: 1 if its pod is registered in the target group and was found healthy by the load balancer since, else 0.",
		}, []string{"target_group"}),
	}
	registry.MustRegister(
		m.targets, m.changes, m.acceptance, m.lastSuccess, m.calls, m.callDuration, m.budgetWait, m.gates, m.gateOpened,
		m.drains, m.drainLate, m.inService,
	)
	for _, outcome := range []drain.Outcome{drain.Held, drain.Forced, drain.Uncovered} {
		m.drains.WithLabelValues(string(outcome)) // an alert needs the zero before the first one
	}
	return m
}

// Group notes what a round found of a group.
func (m *Metrics) Group(group target.ARN, round elb.Round) {
	name := group.String()
	counts := report.Total(round.Plan, round.Have)
	for state, n := range map[string]int{
		"desired": counts.Desired, "registered": counts.Registered, "healthy": counts.Healthy,
		"draining": counts.Draining, "held": counts.Held,
		"pending": len(round.Plan.Register) + len(round.Plan.Announce), "foreign": len(round.Plan.Foreign), "left_out": len(round.Plan.LeftOut),
	} {
		m.targets.WithLabelValues(name, state).Set(float64(n))
	}
	waiting := 0
	for _, gate := range round.Plan.Gates {
		if !gate.Open {
			waiting++
		}
	}
	m.gates.WithLabelValues(name).Set(float64(waiting))
	m.changed(name, elb.Register, round.Outcome.Registered)
	m.changed(name, elb.Deregister, round.Outcome.Deregistered)
	if round.Plan.Empty() && len(round.Outcome.Failures) == 0 {
		m.lastSuccess.WithLabelValues(name).Set(float64(time.Now().Unix()))
	}
}

func (m *Metrics) changed(group string, op elb.Op, changes []plan.Change) {
	for _, change := range changes {
		m.changes.WithLabelValues(group, op.String(), string(change.Reason)).Inc()
	}
}

// Forget drops what is kept of a group.
func (m *Metrics) Forget(group target.ARN) {
	labels := prometheus.Labels{"target_group": group.String()}
	m.targets.DeletePartialMatch(labels)
	m.changes.DeletePartialMatch(labels)
	m.lastSuccess.DeletePartialMatch(labels)
	m.gates.DeletePartialMatch(labels)
}

// GateOpened notes that a readiness gate was opened, and how long after the pod's
// containers were ready.
func (m *Metrics) GateOpened(reason target.Reason, after time.Duration) {
	m.gateOpened.WithLabelValues(string(reason)).Observe(after.Seconds())
}

// Deregistered notes how long after its deletion a pod was let go by all groups.
func (m *Metrics) Deregistered(mode drain.Mode, after time.Duration) {
	m.drainLate.WithLabelValues(string(mode)).Observe(max(0, after).Seconds())
}

// Drained notes how the leaving of a pod came out.
func (m *Metrics) Drained(outcome drain.Outcome) { m.drains.WithLabelValues(string(outcome)).Inc() }

// InService notes whether the pod of a sidecar is in service in a group.
func (m *Metrics) InService(group string, is bool) {
	value := 0.0
	if is {
		value = 1
	}
	m.inService.WithLabelValues(group).Set(value)
}

// Accepted notes how long a change took from when it was planned.
func (m *Metrics) Accepted(op elb.Op, after time.Duration) {
	m.acceptance.WithLabelValues(op.String()).Observe(after.Seconds())
}

// Waited notes a wait for the call budget.
func (m *Metrics) Waited(wait pace.Wait) {
	m.budgetWait.WithLabelValues(wait.Class.String(), wait.Priority.String()).Observe(wait.Duration.Seconds())
}

// called notes a call to AWS that began at start.
func (m *Metrics) called(operation string, start time.Time, err error) {
	outcome := "ok"
	if kind := elb.KindOf(err); kind != elb.KindNone {
		outcome = string(kind)
	}
	m.calls.WithLabelValues(operation, outcome).Inc()
	m.callDuration.WithLabelValues(operation).Observe(time.Since(start).Seconds())
}
