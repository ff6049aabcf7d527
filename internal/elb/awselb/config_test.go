package awselb

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRegionMissing(t *testing.T) {
	serve(t)
	want := "no AWS region: give --region, set AWS_REGION, or name the target group by ARN, which holds the region"
	if _, err := New(t.Context(), Options{}); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := Region(t.Context()); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestRegionComesFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("[default]\nregion = ap-south-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, variable, value, want string }{
		{"environment", "AWS_REGION", "us-east-2", "us-east-2"},
		{"old environment", "AWS_DEFAULT_REGION", "us-west-1", "us-west-1"},
		{"shared configuration", "AWS_CONFIG_FILE", file, "ap-south-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := serveHealth(t)
			t.Setenv(c.variable, c.value)
			if got, err := Region(t.Context()); got != c.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
			client, err := New(t.Context(), Options{Endpoint: e.URL})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.TargetHealth(t.Context(), group); err != nil {
				t.Fatal(err)
			}
			if auth := e.requests("DescribeTargetHealth")[0].Header.Get("Authorization"); !strings.Contains(auth, c.want) {
				t.Errorf("signed for %q, want %s", auth, c.want)
			}
		})
	}
}

// metadata starts a server in the place of the instance's metadata.
func metadata(t *testing.T, handler http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
}

func TestRegionFromTheInstance(t *testing.T) {
	serve(t)
	metadata(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
			_, _ = io.WriteString(w, "token")
		case strings.HasSuffix(r.URL.Path, "/instance-identity/document"):
			_, _ = io.WriteString(w, `{"region": "sa-east-1"}`)
		default:
			http.NotFound(w, r)
		}
	})
	if got, err := Region(t.Context()); got != "sa-east-1" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// Metadata that never answer are what a pod sees on a node that keeps pods from them.
func TestRegionDoesNotWaitLongForTheInstance(t *testing.T) {
	serve(t)
	over := make(chan struct{})
	metadata(t, func(http.ResponseWriter, *http.Request) { <-over })
	t.Cleanup(func() { close(over) })
	start := time.Now()
	_, err := Region(t.Context())
	t.Logf("gave up after %v", time.Since(start))
	if err == nil {
		t.Error("found a region nowhere")
	}
}

func TestRegionEndsWithTheContext(t *testing.T) {
	serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	metadata(t, func(http.ResponseWriter, *http.Request) {
		cancel()
		<-over
	})
	t.Cleanup(func() { close(over) })
	if _, err := Region(ctx); err == nil {
		t.Error("found a region nowhere")
	}
}

func TestEndpointVariables(t *testing.T) {
	for _, variable := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2"} {
		t.Run(variable, func(t *testing.T) {
			e := serveHealth(t)
			t.Setenv(variable, e.URL)
			client, err := New(t.Context(), Options{Region: group.Region})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.TargetHealth(t.Context(), group); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	serve(t)
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{RoleARN: "targets"}, `role "targets": want an ARN such as arn:aws:iam::111122223333:role/NAME`},
		{Options{Region: "eu central"}, `region "eu central": want one such as eu-central-1`},
		{Options{ExternalID: "x"}, "external id without a role: it has a meaning only when a role is assumed"},
	} {
		if _, err := New(t.Context(), c.options); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

func TestBrokenConfigurationIsTold(t *testing.T) {
	serve(t)
	t.Setenv("AWS_PROFILE", "missing")
	_, err := New(t.Context(), Options{Region: group.Region})
	if err == nil || !strings.HasPrefix(err.Error(), "AWS configuration: ") || !strings.Contains(err.Error(), "missing") {
		t.Errorf("got %v", err)
	}
}

// A full bucket of the call budget leaves at once, and again a few seconds later:
// the second burst must find the connections of the first.
func TestBurstsReuseConnections(t *testing.T) {
	e := serve(t)
	c := e.client(t, Options{})
	known := 0
	for range 100 { // a connection that is just being put back may be missed
		burst(t, e, c, 40)
		opened := e.connections() - known
		if known > 0 && opened == 0 {
			return
		}
		known += opened
	}
	t.Errorf("%d connections, and no burst without new ones", known)
}

// burst makes n calls that are all under way at the same time.
func burst(t *testing.T, e *endpoint, c *Client, n int) {
	var arrived, answered sync.WaitGroup
	arrived.Add(n)
	e.answer("DescribeTargetHealth", func(w http.ResponseWriter, r *http.Request) {
		arrived.Done()
		arrived.Wait()
		xml("DescribeTargetHealth", "<TargetHealthDescriptions/>")(w, r)
	})
	for range n {
		answered.Go(func() {
			if _, err := c.TargetHealth(t.Context(), group); err != nil {
				t.Error(err)
			}
		})
	}
	answered.Wait()
}

func TestProxyComesFromTheEnvironment(t *testing.T) {
	if httpClient().GetTransport().Proxy == nil {
		t.Error("HTTPS_PROXY has no effect")
	}
}
