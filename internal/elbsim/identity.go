package elbsim

import (
	"net/http"
	"slices"
	"strings"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// signingName is the service that requests must be signed for.
const signingName = "elasticloadbalancing"

// identity tells whose call it is, in which region, and whether AWS would take
// its credentials. The signature itself is not verified: the simulator has no
// secrets to do so with.
func (s Settings) identity(header http.Header) (at scope, refusal error) {
	at = scope{account: DefaultAccount, region: DefaultRegion}
	authorization := header.Get("Authorization")
	if authorization == "" {
		return at, forbidden("MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	parts, valid := credentialScope(authorization)
	if !valid {
		return at, forbidden("IncompleteSignature", "Authorization header must hold AWS4-HMAC-SHA256 with Credential, SignedHeaders and Signature")
	}
	at.region = parts[2]
	if parts[3] != signingName {
		return at, forbidden("SignatureDoesNotMatch", "Credential should be scoped to correct service: '"+signingName+"'.")
	}
	return s.known(at, parts[0], header.Get("X-Amz-Security-Token"))
}

// credentialScope takes KEY/DATE/REGION/SERVICE/aws4_request out of a SigV4
// Authorization header.
func credentialScope(authorization string) (parts []string, valid bool) {
	rest, signed := strings.CutPrefix(authorization, "AWS4-HMAC-SHA256 ")
	if !signed {
		return nil, false
	}
	fields := map[string]string{}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	if fields["SignedHeaders"] == "" || fields["Signature"] == "" {
		return nil, false
	}
	parts = strings.Split(fields["Credential"], "/")
	return parts, len(parts) == 5 && parts[4] == "aws4_request" && !slices.Contains(parts, "")
}

// known looks an access key up among those that are listed.
func (s Settings) known(at scope, accessKey, sessionToken string) (scope, error) {
	for _, credential := range s.Credentials {
		if credential.AccessKey != accessKey {
			continue
		}
		if credential.Account != "" {
			at.account = credential.Account
		}
		if sessionToken != "" && slices.Contains(credential.ExpiredTokens, sessionToken) {
			return at, forbidden("ExpiredToken", "The security token included in the request is expired")
		}
		return at, nil
	}
	if len(s.Credentials) > 0 {
		return at, forbidden("InvalidClientTokenId", "The security token included in the request is invalid.")
	}
	return at, nil
}

func forbidden(code, message string) error {
	return &model.Error{Code: code, Message: message, Status: 403}
}
