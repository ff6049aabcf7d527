package awselb

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb"
)

func TestEveryRefusalHasItsKindAndIsOneRequest(t *testing.T) {
	for _, c := range []struct {
		code, message string
		status        int
		want          elb.Kind
	}{
		{"TargetGroupNotFound", "One or more target groups not found", 400, elb.GroupNotFound},
		{"TooManyTargets", "The maximum number of targets was reached", 400, elb.TooManyTargets},
		{"TooManyRegistrationsForTargetId", "too often", 400, elb.TooManyTargets},
		{"InvalidTarget", "The following targets are not in a running state", 400, elb.InvalidTarget},
		{"ValidationError", "You must specify an Availability Zone for 192.168.0.1", 400, elb.ZoneRequired},
		{"ValidationError", "1 validation error detected", 400, elb.InvalidRequest},
		{"Throttling", "Rate exceeded", 400, elb.Throttled},
		{"ThrottlingException", "Rate exceeded", 400, elb.Throttled},
		{"AccessDenied", "User is not authorized", 403, elb.AccessDenied},
		{"AccessDeniedException", "User is not authorized", 400, elb.AccessDenied},
		{"ExpiredToken", "The security token included in the request is expired", 403, elb.CredentialsInvalid},
		{"InvalidClientTokenId", "The security token included in the request is invalid", 403, elb.CredentialsInvalid},
		{"SignatureDoesNotMatch", "The signature does not match", 403, elb.CredentialsInvalid},
		{"HealthUnavailable", "The health is not available", 500, elb.Unavailable},
		{"InternalFailure", "An internal failure", 500, elb.Unavailable},
		{"ServiceUnavailable", "Busy", 503, elb.Unavailable},
		{"SomethingNew", "Surprise", 400, elb.InvalidRequest},
		{"SomethingNew", "Surprise", 502, elb.Unavailable},
	} {
		t.Run(c.code, func(t *testing.T) {
			e := serve(t)
			t.Setenv("AWS_MAX_ATTEMPTS", "5") // must not bring retries back
			e.answer("RegisterTargets", refuse(c.code, c.message, c.status))
			err := e.client(t, Options{}).RegisterTargets(t.Context(), group, threeTargets)
			got, ok := errors.AsType[*elb.Error](err)
			if !ok {
				t.Fatalf("got %v, want an *elb.Error", err)
			}
			if got.Kind != c.want || got.Code != c.code || got.Message != c.message || got.Op != "RegisterTargets" {
				t.Errorf("got %+v, want kind %s", got, c.want)
			}
			if got.RequestID != "f9880f01-7852-629d-a6c3-3ae2-666a409287e6dc0c" {
				t.Errorf("request id %q", got.RequestID)
			}
			if n := len(e.requests("RegisterTargets")); n != 1 {
				t.Errorf("%d requests were made, want 1", n)
			}
		})
	}
}

func TestEveryCallTellsItsError(t *testing.T) {
	e := serve(t)
	for _, action := range []string{"RegisterTargets", "DeregisterTargets", "DescribeTargetHealth", "DescribeTargetGroups"} {
		e.answer(action, refuse("Throttling", "Rate exceeded", 400))
	}
	c := e.client(t, Options{})
	_, health := c.TargetHealth(t.Context(), group)
	_, groups := c.TargetGroups(t.Context(), elb.GroupQuery{Names: []string{"web"}})
	for _, got := range []struct {
		err  error
		want string
	}{
		{c.RegisterTargets(t.Context(), group, threeTargets), "RegisterTargets: Throttled (Throttling): Rate exceeded"},
		{c.DeregisterTargets(t.Context(), group, threeTargets), "DeregisterTargets: Throttled (Throttling): Rate exceeded"},
		{health, "DescribeTargetHealth: Throttled (Throttling): Rate exceeded"},
		{groups, "DescribeTargetGroups: Throttled (Throttling): Rate exceeded"},
	} {
		if got.err == nil || got.err.Error() != got.want {
			t.Errorf("got  %v\nwant %s", got.err, got.want)
		}
	}
}

