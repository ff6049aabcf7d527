package awselb

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
)

const (
	// sessionName is the name of the assumed role's sessions, as CloudTrail shows it.
	sessionName = "tgc"
	// renewBefore is how long before they expire credentials are renewed: longer
	// than a call may take.
	renewBefore = exchangeTimeout
)

// credentials are the environment's, or those of the role that they let us
// assume. Either are cached and renewed by themselves. The calls to STS are
// retried by the SDK: they cost nothing of ELBv2's budget.
func (o Options) credentials(cfg aws.Config) aws.CredentialsProvider {
	base := source{provider: cfg.Credentials}
	if o.RoleARN == "" {
		return base
	}
	cfg.Credentials = base
	assume := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), o.RoleARN, func(a *stscreds.AssumeRoleOptions) {
		a.RoleSessionName = sessionName
		if o.ExternalID != "" {
			a.ExternalID = aws.String(o.ExternalID)
		}
	})
	cache := aws.NewCredentialsCache(assume, func(c *aws.CredentialsCacheOptions) { c.ExpiryWindow = renewBefore })
	return source{provider: cache, role: o.RoleARN}
}

// source marks the errors of a provider, so that a failure to get credentials
// can be told from a failure of the call that needed them.
type source struct {
	provider aws.CredentialsProvider
	role     string // the role that the provider assumes; empty for the environment's credentials
}

// Retrieve is aws.CredentialsProvider's.
func (s source) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := s.provider.Retrieve(ctx)
	if _, marked := errors.AsType[*sourceError](err); marked || err == nil {
		return creds, err // of the credentials that were to assume the role
	}
	return creds, &sourceError{role: s.role, err: err}
}

// sourceError is a failure to get credentials.
type sourceError struct {
	role string
	err  error
}

// Error says what failed and what to do about it.
func (e *sourceError) Error() string {
	if api, ok := errors.AsType[smithy.APIError](e.err); ok {
		return e.refused(api)
	}
	if e.unreachable() {
		return "no answer from the source of AWS credentials: " + words(e.err)
	}
	if e.role != "" {
		return fmt.Sprintf("cannot assume role %s: %v", e.role, words(e.err))
	}
	return fmt.Sprintf("no AWS credentials found: give the pod a role by EKS Pod Identity or IRSA, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (%v)", words(e.err))
}

// refused words the answer of STS, or of another source that AWS runs.
func (e *sourceError) refused(api smithy.APIError) string {
	said := fmt.Sprintf("%s (%s)", api.ErrorMessage(), api.ErrorCode())
	if api.ErrorCode() == noCode {
		said = fmt.Sprintf("HTTP %d", status(e.err))
	}
	what := "AWS gives no credentials: "
	if e.role != "" {
		what = "cannot assume role " + e.role + ": "
	}
	return what + said + e.remedy(api)
}

func (e *sourceError) remedy(api smithy.APIError) string {
	switch {
	case e.kind() == elb.Unavailable:
		return "" // it passes
	case e.role == "":
		return "; check the role of the pod or instance, and whom its trust policy names"
	case elb.ErrorCode(api.ErrorCode(), api.ErrorMessage(), 0) == elb.CredentialsInvalid:
		return "; renew the credentials to assume it with"
	}
	return "; its trust policy must allow sts:AssumeRole to the caller, with the same external id if it asks for one"
}

// Unwrap gives the cause.
func (e *sourceError) Unwrap() error { return e.err }

// kind is Unreachable or Unavailable when trying again may help. A throttle of
// STS is Unavailable too: it is none of ELBv2's budget.
func (e *sourceError) kind() elb.Kind {
	if api, ok := errors.AsType[smithy.APIError](e.err); ok {
		switch elb.ErrorCode(api.ErrorCode(), api.ErrorMessage(), status(e.err)) {
		case elb.Throttled, elb.Unavailable:
			return elb.Unavailable
		}
		return elb.CredentialsInvalid
	}
	if e.unreachable() {
		return elb.Unreachable
	}
	return elb.CredentialsInvalid
}

// unreachable tells whether STS or another service that was configured did not
// answer. Instance metadata are no such service: they are the last resort that is
// tried when nothing was configured.
func (e *sourceError) unreachable() bool {
	call, ok := errors.AsType[*smithy.OperationError](e.err)
	return ok && call.Service() != metadataService && unanswered(e.err)
}

const metadataService = "ec2imds"
