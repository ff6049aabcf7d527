package awselb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
)

const role = "arn:aws:iam::444455556666:role/targets"

// session answers AssumeRole with credentials whose access key tells the external
// id they were given for.
func session(lifetime time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		xml(r.PostForm.Get("Action"), fmt.Sprintf(`<Credentials><AccessKeyId>ASIA-%s</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>token</SessionToken><Expiration>%s</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::444455556666:assumed-role/targets/tgc</Arn><AssumedRoleId>AROA:tgc</AssumedRoleId></AssumedRoleUser>`,
			r.PostForm.Get("ExternalId"), time.Now().Add(lifetime).UTC().Format(time.RFC3339)))(w, r)
	}
}

func serveHealth(t *testing.T) *endpoint {
	e := serve(t)
	e.answer("DescribeTargetHealth", xml("DescribeTargetHealth", "<TargetHealthDescriptions/>"))
	return e
}

func TestAssumedRole(t *testing.T) {
	e := serveHealth(t)
	e.answer("AssumeRole", session(time.Hour))
	c := e.client(t, Options{RoleARN: role, ExternalID: "x1", Version: "1.2.3"})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.TargetHealth(t.Context(), group); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	assumed := e.requests("AssumeRole")
	if len(assumed) != 1 {
		t.Fatalf("%d calls of AssumeRole for 20 calls, want 1", len(assumed))
	}
	for field, want := range map[string]string{"RoleArn": role, "ExternalId": "x1", "RoleSessionName": "tgc"} {
		if got := assumed[0].Form.Get(field); got != want {
			t.Errorf("%s %q, want %q", field, got, want)
		}
	}
	if auth := assumed[0].Header.Get("Authorization"); !strings.Contains(auth, "AKIDEXAMPLE") {
		t.Errorf("AssumeRole is signed as %q, want the environment's credentials", auth)
	}
	if auth := e.requests("DescribeTargetHealth")[0].Header.Get("Authorization"); !strings.Contains(auth, "ASIA-x1") {
		t.Errorf("the call is signed as %q, want the role's credentials", auth)
	}
}

