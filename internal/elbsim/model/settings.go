package model

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// TrafficPort is the health check port that means each target's own port.
const TrafficPort = "traffic-port"

// CheckSettings is how the targets of a group are checked. In requests a zero
// field means AWS's default, or in a change the present value.
type CheckSettings struct {
	Protocol           string // HTTP, HTTPS, TCP
	Port               string // a number, or TrafficPort
	Path               string // HTTP and HTTPS only
	Matcher            string // HTTP codes that pass, such as 200 or 200-299,301
	Interval           time.Duration
	Timeout            time.Duration
	HealthyThreshold   int
	UnhealthyThreshold int
}

// over is s where it says something, and base elsewhere.
func (s CheckSettings) over(base CheckSettings) CheckSettings {
	return CheckSettings{
		Protocol:           cmp.Or(s.Protocol, base.Protocol),
		Port:               cmp.Or(s.Port, base.Port),
		Path:               cmp.Or(s.Path, base.Path),
		Matcher:            cmp.Or(s.Matcher, base.Matcher),
		Interval:           cmp.Or(s.Interval, base.Interval),
		Timeout:            cmp.Or(s.Timeout, base.Timeout),
		HealthyThreshold:   cmp.Or(s.HealthyThreshold, base.HealthyThreshold),
		UnhealthyThreshold: cmp.Or(s.UnhealthyThreshold, base.UnhealthyThreshold),
	}
}

// withDefaults fills in AWS's defaults for a group of the given protocol.
func (s CheckSettings) withDefaults(groupProtocol string) CheckSettings {
	defaults := CheckSettings{
		Protocol: "TCP", Port: TrafficPort, Interval: 30 * time.Second, Timeout: 10 * time.Second,
		HealthyThreshold: 5, UnhealthyThreshold: 2,
	}
	application := balancerTypeOf(groupProtocol) == Application
	if application {
		defaults.Protocol, defaults.Timeout = "HTTP", 5*time.Second
	}
	if s.overHTTP() || s.Protocol == "" && application {
		defaults.Path, defaults.Matcher = "/", "200"
		if !application {
			defaults.Matcher, defaults.Timeout = "200-399", 6*time.Second
		}
	}
	if s.Interval > 0 && s.Interval <= defaults.Timeout {
		defaults.Timeout = max(s.Interval-time.Second, 2*time.Second)
	}
	return s.over(defaults)
}

func (s CheckSettings) overHTTP() bool { return s.Protocol == "HTTP" || s.Protocol == "HTTPS" }

func (s CheckSettings) validate() error {
	switch {
	case !slices.Contains([]string{"HTTP", "HTTPS", "TCP"}, s.Protocol):
		return invalid("Health check protocol '%s' must be one of HTTP, HTTPS, TCP", s.Protocol)
	case s.Port != TrafficPort && !portNumber(s.Port):
		return invalid("Health check port '%s' must be '%s' or between 1 and 65535 inclusive", s.Port, TrafficPort)
	case s.overHTTP() && !strings.HasPrefix(s.Path, "/"):
		return invalid("Health check path '%s' must begin with a '/'", s.Path)
	case s.overHTTP() && !validMatcher(s.Matcher):
		return invalid("Health check matcher HTTP code '%s' must be codes between 200 and 499 inclusive", s.Matcher)
	}
	return s.validateNumbers()
}

func (s CheckSettings) validateNumbers() error {
	switch {
	case s.Interval < 5*time.Second || s.Interval > 300*time.Second:
		return invalid("Health check interval '%d' must be between 5 and 300 inclusive", s.Interval/time.Second)
	case s.Timeout < 2*time.Second || s.Timeout > 120*time.Second:
		return invalid("Health check timeout '%d' must be between 2 and 120 inclusive", s.Timeout/time.Second)
	case s.Timeout > s.Interval:
		return invalid("Health check timeout '%d' must be smaller than the interval '%d'", s.Timeout/time.Second, s.Interval/time.Second)
	case !threshold(s.HealthyThreshold) || !threshold(s.UnhealthyThreshold):
		return invalid("Health check thresholds '%d' and '%d' must be between 2 and 10 inclusive", s.HealthyThreshold, s.UnhealthyThreshold)
	}
	return nil
}

func threshold(n int) bool { return n >= 2 && n <= 10 }

func portNumber(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && n <= 65535
}

// PortOf is the port on which a target is checked, as a decimal number.
func (s CheckSettings) PortOf(key target.Key) string {
	return strconv.Itoa(int(s.portFor(key)))
}

func (s CheckSettings) portFor(key target.Key) uint16 {
	if n, err := strconv.ParseUint(s.Port, 10, 16); err == nil {
		return uint16(n)
	}
	return key.Port
}

// Matches tells whether an HTTP status passes a check.
func (s CheckSettings) Matches(code int) bool {
	for part := range strings.SplitSeq(s.Matcher, ",") {
		if low, high, valid := codeRange(part); valid && low <= code && code <= high {
			return true
		}
	}
	return false
}

func validMatcher(matcher string) bool {
	for part := range strings.SplitSeq(matcher, ",") {
		if low, high, valid := codeRange(part); !valid || low < 200 || high > 499 || low > high {
			return false
		}
	}
	return true
}

// codeRange reads 200 or 200-299.
func codeRange(s string) (low, high int, valid bool) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	low, errLow := strconv.Atoi(first)
	high, errHigh := strconv.Atoi(last)
	return low, high, errLow == nil && errHigh == nil
}
