package elb

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestErrorCode(t *testing.T) {
	for _, c := range []struct {
		code, message string
		status        int
		want          Kind
	}{
		{"TargetGroupNotFound", "", 400, GroupNotFound},
		{"Throttling", "Rate exceeded", 400, Throttled},
		{"ThrottlingException", "Rate exceeded", 400, Throttled},
		{"RequestExpired", "Request has expired", 400, CredentialsInvalid},
		{"RequestTimeoutException", "", 408, Unavailable},
		{"HealthUnavailable", "", 500, Unavailable},
		{"ValidationError", "You must specify an Availability Zone for 192.168.1.1", 400, ZoneRequired},
		{"ValidationError", "Availability Zone is required for IP address '192.168.1.1'", 400, ZoneRequired},
		{"ValidationError", "'8080' is not a port", 400, InvalidRequest},
		{"InvalidTarget", "You must specify an Availability Zone", 400, InvalidTarget},
		{"Unheard", "of", 400, InvalidRequest},
		{"Unheard", "of", 500, Unavailable},
		{"", "", 599, Unavailable},
	} {
		if got := ErrorCode(c.code, c.message, c.status); got != c.want {
			t.Errorf("%s %q %d: got %s, want %s", c.code, c.message, c.status, got, c.want)
		}
	}
}

func TestKindOf(t *testing.T) {
	throttled := &Error{Op: "RegisterTargets", Kind: Throttled}
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{nil, KindNone},
		{throttled, Throttled},
		{fmt.Errorf("group web: %w", throttled), Throttled},
		{context.Canceled, Unreachable},
		{errors.New("whatever"), Unreachable},
	} {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
	}
}

func TestErrorSentence(t *testing.T) {
	cause := errors.New("cause")
	answered := &Error{Op: "RegisterTargets", Kind: Throttled, Code: "Throttling", Message: "Rate exceeded", RequestID: "f98", Err: cause}
	if got, want := answered.Error(), "RegisterTargets: Throttled (Throttling): Rate exceeded"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(answered, cause) {
		t.Error("the cause is lost")
	}
	silent := &Error{Op: "DescribeTargetHealth", Kind: Unreachable, Message: "no answer: EOF"}
	if got, want := silent.Error(), "DescribeTargetHealth: Unreachable: no answer: EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
