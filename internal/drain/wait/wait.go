// Package wait is what runs in pods: a preStop hook that returns when the container
// may stop.
//
// It runs beside other people's programs, on their account, and so is made of little
// more than the standard library.
package wait

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

// Options change what Wait does.
type Options struct {
	// Output receives a line for each change of what is waited for.
	Output io.Writer
	// Asker asks the controller or the sidecar; nil for nobody.
	Asker *Asker
}

// Wait returns when the container may stop: when it is answered that every target group
// let go of the pod long enough ago, or that the pod stays and only its container ends,
// and at the latest when the grace period leaves no more than the application needs. It
// counts from the moment it is called, which is when the kubelet begins to count. While
// nobody answers, the pod is taken to leave, and is held.
//
// It returns early when ctx ends.
func Wait(ctx context.Context, pod drain.Pod, options Options) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	times := pod.Times()
	w := &waiter{hold: times.Hold, output: options.Output, leave: drain.Leave{
		Deleted: time.Now(), Grace: times.Grace, Shutdown: times.Shutdown,
	}}
	var answers chan drain.Answer
	if options.Asker != nil {
		answers = make(chan drain.Answer)
		go options.Asker.ask(ctx, pod, answers)
	}
	for {
		verdict := w.leave.Decide(time.Now())
		w.tell(verdict)
		if verdict.Left == 0 {
			return
		}
		timer := time.NewTimer(verdict.Left)
		select {
		case answer := <-answers:
			if answer.State == drain.Staying {
				w.say("the pod stays, only this container ends: no need to wait")
				return
			}
			w.leave.Learn(answer, w.hold, time.Now())
			w.reason = string(answer.Reason)
		case <-ctx.Done():
			w.say("told to end")
			return
		case <-timer.C:
		}
		timer.Stop()
	}
}

type waiter struct {
	hold   time.Duration
	output io.Writer
	leave  drain.Leave
	reason string // why the pod is still registered
	last   string // what was said last
}

// tell says what is waited for, if it is something else than before.
func (w *waiter) tell(v drain.Verdict) {
	deadline := w.leave.Deadline().Sub(w.leave.Deleted).Round(time.Second)
	switch {
	case v.Left == 0 && v.Forced:
		w.say("the grace period is used up: stopping although requests may still come (%s)", v.Stage)
	case v.Left == 0:
		w.say("no load balancer sends requests any more: stopping")
	case v.Stage == drain.Asking:
		w.say("waiting for an answer, for %s at most", deadline)
	case v.Stage == drain.Registered && w.reason != "":
		w.say("still registered (%s), serving on for %s at most", w.reason, deadline)
	case v.Stage == drain.Registered:
		w.say("still registered, serving on for %s at most", deadline)
	case v.Forced:
		w.say("deregistered, serving on until the grace period ends, which is too early")
	default:
		w.say("deregistered, serving on for %s after that", w.hold)
	}
}

func (w *waiter) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if line != w.last {
		w.last = line
		fmt.Fprintln(w.output, "tgc:", line)
	}
}
