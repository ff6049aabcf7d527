package elbsim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// request is one call on its way to the model.
type request struct {
	scope
	action    string
	group     string
	targets   []string
	resources []string // ARNs that rights to the action can be limited to; none for *
	userAgent string
	attempt   string
	id        string
	refusal   error           // by credentials or form; decided before anything else
	ignored   func() []string // parameters that made no difference, once the call is carried out; may be nil
}

// errNoReply is the end of a call whose connection is to be closed.
var errNoReply = errors.New("connection closed without a reply")

// newRequestID makes an id in the form of AWS's.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// perform takes one call all the way: into the log, through latency, faults and
// throttling, to the model. The error is a *model.Error, errNoReply or ctx's.
func (s *Sim) perform(ctx context.Context, r request, apply func(*model.World, time.Time) error) error {
	seq := s.log.begin(Call{
		Received: time.Now(), Action: r.action, Account: r.account, Region: r.region,
		Group: r.group, Targets: r.targets, UserAgent: r.userAgent, Attempt: r.attempt, RequestID: r.id,
	})
	fault, applied, err := s.attempt(ctx, r, apply)
	s.log.end(seq, func(call *Call) {
		call.Answered, call.Fault, call.Applied, call.Code = time.Now(), fault, applied, codeOf(err)
		if applied && r.ignored != nil {
			call.Ignored = r.ignored()
		}
	})
	return err
}

func codeOf(err error) string {
	if err == nil {
		return CodeOK
	}
	if refusal, is := errors.AsType[*model.Error](err); is {
		return refusal.Code
	}
	return CodeNoReply
}

// attempt makes the call happen, or go wrong as a script says.
func (s *Sim) attempt(ctx context.Context, r request, apply func(*model.World, time.Time) error) (fault FaultKind, applied bool, err error) {
	if r.refusal != nil {
		return "", false, r.refusal
	}
	if err := s.permitted(r); err != nil {
		return "", false, err
	}
	if err := pause(ctx, s.Settings().Latency.draw(exponential)); err != nil {
		return "", false, err
	}
	struck := s.faults.strike(r)
	if err := s.suffer(ctx, struck); err != nil {
		return struck.Kind, false, err
	}
	err = s.apply(r, apply)
	if struck.Kind == FaultLose {
		return struck.Kind, err == nil, errNoReply
	}
	return struck.Kind, err == nil, err
}

// suffer does what a fault does before a call is applied; nil lets it go on.
func (s *Sim) suffer(ctx context.Context, f Fault) error {
	switch f.Kind {
	case FaultFail:
		return &model.Error{Code: f.Code, Message: f.Message, Status: f.Status}
	case FaultThrottle:
		return &model.Error{Code: s.Settings().ThrottleCode, Message: "Rate exceeded", Status: 400}
	case FaultDrop:
		return errNoReply
	case FaultHang:
		return hang(ctx, time.Duration(f.Duration))
	}
	return nil
}

// hang waits, without end if d is zero.
func hang(ctx context.Context, d time.Duration) error {
	if d == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	return pause(ctx, d)
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// apply takes the call's token and lets it change or read the model.
func (s *Sim) apply(r request, apply func(*model.World, time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	world, now := s.world(r.scope), s.clock.Now()
	if err := world.Admit(now, r.action); err != nil {
		return err
	}
	defer s.nudge()
	return apply(world, now)
}
