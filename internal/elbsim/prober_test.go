package elbsim

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// probe makes one check of what listens at address, under a name of 10.0.0.0/8.
func probe(t *testing.T, address net.Addr, settings model.CheckSettings) model.CheckResult {
	t.Helper()
	port := netip.MustParseAddrPort(address.String()).Port()
	prober := Prober{Dial: must(ParseDialMap([]string{"10.0.0.0/8=127.0.0.0/8"}))(t).Dial}
	if settings.Timeout == 0 {
		settings.Timeout = 10 * time.Second
	}
	return prober.Check(t.Context(), model.Check{
		ID:       model.CheckID{Key: target.Key{Addr: netip.MustParseAddr("10.0.0.1"), Port: port}},
		Port:     port,
		Settings: settings,
	})
}

func TestProbes(t *testing.T) {
	seen := make(chan *http.Request, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			return
		}
		seen <- r
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	closed := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	closed.Close()

	tests := []struct {
		name     string
		address  net.Addr
		settings model.CheckSettings
		want     model.Outcome
	}{
		{"HTTP", plain.Listener.Addr(), model.CheckSettings{Protocol: "HTTP", Path: "/x?y=1", Matcher: "302"}, model.Passed},
		{"HTTPS", secure.Listener.Addr(), model.CheckSettings{Protocol: "HTTPS", Path: "/", Matcher: "300-399"}, model.Passed},
		{"wrong code", plain.Listener.Addr(), model.CheckSettings{Protocol: "HTTP", Path: "/", Matcher: "200"}, model.WrongCode},
		{"HTTP, not HTTPS", plain.Listener.Addr(), model.CheckSettings{Protocol: "HTTPS", Path: "/", Matcher: "200"}, model.CannotAnswer},
		{"slow", plain.Listener.Addr(), model.CheckSettings{Protocol: "HTTP", Path: "/slow", Matcher: "200", Timeout: 20 * time.Millisecond}, model.TookTooLong},
		{"refused", closed.Addr(), model.CheckSettings{Protocol: "HTTP", Path: "/", Matcher: "200"}, model.CannotAnswer},
		{"TCP", plain.Listener.Addr(), model.CheckSettings{Protocol: "TCP"}, model.Passed},
		{"TCP refused", closed.Addr(), model.CheckSettings{Protocol: "TCP"}, model.CannotAnswer},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			result := probe(t, test.address, test.settings)
			if result.Outcome != test.want {
				t.Errorf("got %+v, want %q", result, test.want)
			}
			select {
			case r := <-seen:
				if r.UserAgent() != "ELB-HealthChecker/2.0" || r.URL.RequestURI() != test.settings.Path || r.Host == "" || r.Host[:3] != "10." {
					t.Errorf("got %s %s of %s", r.UserAgent(), r.URL, r.Host)
				}
			default:
			}
		})
	}
}

// A target on loopback turns healthy by real checks, and unhealthy once it is gone.
func TestRealChecksDecide(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	settings := DefaultSettings()
	settings.ALBRegistration = 0
	checked := make(chan model.CheckResult, 10)
	prober := Prober{Dial: must(ParseDialMap([]string{"10.0.0.0/8=127.0.0.0/8"}))(t).Dial}
	sim, arn, client := started(t, Options{Settings: &settings, Check: func(ctx context.Context, check model.Check) model.CheckResult {
		result := prober.Check(ctx, check)
		checked <- result
		return result
	}})
	port := netip.MustParseAddrPort(server.Listener.Addr().String()).Port()
	_ = sim.With(arn.Account, arn.Region, func(w *model.World, now time.Time) error {
		_, err := w.ModifyTargetGroup(now, arn.String(), model.CheckSettings{Matcher: "404"})
		return err
	})
	one := target.Target{Key: target.Key{Addr: netip.MustParseAddr("10.0.0.1"), Port: port}}
	if err := client.RegisterTargets(t.Context(), arn, []target.Target{one}); err != nil {
		t.Fatal(err)
	}
	if result := <-checked; result.Outcome != model.Passed {
		t.Fatalf("got %+v", result)
	}
	for states(t, client, arn) != one.Key.String()+"=healthy" {
		select {
		case <-t.Context().Done():
			t.Fatal("never healthy")
		case <-time.After(time.Millisecond):
		}
	}
}
