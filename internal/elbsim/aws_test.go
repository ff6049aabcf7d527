package elbsim

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// wire is a simulator behind an HTTP server, with one group named web.
type wire struct {
	sim *Sim
	url string
	arn string
}

func newWire(t *testing.T, settings *Settings) wire {
	t.Helper()
	sim := must(New(Options{Settings: settings}))(t)
	arn := must(sim.PlantGroup(SeedGroup{Name: "web", LoadBalancer: "front"}))(t)
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	return wire{sim: sim, url: server.URL, arn: arn.String()}
}

// authorization is a SigV4 header of that key for that service.
func authorization(key, service string) string {
	return "AWS4-HMAC-SHA256 Credential=" + key + "/20260101/eu-central-1/" + service +
		"/aws4_request, SignedHeaders=host;x-amz-date, Signature=abc"
}

// post makes a call as it stands and gives status and body.
func (w wire) post(t *testing.T, header http.Header, form string) (status int, body string) {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/", strings.NewReader(form)))(t)
	r.Header = header
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response := must(http.DefaultClient.Do(r))(t)
	defer response.Body.Close()
	return response.StatusCode, string(must(io.ReadAll(response.Body))(t))
}

func signed(key string) http.Header {
	return http.Header{"Authorization": {authorization(key, signingName)}}
}

func TestRefusalsOfTheWire(t *testing.T) {
	settings := DefaultSettings()
	settings.Credentials = []Credential{{AccessKey: "AKID", Account: "210987654321", ExpiredTokens: []string{"old"}}}
	settings.Deny = []string{"CreateTargetGroup"}
	w := newWire(t, &settings)
	expired := signed("AKID")
	expired.Set("X-Amz-Security-Token", "old")
	describe := "Action=DescribeTargetGroups&Version=2015-12-01"
	tests := []struct {
		name   string
		header http.Header
		form   string
		status int
		code   string
	}{
		{"no signature", http.Header{}, describe, 403, "MissingAuthenticationToken"},
		{"not a signature", http.Header{"Authorization": {"Basic abc"}}, describe, 403, "IncompleteSignature"},
		{"half a signature", http.Header{"Authorization": {"AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request"}}, describe, 403, "IncompleteSignature"},
		{"other service", http.Header{"Authorization": {authorization("AKID", "ec2")}}, describe, 403, "SignatureDoesNotMatch"},
		{"unknown key", signed("OTHER"), describe, 403, "InvalidClientTokenId"},
		{"expired token", expired, describe, 403, "ExpiredToken"},
		{"denied", signed("AKID"), "Action=CreateTargetGroup&Version=2015-12-01", 403, "AccessDenied"},
		{"no action", signed("AKID"), "Version=2015-12-01", 400, "MissingAction"},
		{"unknown action", signed("AKID"), "Action=FlyToTheMoon&Version=2015-12-01", 400, "InvalidAction"},
		{"other version", signed("AKID"), "Action=DescribeTargetGroups&Version=2012-06-01", 400, "InvalidAction"},
		{"not a form", signed("AKID"), "%zz", 400, "MalformedInput"},
		{"no group", signed("AKID"), "Action=RegisterTargets&Version=2015-12-01", 400, "ValidationError"},
		{"no target", signed("AKID"), "Action=RegisterTargets&Version=2015-12-01&TargetGroupArn=x", 400, "ValidationError"},
		{"bad port", signed("AKID"), "Action=RegisterTargets&Version=2015-12-01&TargetGroupArn=x&Targets.member.1.Id=10.0.0.1&Targets.member.1.Port=0", 400, "ValidationError"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, body := w.post(t, test.header, test.form)
			if status != test.status || !strings.Contains(body, "<Code>"+test.code+"</Code>") || !strings.Contains(body, "<Type>Sender</Type>") {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
	calls := w.sim.Calls()
	if len(calls) != len(tests) || calls[6].Account != "210987654321" || calls[6].Action != "CreateTargetGroup" {
		t.Errorf("%d calls in the log: %+v", len(calls), calls[6])
	}
}

func TestAnswersHaveTheFormOfAWS(t *testing.T) {
	w := newWire(t, nil)
	status, body := w.post(t, signed("AKID"), "Action=DescribeTargetHealth&Version=2015-12-01&TargetGroupArn="+url.QueryEscape(w.arn))
	for _, part := range []string{
		`<DescribeTargetHealthResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">`,
		"<DescribeTargetHealthResult><TargetHealthDescriptions></TargetHealthDescriptions></DescribeTargetHealthResult>",
		"<ResponseMetadata><RequestId>" + w.sim.Calls()[0].RequestID + "</RequestId></ResponseMetadata></DescribeTargetHealthResponse>",
	} {
		if status != http.StatusOK || !strings.Contains(body, part) {
			t.Errorf("%d, no %s in %s", status, part, body)
		}
	}
}

func TestOtherMethodsAndPathsAreRefused(t *testing.T) {
	w := newWire(t, nil)
	for _, path := range []string{"/", "/elsewhere"} {
		r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, nil))(t)
		response := must(http.DefaultClient.Do(r))(t)
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, response.StatusCode)
		}
		response.Body.Close()
	}
}

func TestBodiesAreBounded(t *testing.T) {
	w := newWire(t, nil)
	if status, _ := w.post(t, signed("AKID"), strings.Repeat("a", maxBody+1)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", status)
	}
}
