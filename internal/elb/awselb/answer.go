package awselb

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// onlyAWS refuses answers that cannot be AWS's. The SDK takes any body that is not
// XML for an empty answer: behind an endpoint that is somebody else's web server,
// targets would seem registered, and groups empty.
func onlyAWS(o *elbv2.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("onlyAWS", refuseForeign), middleware.After)
	})
}

func refuseForeign(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
	middleware.DeserializeOutput, middleware.Metadata, error,
) {
	out, metadata, err := next.HandleDeserialize(ctx, in)
	response, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok || response.StatusCode >= http.StatusMultipleChoices {
		return out, metadata, err // errors are told apart where they are read
	}
	kind := response.Header.Get("Content-Type")
	if response.ContentLength == 0 || !strings.Contains(kind, "xml") {
		err = fmt.Errorf("HTTP %d with %d bytes of %q, not in AWS's form: is the endpoint one of ELBv2?",
			response.StatusCode, response.ContentLength, kind)
	}
	return out, metadata, err
}
