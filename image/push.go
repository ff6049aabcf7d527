package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Push puts an image, or an index with all that it names, into a registry, under a
// name with a tag, such as registry.example:5000/tgc:v1. What the registry has already
// is not sent again. Credentials are those of docker login. Registries on loopback and
// private addresses are spoken to without TLS.
func Push(ctx context.Context, to string, image remote.Taggable) error {
	tag, err := name.NewTag(to, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("%q is no name to push to, such as registry.example/tgc:v1: %w", to, err)
	}
	err = remote.Push(tag, image, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return fmt.Errorf("push to %s: %w%s", to, err, remedy(err))
	}
	return nil
}

// remedy is what to do about a refusal.
func remedy(err error) string {
	refusal, is := errors.AsType[*transport.Error](err)
	switch {
	case !is:
		return ""
	case refusal.StatusCode == http.StatusUnauthorized:
		return " (log in with docker login or crane auth login, which write ~/.docker/config.json, or set DOCKER_CONFIG)"
	case refusal.StatusCode == http.StatusForbidden:
		return " (who is logged in may not push to this name)"
	case refusal.StatusCode == http.StatusNotFound:
		return " (there is no such repository; some registries want it made first)"
	}
	return ""
}
