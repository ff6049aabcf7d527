package node

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// startProbes begins to probe a process that has just started.
func (c *container) startProbes(p *process) {
	life, end := context.WithCancel(context.Background())
	go func() {
		<-p.done
		end()
	}()
	go func() {
		if c.spec.StartupProbe != nil && !c.startup(life, p) {
			return
		}
		go c.readiness(life, p)
		c.liveness(life, p)
	}()
}

// startup returns true once the process has started up.
func (c *container) startup(life context.Context, p *process) bool {
	good := false
	c.probe(life, c.spec.StartupProbe, func(passed bool, err error) bool {
		good = passed
		if !passed && err != nil {
			c.giveUp(p, "startup", err)
		}
		return false
	})
	if good {
		c.pod.set(func() {
			if c.process == p {
				c.started = true
				c.settle()
			}
		})
	}
	return good
}

// readiness goes on while the pod leaves: clients see when the app stops being
// ready.
func (c *container) readiness(life context.Context, p *process) {
	if c.spec.ReadinessProbe == nil {
		return
	}
	c.probe(life, c.spec.ReadinessProbe, func(passed bool, err error) bool {
		if err != nil {
			c.pod.event(corev1.EventTypeWarning, "Unhealthy", "Readiness probe failed: %v", err)
		}
		c.pod.set(func() {
			if c.process == p && c.state.Running != nil {
				c.ready = passed
			}
		})
		return true
	})
}

func (c *container) liveness(life context.Context, p *process) {
	if c.spec.LivenessProbe == nil {
		return
	}
	c.probe(life, c.spec.LivenessProbe, func(passed bool, err error) bool {
		if passed {
			return true
		}
		c.giveUp(p, "liveness", err)
		return false
	})
}

// giveUp ends a process that failed its probe. A pod that leaves anyway is not
// disturbed.
func (c *container) giveUp(p *process, probe string, cause error) {
	if c.pod.life.Err() != nil {
		return
	}
	c.pod.event(corev1.EventTypeWarning, "Unhealthy", "Container %s failed %s probe, will be restarted: %v", c.spec.Name, probe, cause)
	c.end(c.patience(), p)
}

// probe repeats a probe and tells each time that the thresholds give another
// verdict than before. It returns at the end of life, or when tell returns
// false.
func (c *container) probe(life context.Context, probe *corev1.Probe, tell func(passed bool, err error) bool) {
	if !pause(life, time.Duration(probe.InitialDelaySeconds)*time.Second) {
		return
	}
	period := time.NewTicker(time.Duration(max(1, probe.PeriodSeconds)) * time.Second)
	defer period.Stop()
	count := thresholds{successes: max(1, probe.SuccessThreshold), failures: max(1, probe.FailureThreshold)}
	for {
		err := c.runProbe(life, probe)
		if life.Err() != nil {
			return
		}
		if passed, news := count.add(err == nil); news && !tell(passed, err) {
			return
		}
		select {
		case <-life.Done():
			return
		case <-period.C:
		}
	}
}

// thresholds turns a row of results into verdicts.
type thresholds struct {
	successes, failures int32 // how many in a row make a verdict
	row                 int32
	last                bool
	verdict             *bool
}

// add counts a result. News is a verdict that differs from the one before.
func (t *thresholds) add(good bool) (passed, news bool) {
	if t.row++; good != t.last {
		t.row, t.last = 1, good
	}
	enough := t.failures
	if good {
		enough = t.successes
	}
	if t.row < enough || (t.verdict != nil && *t.verdict == good) {
		return good, false
	}
	t.verdict = &good
	return good, true
}

// pause returns false when the context ends first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
