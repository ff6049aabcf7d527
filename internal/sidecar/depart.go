package sidecar

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// leaveSince decides the end of the stay. The lock is held.
func (s *Sidecar) leaveSince(since time.Time) {
	s.stay.leavingSince = since
	s.aim = aim{verdict: desired.Leave, reason: target.PodTerminating, since: since, until: s.leaveAt(since).Deadline()}
	s.keep(s.memory.leaving(since))
	s.stay.end(errLeave)
}

// Leave makes the pod leave its groups, and gives what is closed when it may stop. Why
// is for the log. Once it leaves, it makes no difference.
func (s *Sidecar) Leave(why string) <-chan struct{} {
	s.mu.Lock()
	now := s.stay
	if now.leavingSince.IsZero() {
		s.log.Info("Leaving", "because", why)
		s.leaveSince(time.Now())
	}
	s.mu.Unlock()
	s.rouse()
	return now.over
}

// leaveAt is what is known of a leaving that was decided at a time, apart from the
// groups. Who runs a command after it needs time for that.
func (s *Sidecar) leaveAt(since time.Time) drain.Leave {
	shutdown := s.cfg.Shutdown
	if len(s.cfg.PostDeregister.Argv) > 0 {
		shutdown += s.cfg.PostDeregister.Timeout
	}
	return drain.Leave{Deleted: since, Grace: s.cfg.Grace, Shutdown: shutdown}
}

// depart sees to it that the pod is let go, waits until it may stop, and says so. With
// hold unset it waits for the groups only, since the pod goes on serving.
func (s *Sidecar) depart(work context.Context, now *stay, running *sync.WaitGroup, hold bool) error {
	if !s.certainlyOut() {
		s.start(work, running)
		s.rouse()
		now.verdict = s.awaitSafety(now, hold)
		s.metrics.Drained(outcome(now.verdict))
	}
	err := s.command(work, s.cfg.PostDeregister)
	if !now.verdict.Forced {
		s.remember((*memory).forget)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now.state = "drained: the pod may stop"
	close(now.over)
	return err
}

func outcome(v drain.Verdict) drain.Outcome {
	if v.Forced {
		return drain.Forced
	}
	return drain.Held
}

// certainlyOut tells whether nothing was ever registered for the pod.
func (s *Sidecar) certainlyOut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.started && s.memory.empty()
}

// awaitSafety waits until no load balancer sends to the pod any more, at the latest
// until the deadline; without hold, until all groups have let go.
func (s *Sidecar) awaitSafety(now *stay, hold bool) drain.Verdict {
	said := ""
	for {
		leave := s.leaving(now)
		verdict := leave.Decide(time.Now())
		if state := words(leave, verdict); state != said {
			said = state
			s.say(state)
			s.log.Info(state)
		}
		letGo := verdict.Stage == drain.Holding || verdict.Stage == drain.Safe
		if verdict.Left == 0 || !hold && letGo {
			return verdict
		}
		timer := time.NewTimer(verdict.Left)
		select {
		case <-s.news:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// leaving asks all members how far they are.
func (s *Sidecar) leaving(now *stay) drain.Leave {
	leave := s.leaveAt(now.leavingSince)
	leave.Told = true
	for _, m := range s.members {
		departure, told := m.departure()
		leave.Told = leave.Told && told
		if departure != nil {
			leave.Departures = append(leave.Departures, *departure)
		}
	}
	return leave
}

// words say how far the pod is on its way out.
func words(leave drain.Leave, v drain.Verdict) string {
	most := leave.Deadline().Sub(leave.Deleted).Round(time.Second)
	switch {
	case v.Left == 0 && v.Forced:
		return fmt.Sprintf("The grace period is used up: the pod may stop although requests may still come (%s)", v.Stage)
	case v.Left == 0:
		return "No load balancer sends requests any more: the pod may stop"
	case v.Stage == drain.Asking:
		return fmt.Sprintf("Asking which target groups hold the pod, which serves on for %s at most", most)
	case v.Stage == drain.Registered:
		return fmt.Sprintf("Still registered: the pod serves on for %s at most", most)
	case v.Forced:
		return "Deregistered: the pod serves on until its grace period ends, which is too early"
	}
	return "Deregistered: the pod serves on until no load balancer sends requests any more"
}
