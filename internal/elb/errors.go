package elb

import (
	"errors"
	"fmt"
	"strings"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Kind says what an error means for whoever made the call: whether to try
// again, when, and who can help.
type Kind string

// The kinds of errors. Each is also a target.Reason, so the word in a condition
// or metric is the same whatever made it.
const (
	// KindNone is the kind of no error.
	KindNone Kind = ""
	// GroupNotFound: the target group does not exist (any more).
	GroupNotFound = Kind(target.TargetGroupNotFound)
	// Throttled: the account's call budget is spent. Safe to repeat, later.
	Throttled = Kind(target.Throttled)
	// AccessDenied: the credentials are valid but may not do this.
	AccessDenied = Kind(target.AccessDenied)
	// CredentialsInvalid: there are no credentials, or they are expired or unknown to AWS.
	CredentialsInvalid = Kind(target.CredentialsInvalid)
	// InvalidTarget: AWS refuses a target of the call, by address, family or state.
	InvalidTarget = Kind(target.InvalidTarget)
	// ZoneRequired: an address lies outside the group's VPC and needs a zone.
	ZoneRequired = Kind(target.ZoneRequired)
	// TooManyTargets: the group or its load balancer is at its quota.
	TooManyTargets = Kind(target.TooManyTargets)
	// InvalidRequest: AWS refuses the request as malformed or not applicable.
	InvalidRequest = Kind(target.InvalidRequest)
	// Unreachable: no answer came, or no connection; the call may have been applied.
	Unreachable = Kind(target.Unreachable)
	// Unavailable: AWS answered that it failed; the call may have been applied.
	Unavailable = Kind(target.AWSUnavailable)
)

// Error is a failed ELBv2 call.
type Error struct {
	Op      string // the action, such as RegisterTargets
	Kind    Kind
	Code    string // AWS's error code, empty when AWS did not answer
	Message string // AWS's or the network's words
	// RequestID is what AWS's support asks for; empty when AWS did not answer.
	RequestID string
	Err       error // the cause, if any
}

// Failure is the error as it is reported to people.
func (e *Error) Failure() plan.Failure {
	return plan.Failure{Op: e.Op, Reason: e.Kind.Reason(), Message: e.Message}
}

// Error says which call failed, how, and in whose words.
func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("%s: %s: %s", e.Op, e.Kind, e.Message)
	}
	return fmt.Sprintf("%s: %s (%s): %s", e.Op, e.Kind, e.Code, e.Message)
}

// Reason is the kind as the reason that conditions, events and metrics bear.
func (k Kind) Reason() target.Reason { return target.Reason(k) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of err: KindNone for nil, Unreachable for a context that
// ended and for any error that is not an *Error.
func KindOf(err error) Kind {
	if err == nil {
		return KindNone
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Unreachable
}

// ErrorCode gives the kind for an error code of AWS with its message. It is the
// one place where AWS's codes are told apart. status is the HTTP status.
func ErrorCode(code, message string, status int) Kind {
	if kind, known := kindOfCode[code]; known {
		return kind
	}
	switch {
	case code == "ValidationError" && zoneRequired(message):
		return ZoneRequired
	case status >= 500:
		return Unavailable
	}
	return InvalidRequest
}

// tooManyRegistrations says that one target is in too many groups, which is no
// reason to spare its group other targets.
const tooManyRegistrations = "TooManyRegistrationsForTargetId"

// kindOfCode lists the codes that ELBv2, its gateway and STS answer with.
var kindOfCode = map[string]Kind{
	"TargetGroupNotFound":         GroupNotFound,
	"Throttling":                  Throttled,
	"ThrottlingException":         Throttled,
	"RequestLimitExceeded":        Throttled,
	"TooManyRequestsException":    Throttled,
	"AccessDenied":                AccessDenied,
	"AccessDeniedException":       AccessDenied,
	"NotAuthorized":               AccessDenied,
	"UnauthorizedOperation":       AccessDenied,
	"OptInRequired":               AccessDenied,
	"ExpiredToken":                CredentialsInvalid,
	"ExpiredTokenException":       CredentialsInvalid,
	"IncompleteSignature":         CredentialsInvalid,
	"InvalidClientTokenId":        CredentialsInvalid,
	"MissingAuthenticationToken":  CredentialsInvalid,
	"RequestExpired":              CredentialsInvalid, // a clock that is wrong
	"SignatureDoesNotMatch":       CredentialsInvalid,
	"UnrecognizedClientException": CredentialsInvalid,
	"InvalidTarget":               InvalidTarget,
	"TooManyTargets":              TooManyTargets,
	tooManyRegistrations:          TooManyTargets,
	"HealthUnavailable":           Unavailable,
	"ServiceUnavailable":          Unavailable,
	"InternalFailure":             Unavailable,
	"RequestAbortedException":     Unavailable,
	"RequestTimeoutException":     Unavailable,
}

// zoneRequired recognises the only mark by which AWS tells that an address
// lies outside the VPC: the words of a ValidationError.
// AWS has changed these words at least twice: "must specify a valid Availability
// Zone" (2023), "Availability Zone is required for IP address" (2022, 2024).
func zoneRequired(message string) bool {
	message = strings.ToLower(message)
	return strings.Contains(message, "availability zone") &&
		(strings.Contains(message, "must specify") || strings.Contains(message, "is required"))
}
