package elbv2sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// longPoll is how long one request waits for a change. When it is over without one
// the next request goes on waiting.
const longPoll = "1m"

// AwaitCalls waits until a condition on the log of calls holds, and gives the calls
// that it held for, oldest first. The condition is asked at once and after each
// change; calls that are cleared meanwhile stay among those that it sees. When ctx
// ends first that is the error.
func (a *Admin) AwaitCalls(ctx context.Context, holds func(calls []Call) bool) ([]Call, error) {
	var calls []Call
	list, err := a.callsAfter(ctx, 0, "0s")
	for ; err == nil; list, err = a.callsAfter(ctx, list.Next, longPoll) {
		if calls = merge(calls, list.Calls); holds(calls) {
			return calls, nil
		}
	}
	return calls, fmt.Errorf("waiting with %d calls in the log: %w", len(calls), err)
}

// merge puts changed calls into a log in order of Seq.
func merge(log, changed []Call) []Call {
	for _, call := range changed {
		at, known := slices.BinarySearchFunc(log, call, func(a, b Call) int { return cmp.Compare(a.Seq, b.Seq) })
		if known {
			log[at] = call
		} else {
			log = slices.Insert(log, at, call)
		}
	}
	return log
}

// AwaitGroup waits until a condition on a group and its targets holds, and gives the
// group that it held for. The condition is asked at once and whenever something may
// have changed; a group that is not there yet is waited for. When ctx ends first
// that is the error.
func (a *Admin) AwaitGroup(ctx context.Context, group string, holds func(GroupState) bool) (GroupState, error) {
	var state GroupState
	var missing error
	list, err := a.groupsAfter(ctx, 0, "0s")
	for ; err == nil; list, err = a.groupsAfter(ctx, list.Next, longPoll) {
		if state, missing = list.find(group); missing == nil && holds(state) {
			return state, nil
		}
	}
	if missing != nil {
		return state, fmt.Errorf("waiting for a group: %w: %w", missing, err)
	}
	return state, fmt.Errorf("waiting for group %q: %w", group, err)
}

// AwaitTarget waits until a target, address:port, is in a state; Absent waits until
// the group does not list it. When ctx ends first the error tells the state in which
// the target was.
func (a *Admin) AwaitTarget(ctx context.Context, group, target string, want State) error {
	state, err := a.AwaitGroup(ctx, group, func(g GroupState) bool { return g.Target(target).State == want })
	if err != nil {
		last := state.Target(target)
		return fmt.Errorf("target %s is %s, want %s: %w", target, inWords(last), inWords(TargetState{State: want}), err)
	}
	return nil
}

func inWords(t TargetState) string {
	words := cmp.Or(string(t.State), "absent")
	if t.Reason != "" {
		words += " (" + t.Reason + ")"
	}
	return words
}
