package elbtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// anyCall is one of the client's methods, made with sensible arguments.
type anyCall struct {
	action string
	make   func(context.Context) error
	// unnamed: the call names no group, so that a missing one makes no difference.
	unnamed bool
}

// calls are all methods of the client.
func calls(h suiteHarness, group target.ARN) []anyCall {
	return []anyCall{
		{action: "RegisterTargets", make: func(ctx context.Context) error {
			return h.Client.RegisterTargets(ctx, group, h.targets(2))
		}},
		{action: "DescribeTargetHealth", make: func(ctx context.Context) error {
			_, err := h.Client.TargetHealth(ctx, group)
			return err
		}},
		{action: "DescribeTargetGroups", make: func(ctx context.Context) error {
			_, err := h.Client.TargetGroups(ctx, elb.GroupQuery{ARNs: []target.ARN{group}})
			return err
		}},
		{action: "DescribeTargetGroups", unnamed: true, make: func(ctx context.Context) error {
			_, _, err := h.Client.AllGroups(ctx, "")
			return err
		}},
		{action: "DescribeTags", make: func(ctx context.Context) error {
			_, err := h.Client.GroupTags(ctx, []target.ARN{group})
			return err
		}},
		{action: "DescribeTargetGroupAttributes", make: func(ctx context.Context) error {
			_, err := h.Client.GroupAttributes(ctx, group)
			return err
		}},
		{action: "DeregisterTargets", make: func(ctx context.Context) error {
			return h.Client.DeregisterTargets(ctx, group, h.targets(2))
		}},
	}
}

func needTrouble(t *testing.T, h suiteHarness) {
	t.Helper()
	if h.Cause == nil {
		t.Skip("this harness cannot cause trouble")
	}
}

// troubleHasKind also shows that no call is retried: the trouble is for one
// request only, so a second one made unseen would succeed.
func troubleHasKind(t *testing.T, h suiteHarness) {
	needTrouble(t, h)
	kinds := map[Trouble]elb.Kind{
		Throttle: elb.Throttled, Deny: elb.AccessDenied,
		ExpireCredentials: elb.CredentialsInvalid, UnknownCredentials: elb.CredentialsInvalid,
		FailServer: elb.Unavailable, DropConnection: elb.Unreachable,
	}
	group := h.NewGroup(t, Group{})
	for _, call := range calls(h, group) {
		for trouble, kind := range kinds {
			h.Cause(t, call.action, trouble)
			err := call.make(t.Context())
			if elb.KindOf(err) != kind {
				t.Errorf("%s, %s: got %v, want kind %s", call.action, trouble, err, kind)
			}
			wantTold(t, err, call.action, trouble != DropConnection)
			if err := call.make(t.Context()); err != nil {
				t.Errorf("%s after %s: %v", call.action, trouble, err)
			}
		}
	}
}

// wantTold checks that an error tells the action, and AWS's code if AWS answered.
func wantTold(t *testing.T, err error, action string, answered bool) {
	t.Helper()
	told, is := errors.AsType[*elb.Error](err)
	if !is || told.Op != action || (told.Code != "") != answered || told.Message == "" {
		t.Errorf("got %#v, want an *elb.Error of %s with a message; with a code: %v", err, action, answered)
	}
}

func lostReply(t *testing.T, h suiteHarness) {
	needTrouble(t, h)
	group := h.NewGroup(t, Group{})
	h.Cause(t, "RegisterTargets", LoseReply)
	wantKind(t, h.Client.RegisterTargets(t.Context(), group, h.targets(2)), elb.Unreachable)
	h.lists(t, group, h.targets(2)...)
	h.register(t, group, h.targets(2)...)
	h.Cause(t, "DeregisterTargets", LoseReply)
	wantKind(t, h.Client.DeregisterTargets(t.Context(), group, h.targets(2)), elb.Unreachable)
	h.lists(t, group)
	h.deregister(t, group, h.targets(2)...)
}

func droppedCall(t *testing.T, h suiteHarness) {
	needTrouble(t, h)
	group := h.NewGroup(t, Group{})
	h.Cause(t, "RegisterTargets", DropConnection)
	wantKind(t, h.Client.RegisterTargets(t.Context(), group, h.targets(1)), elb.Unreachable)
	h.lists(t, group)
}

func endsWithContext(t *testing.T, h suiteHarness) {
	needTrouble(t, h)
	group := h.NewGroup(t, Group{})
	for _, call := range calls(h, group) {
		h.Cause(t, call.action, Hang)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		ended := make(chan error, 1)
		go func() { ended <- call.make(ctx) }()
		select {
		case err := <-ended:
			wantKind(t, err, elb.Unreachable)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v does not wrap the context's error", call.action, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s goes on although its context has ended", call.action)
		}
		cancel()
	}
}

func contextEnded(t *testing.T, h suiteHarness) {
	group := h.NewGroup(t, Group{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, call := range calls(h, group) {
		err := call.make(ctx)
		wantKind(t, err, elb.Unreachable)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v does not wrap the context's error", call.action, err)
		}
	}
	h.lists(t, group)
}
