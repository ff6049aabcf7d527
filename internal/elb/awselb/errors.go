package awselb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
)

// noCode is what the SDK gives as the code of an answer that has none.
const noCode = "UnknownError"

// failure makes an *elb.Error of an error of the SDK, nil of nil. Its message is
// for people; the SDK's chain stays reachable by errors.Is and errors.As.
func failure(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	e := &elb.Error{Op: op, RequestID: requestID(err), Err: err}
	e.Kind, e.Code, e.Message = judge(ctx, err)
	return e
}

// judge finds the kind of an error, AWS's code if ELBv2 answered, and the words for it.
func judge(ctx context.Context, err error) (kind elb.Kind, code, message string) {
	source, fromSource := errors.AsType[*sourceError](err)
	api, answered := errors.AsType[smithy.APIError](err)
	switch {
	case !answered && ctx.Err() != nil:
		return elb.Unreachable, "", "no answer before the call was given up: " + context.Cause(ctx).Error()
	case fromSource:
		return source.kind(), "", source.Error()
	case answered && api.ErrorCode() != noCode:
		return elb.ErrorCode(api.ErrorCode(), api.ErrorMessage(), status(err)), api.ErrorCode(), api.ErrorMessage()
	case unanswered(err):
		return elb.Unreachable, "", "no answer: " + words(err)
	}
	return unreadable(err)
}

// unreadable is the verdict on an answer that is not in AWS's form: a proxy's
// page, or one that was cut off.
func unreadable(err error) (kind elb.Kind, code, message string) {
	switch s := status(err); {
	case s >= http.StatusInternalServerError:
		return elb.Unavailable, "", fmt.Sprintf("HTTP %d %s, not in AWS's form", s, http.StatusText(s))
	case s >= http.StatusMultipleChoices:
		return elb.Unreachable, "", fmt.Sprintf("HTTP %d %s, not in AWS's form: is there a proxy on the way?", s, http.StatusText(s))
	}
	return elb.Unreachable, "", words(err)
}

// unanswered tells whether no HTTP answer came.
func unanswered(err error) bool {
	_, ok := errors.AsType[*smithyhttp.RequestSendError](err)
	return ok
}

// status is the HTTP status of the answer that err tells of; 0 for none.
func status(err error) int {
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return response.HTTPStatusCode()
	}
	return 0
}

func requestID(err error) string {
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return response.RequestID
	}
	return ""
}

// words are the plainest that a chain holds: the request and why it failed, else
// the cause at the bottom. The SDK's layers around them name its own inner steps,
// which help nobody who reads a condition.
func words(err error) string {
	if request, ok := errors.AsType[*url.Error](err); ok {
		return request.Error()
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