func TestExternalIDsHaveCredentialsOfTheirOwn(t *testing.T) {
	e := serveHealth(t)
	e.answer("AssumeRole", session(time.Hour))
	for _, id := range []string{"x1", "x2", ""} {
		if _, err := e.client(t, Options{RoleARN: role, ExternalID: id}).TargetHealth(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	asked := e.requests("DescribeTargetHealth")
	for i, want := range []string{"ASIA-x1/", "ASIA-x2/", "ASIA-/"} {
		if auth := asked[i].Header.Get("Authorization"); !strings.Contains(auth, want) {
			t.Errorf("call %d is signed as %q, want %s", i, auth, want)
		}
	}
	if _, sent := e.requests("AssumeRole")[2].Form["ExternalId"]; sent {
		t.Error("an external id was sent where none is set")
	}
}

func TestCredentialsAreRenewedBeforeTheyExpire(t *testing.T) {
	e := serveHealth(t)
	e.answer("AssumeRole", session(renewBefore/2))
	c := e.client(t, Options{RoleARN: role})
	for range 2 {
		if _, err := c.TargetHealth(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(e.requests("AssumeRole")); n != 2 {
		t.Errorf("%d calls of AssumeRole, want 2", n)
	}
}

func TestRefusedRole(t *testing.T) {
	const caller = "User: arn:aws:sts::111122223333:assumed-role/pod/x is not authorized to perform: sts:AssumeRole on resource: " + role
	for _, c := range []struct {
		code, said string
		status     int
		kind       elb.Kind
		want       string
	}{
		{
			"AccessDenied", caller, 403, elb.CredentialsInvalid,
			"cannot assume role " + role + ": " + caller + " (AccessDenied); its trust policy must allow sts:AssumeRole to the caller, with the same external id if it asks for one",
		},
		{
			"ExpiredToken", "The security token included in the request is expired", 403, elb.CredentialsInvalid,
			"cannot assume role " + role + ": The security token included in the request is expired (ExpiredToken); renew the credentials to assume it with",
		},
		{"RegionDisabledException", "STS is not activated in this region", 403, elb.CredentialsInvalid, "cannot assume role " + role + ": STS is not activated"},
		{"ServiceUnavailable", "Busy", 503, elb.Unavailable, "cannot assume role " + role + ": Busy (ServiceUnavailable)"},
	} {
		t.Run(c.code, func(t *testing.T) {
			e := serveHealth(t)
			t.Setenv("AWS_MAX_ATTEMPTS", "1") // of STS, so that the test need not wait
			e.answer("AssumeRole", refuse(c.code, c.said, c.status))
			_, err := e.client(t, Options{RoleARN: role}).TargetHealth(t.Context(), group)
			got, ok := errors.AsType[*elb.Error](err)
			if !ok || got.Kind != c.kind || got.Code != "" || !strings.HasPrefix(got.Message, c.want) {
				t.Errorf("got  %+v\nwant %s %s", got, c.kind, c.want)
			}
			if n := len(e.requests("DescribeTargetHealth")); n != 0 {
				t.Errorf("%d calls without credentials", n)
			}
		})
	}
}

func TestThrottledSTSIsNotElbsBudget(t *testing.T) {
	e := serveHealth(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	e.answer("AssumeRole", refuse("Throttling", "Rate exceeded", 400))
	_, err := e.client(t, Options{RoleARN: role}).TargetHealth(t.Context(), group)
	if elb.KindOf(err) != elb.Unavailable {
		t.Errorf("got %v", err)
	}
}

func TestHangingSTSEndsWithTheContext(t *testing.T) {
	e, asked := hang(t, "AssumeRole")
	c := e.client(t, Options{RoleARN: role})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.TargetHealth(ctx, group)
		done <- err
	}()
	<-asked
	cancel()
	if err := <-done; elb.KindOf(err) != elb.Unreachable || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestProxyInsteadOfSTS(t *testing.T) {
	e := serveHealth(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	e.answer("AssumeRole", page(502, ""))
	_, err := e.client(t, Options{RoleARN: role}).TargetHealth(t.Context(), group)
	if elb.KindOf(err) != elb.Unavailable || !strings.HasSuffix(err.Error(), "cannot assume role "+role+": HTTP 502") {
		t.Errorf("got %v", err)
	}
}

func TestUnreachableSTS(t *testing.T) {
	e := serveHealth(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	e.answer("AssumeRole", hangUp)
	_, err := e.client(t, Options{RoleARN: role}).TargetHealth(t.Context(), group)
	want := `DescribeTargetHealth: Unreachable: no answer from the source of AWS credentials: Post "` + e.URL + `/": EOF`
	if elb.KindOf(err) != elb.Unreachable || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestNoCredentials(t *testing.T) {
	for _, options := range []Options{{}, {RoleARN: role}} {
		e := serveHealth(t)
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		_, err := e.client(t, options).TargetHealth(t.Context(), group)
		want := "DescribeTargetHealth: CredentialsInvalid: no AWS credentials found: give the pod a role by EKS Pod Identity or IRSA, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
		if elb.KindOf(err) != elb.CredentialsInvalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if strings.Contains(err.Error(), "failed to refresh") || strings.Contains(err.Error(), "operation error") {
			t.Errorf("the SDK's inner steps are in the message: %v", err)
		}
	}
}

func TestRoleOfTheServiceAccount(t *testing.T) {
	e := serveHealth(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("jwt-of-the-pod"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
	t.Setenv("AWS_ROLE_ARN", role)

	e.answer("AssumeRoleWithWebIdentity", session(time.Hour))
	if _, err := e.client(t, Options{}).TargetHealth(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if auth := e.requests("DescribeTargetHealth")[0].Header.Get("Authorization"); !strings.Contains(auth, "ASIA-") {
		t.Errorf("the call is signed as %q", auth)
	}

	e.answer("AssumeRoleWithWebIdentity", refuse("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", 403))
	_, err := e.client(t, Options{}).TargetHealth(t.Context(), group)
	want := "DescribeTargetHealth: CredentialsInvalid: AWS gives no credentials: Not authorized to perform sts:AssumeRoleWithWebIdentity (AccessDenied); check the role of the pod or instance, and whom its trust policy names"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if strings.Contains(err.Error(), "jwt-of-the-pod") {
		t.Error("the token is in the message")
	}
}

func TestNoSecretInAnyError(t *testing.T) {
	e := serve(t)
	t.Setenv("AWS_SESSION_TOKEN", "FwoGZXIvYXdzEXAMPLE")
	e.answer("DescribeTargetHealth", refuse("SignatureDoesNotMatch", "The signature does not match", 403))
	_, err := e.client(t, Options{}).TargetHealth(t.Context(), group)
	for _, secret := range []string{"wJalrXUtnFEMI", "FwoGZXIvYXdzEXAMPLE"} {
		if strings.Contains(fmt.Sprintf("%v %+v", err, errors.Unwrap(err)), secret) {
			t.Errorf("%q is in %v", secret, err)
		}
	}
}
