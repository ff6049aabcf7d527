package sidecar

import (
	"context"
	"fmt"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// hold is for how long after its deregistration the pod serves on.
func (m *member) hold() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.found.hold(m.sidecar.cfg.Hold)
}

// leastHold is the same, but the least that it can be while the group's delay is being
// read, so that the last healthy target is not let go before it is known what time
// there is.
func (m *member) leastHold() time.Duration {
	m.mu.Lock()
	f := m.found
	m.mu.Unlock()
	if f.delay == nil && !f.delayUnknown {
		f.delay = new(time.Duration)
	}
	return f.hold(m.sidecar.cfg.Hold)
}

// lookAtDelay asks for the group's deregistration delay once it is time, and tells when
// to look again. It takes its time while the pod stays: what AWS can be asked is scarce
// while many start.
func (m *member) lookAtDelay(ctx context.Context) time.Time {
	group, _ := m.mine()
	leaving := m.sidecar.aimed().verdict == desired.Leave
	m.mu.Lock()
	at := m.found.askDelay
	m.mu.Unlock()
	if m.sidecar.cfg.Hold != nil || !leaving && (at.IsZero() || time.Now().Before(at)) {
		return at
	}
	known, again := m.delays.Look(ctx, group.ARN)
	m.mu.Lock()
	failed := known.Err != nil && !m.found.delayUnknown
	first := known.Known && m.found.delay == nil
	m.found.delayUnknown = known.Err != nil
	if known.Known {
		m.found.delay = &known.Value
	}
	m.mu.Unlock()
	if failed || first {
		m.rouse() // what is planned may depend on it
	}
	if failed {
		m.sidecar.log.Warn("The deregistration delay could not be read, and AWS's default is assumed", "group", group.ARN.String(), "reason", string(target.DrainDefaults), "error", known.Err.Error())
	}
	if known.Known {
		m.sidecar.changed()
		m.checkGrace()
	}
	return again
}

// checkGrace warns if the grace period is too short for the group.
func (m *member) checkGrace() {
	group, _ := m.mine()
	hold := m.hold()
	least := hold + m.sidecar.cfg.Shutdown + drain.Margin
	m.mu.Lock()
	warned := m.found.warned == least
	m.found.warned = least
	m.mu.Unlock()
	if !warned && m.sidecar.cfg.Grace < least {
		m.sidecar.log.Warn("The grace period is too short for the load balancer to stop sending requests before the pod stops",
			"group", group.ARN.String(), "hold", hold.String(), "grace", m.sidecar.cfg.Grace.String(),
			"remedy", fmt.Sprintf("set terminationGracePeriodSeconds of the pod to %d or more, and --grace-period to the same", int(least.Seconds())))
	}
}
