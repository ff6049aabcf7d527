package elbsim

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// A target that is registered and healthy by real checks gets requests; once it is
// deregistered it gets them until the nodes have learned, then nobody does. At
// thirty times the speed.
func TestTrafficFollowsTheAPI(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	defer server.Close()
	dial := must(ParseDialMap([]string{"10.0.0.0/8=127.0.0.0/8"}))(t)
	ended := make(chan dataplane.Entry, 10_000)
	sim, arn, client := started(t, Options{
		Check: Prober{Dial: dial.Dial}.Check, Speed: 30,
		DataPlane: &dataplane.Options{Dial: dial.Dial, OnEntry: func(e dataplane.Entry) { ended <- e }},
	})
	balancers, err := sim.LoadBalancers()
	if err != nil || len(balancers) != 1 || len(balancers[0].Listeners[0].Nodes) != 3 {
		t.Fatalf("got %+v, %v", balancers, err)
	}
	nodes := balancers[0].Listeners[0].Nodes
	ask := func() (statuses string) {
		for _, node := range nodes {
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+node, nil)
			response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			statuses += fmt.Sprint(response.StatusCode, " ")
		}
		return strings.TrimSpace(statuses)
	}
	until := func(want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got := ""
		for got = ask(); got != want && ctx.Err() == nil; got = ask() {
			time.Sleep(5 * time.Millisecond)
		}
		if got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	until("503 503 503")
	one := []target.Target{{Key: target.Key{Addr: netip.MustParseAddr("10.0.0.1"), Port: netip.MustParseAddrPort(server.Listener.Addr().String()).Port()}}}
	if err := client.RegisterTargets(t.Context(), arn, one); err != nil {
		t.Fatal(err)
	}
	until("200 200 200")
	if err := client.DeregisterTargets(t.Context(), arn, one); err != nil {
		t.Fatal(err)
	}
	until("503 503 503")
	if e := <-ended; e.Outcome != dataplane.NoTarget || e.LoadBalancer != "front" {
		t.Errorf("got %+v", e)
	}
	if len(sim.Traffic(0)) == 0 || len(sim.TrafficCounts()) != 2 {
		t.Errorf("counted %v", sim.TrafficCounts())
	}
	for path, part := range map[string]string{"/loadbalancers": nodes[2], "/traffic?after=1": `"seq":2`, "/traffic/counts": `"outcome":"no-target"`} {
		w := httptest.NewRecorder()
		sim.AdminHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("%s: got %s", path, w.Body)
		}
	}
	if err := sim.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := sim.LoadBalancers(); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutADataPlaneThereIsNoTraffic(t *testing.T) {
	sim, _, _ := started(t, Options{})
	for _, path := range []string{"/loadbalancers", "/traffic", "/traffic/counts"} {
		w := httptest.NewRecorder()
		sim.AdminHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: got %d", path, w.Code)
		}
	}
	if sim.Traffic(0) != nil || sim.TrafficCounts() != nil {
		t.Error("there is traffic")
	}
}

// Registration, checks and the deregistration delay all run at the same speed.
func TestSpeedScalesEverything(t *testing.T) {
	sim, arn, client := started(t, Options{Check: AlwaysPass, Speed: 1000})
	begin := time.Now()
	if err := client.RegisterTargets(t.Context(), arn, []target.Target{at80("10.0.0.1")}); err != nil {
		t.Fatal(err)
	}
	for states(t, client, arn) != "10.0.0.1:80=healthy" {
		time.Sleep(time.Millisecond)
	}
	if err := client.DeregisterTargets(t.Context(), arn, []target.Target{at80("10.0.0.1")}); err != nil {
		t.Fatal(err)
	}
	for states(t, client, arn) != "" {
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(begin); took < 301*time.Millisecond {
		t.Errorf("301 s took %v", took)
	}
	_ = sim.With(arn.Account, arn.Region, func(_ *model.World, now time.Time) error {
		if now.Sub(begin) < 301*time.Second {
			t.Errorf("it is only %v later", now.Sub(begin))
		}
		return nil
	})
}
