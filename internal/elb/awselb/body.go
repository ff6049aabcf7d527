package awselb

import (
	"context"
	"io"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// readOnlyBody leaves net/http no way to a request's body but Read. The SDK closes
// the body as soon as an answer begins, while net/http may still have to find out
// that the body has ended. Read tells it so, but the SDK's WriteTo of a closed body
// fails: net/http would take the request for broken off and close the connection,
// and the answer would be lost.
func readOnlyBody(stack *middleware.Stack) error {
	return stack.Build.Add(middleware.BuildMiddlewareFunc("ReadOnlyBody", hideWriteTo), middleware.After)
}

func hideWriteTo(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (
	middleware.BuildOutput, middleware.Metadata, error,
) {
	if request, is := in.Request.(*smithyhttp.Request); is {
		if body, seekable := request.GetStream().(io.ReadSeeker); seekable {
			plain, err := request.SetStream(struct{ io.ReadSeeker }{body})
			if err != nil {
				return middleware.BuildOutput{}, middleware.Metadata{}, err
			}
			in.Request = plain
		}
	}
	return next.HandleBuild(ctx, in)
}
