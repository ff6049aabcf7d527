package demo

import (
	"html/template"
	"math"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/web/plot"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// plotRequests shows what became of the requests that were due in each second.
func plotRequests(r load.Result) template.HTML {
	seconds := shown(r)
	return plot.Plot{
		ID: "requests", Title: "Requests per second", Unit: "/s", Form: plot.Stacked,
		Series: []plot.Series{
			{Name: "answered", Values: values(seconds, func(s load.Second) float64 { return float64(s.Answered) })},
			{Name: "lost", Values: values(seconds, lost)},
		},
	}.SVG()
}

// plotLosses shows the same losses on a scale of their own.
func plotLosses(r load.Result) template.HTML {
	return plot.Plot{
		ID: "losses", Title: "Requests lost per second", Unit: "/s", Form: plot.Stacked,
		Series: []plot.Series{{Name: "lost", Values: values(shown(r), lost)}},
	}.SVG()
}

func plotLatency(r load.Result) template.HTML {
	seconds := shown(r)
	milliseconds := func(of func(load.Second) time.Duration) []float64 {
		return values(seconds, func(s load.Second) float64 {
			if s.Answered == 0 {
				return math.NaN()
			}
			return float64(of(s)) / float64(time.Millisecond)
		})
	}
	return plot.Plot{
		ID: "latency", Title: "Latency of answered requests", Unit: " ms",
		Series: []plot.Series{
			{Name: "median", Values: milliseconds(func(s load.Second) time.Duration { return s.P50 })},
			{Name: "99th percentile", Values: milliseconds(func(s load.Second) time.Duration { return s.P99 })},
		},
	}.SVG()
}

// plotTargets shows what pods and targets there were in each second.
func plotTargets(samples []sample) template.HTML {
	return plot.Plot{
		ID: "targets", Title: "Pods and targets", Step: sampleEvery,
		Series: []plot.Series{
			{Name: "healthy targets", Values: values(samples, func(s sample) float64 { return float64(s.healthy) })},
			{Name: "ready pods", Values: values(samples, func(s sample) float64 { return float64(s.ready) })},
			{Name: "draining targets", Values: values(samples, func(s sample) float64 { return float64(s.draining) })},
		},
	}.SVG()
}

func lost(s load.Second) float64 { return float64(s.Lost) }

func values[T any](of []T, value func(T) float64) []float64 {
	all := make([]float64, len(of))
	for i, v := range of {
		all[i] = value(v)
	}
	return all
}