func TestAnswersThatAreNotOfAWS(t *testing.T) {
	for _, c := range []struct {
		name    string
		answer  http.HandlerFunc
		kind    elb.Kind
		message string
	}{
		{"gateway", page(502, "<html><body>Bad Gateway</body></html>"), elb.Unavailable, "HTTP 502 Bad Gateway, not in AWS's form"},
		{"empty", page(503, ""), elb.Unavailable, "HTTP 503 Service Unavailable, not in AWS's form"},
		{"proxy", page(403, "<html><body><p>Blocked</body></html>"), elb.Unreachable, "HTTP 403 Forbidden, not in AWS's form: is there a proxy on the way?"},
		{
			"portal", page(200, "welcome to the airport"), elb.Unreachable,
			`HTTP 200 with 22 bytes of "text/html", not in AWS's form: is the endpoint one of ELBv2?`,
		},
		{
			"nothing", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/xml") }, elb.Unreachable,
			`HTTP 200 with 0 bytes of "text/xml", not in AWS's form: is the endpoint one of ELBv2?`,
		},
		{
			"elsewhere", http.RedirectHandler("https://example.com/", http.StatusFound).ServeHTTP, elb.Unreachable,
			"HTTP 302 Found, not in AWS's form: is there a proxy on the way?",
		},
		{"cut off", cutOff, elb.Unreachable, ""},
		{"closed", hangUp, elb.Unreachable, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := serve(t)
			e.answer("DescribeTargetHealth", c.answer)
			_, err := e.client(t, Options{}).TargetHealth(t.Context(), group)
			got, ok := errors.AsType[*elb.Error](err)
			if !ok || got.Kind != c.kind || got.Code != "" || got.Message == "" {
				t.Fatalf("got %+v, want kind %s", got, c.kind)
			}
			if c.message != "" && got.Message != c.message {
				t.Errorf("got  %s\nwant %s", got.Message, c.message)
			}
			if n := len(e.requests("DescribeTargetHealth")); n != 1 {
				t.Errorf("%d requests were made, want 1", n)
			}
		})
	}
}

func cutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte("<DescribeTargetHealthResponse><DescribeTargetHealthResult>"))
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestNobodyListens(t *testing.T) {
	serve(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	c, err := New(t.Context(), Options{Region: group.Region, Endpoint: gone.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.TargetHealth(t.Context(), group)
	host := strings.TrimPrefix(gone.URL, "http://")
	want := `DescribeTargetHealth: Unreachable: no answer: Post "` + gone.URL + `/": dial tcp ` + host + `: connect: connection refused`
	if elb.KindOf(err) != elb.Unreachable || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// hang starts an endpoint whose action does not answer before the test is over,
// and tells when it was asked.
func hang(t *testing.T, action string) (*endpoint, chan struct{}) {
	e := serve(t)
	asked, over := make(chan struct{}, 100), make(chan struct{})
	t.Cleanup(func() { close(over) })
	e.answer(action, func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-over
	})
	return e, asked
}

func TestEndedContextEndsACallThatHangs(t *testing.T) {
	e, asked := hang(t, "RegisterTargets")
	c := e.client(t, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() { done <- c.RegisterTargets(ctx, group, threeTargets) }()
	<-asked
	cancel(errors.New("the pod is gone"))
	err := <-done
	want := "RegisterTargets: Unreachable: no answer before the call was given up: the pod is gone"
	if elb.KindOf(err) != elb.Unreachable || !errors.Is(err, context.Canceled) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestDeadlineEndsACallThatHangs(t *testing.T) {
	e, _ := hang(t, "DescribeTargetHealth")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := e.client(t, Options{}).TargetHealth(ctx, group)
	if elb.KindOf(err) != elb.Unreachable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestEndedContextMakesNoRequest(t *testing.T) {
	e := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.client(t, Options{}).TargetHealth(ctx, group)
	if elb.KindOf(err) != elb.Unreachable || len(e.requests("DescribeTargetHealth")) != 0 {
		t.Errorf("got %v", err)
	}
}
