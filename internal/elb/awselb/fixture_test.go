package awselb

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// group is the target group of these tests.
var group = target.ARN{Partition: "aws", Region: "eu-central-1", Account: "111122223333", Name: "web", ID: "0123456789abcdef"}

// endpoint is a server in the place of ELBv2 and STS. It answers each action with
// what was set for it, and keeps what it was asked.
type endpoint struct {
	URL string

	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	asked   []request
}

// request is what the endpoint was sent.
type request struct {
	Form   url.Values
	Header http.Header
	Method string
	Path   string
	Remote string
}

// isolate clears the environment of everything by which the machine could tell
// the SDK where to call and as whom, and sets a key.
func isolate(t *testing.T) {
	t.Helper()
	nowhere := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI", "AWS_SESSION_TOKEN": "",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_DEFAULT_PROFILE": "",
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere,
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_ROLE_ARN": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_ENDPOINT_URL": "", "AWS_MAX_ATTEMPTS": "",
		"AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2": "", "AWS_ENDPOINT_URL_STS": "", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
}

// serve starts an endpoint in an isolated environment.
func serve(t *testing.T) *endpoint {
	t.Helper()
	isolate(t)
	e := &endpoint{answers: map[string]http.HandlerFunc{}}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	e.URL = server.URL
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := e.note(r)
	if answer == nil {
		refuse("UnknownOperationException", "no answer was set", http.StatusBadRequest)(w, r)
		return
	}
	answer(w, r)
}

func (e *endpoint) note(r *http.Request) http.HandlerFunc {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, request{Form: r.PostForm, Header: r.Header, Method: r.Method, Path: r.URL.Path, Remote: r.RemoteAddr})
	return e.answers[r.PostForm.Get("Action")]
}

// answer sets what an action is answered with.
func (e *endpoint) answer(action string, handler http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answers[action] = handler
}

// requests are those of the action.
func (e *endpoint) requests(action string) []request {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []request
	for _, r := range e.asked {
		if r.Form.Get("Action") == action {
			list = append(list, r)
		}
	}
	return list
}

// connections is how many there have been.
func (e *endpoint) connections() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	remotes := map[string]bool{}
	for _, r := range e.asked {
		remotes[r.Remote] = true
	}
	return len(remotes)
}

// client makes a client of the endpoint.
func (e *endpoint) client(t *testing.T, o Options) *Client {
	t.Helper()
	o.Endpoint = e.URL
	if o.Region == "" {
		o.Region = group.Region
	}
	c, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// xml answers in the form of the query protocol.
func xml(action, result string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<%sResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
<%sResult>%s</%sResult>
<ResponseMetadata><RequestId>6d9f5a4e-0000-11e5-8f4b-4d0ea0f5d6f1</RequestId></ResponseMetadata>
</%sResponse>`, action, action, result, action, action)
	}
}

// refuse answers as AWS does when it does not do what was asked.
func refuse(code, message string, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<ErrorResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
<Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error>
<RequestId>f9880f01-7852-629d-a6c3-3ae2-666a409287e6dc0c</RequestId>
</ErrorResponse>`, code, message)
	}
}

// page answers with something that is not of AWS.
func page(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}
