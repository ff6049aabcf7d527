package elbsim

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
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

// The nodes learn of what time does, also while nobody calls and nothing is checked.
func TestNodesLearnOfTheEndOfDraining(t *testing.T) {
	news := make(chan dataplane.News, 100)
	_, arn, client := started(t, Options{
		Check: AlwaysPass, Speed: 1000,
		DataPlane: &dataplane.Options{OnNews: func(n dataplane.News) { news <- n }},
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	untilAll := func(want target.State) {
		t.Helper()
		for nodes := map[int]bool{}; len(nodes) < 3; {
			select {
			case n := <-news:
				if n.State == want {
					nodes[n.Node] = true
				}
			case <-ctx.Done():
				t.Fatalf("of three nodes only %v learned that the target is %q", nodes, want)
			}
		}
	}
	one := []target.Target{at80("10.0.0.1")}
	if err := client.RegisterTargets(t.Context(), arn, one); err != nil {
		t.Fatal(err)
	}
	untilAll(target.Healthy)
	if err := client.DeregisterTargets(t.Context(), arn, one); err != nil {
		t.Fatal(err)
	}
	untilAll("")
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

// Registration, checks and the deregistration delay take the same simulated time
// at any speed.
func TestSpeedScalesEverything(t *testing.T) {
	const step = 500 * time.Millisecond
	life := func(t *testing.T, speed float64) (seen string) {
		_, arn, client := started(t, Options{Check: AlwaysPass, Speed: speed})
		one := []target.Target{at80("10.0.0.1")}
		if err := client.RegisterTargets(t.Context(), arn, one); err != nil {
			t.Fatal(err)
		}
		wait := func(d time.Duration) { time.Sleep(time.Duration(float64(d) / speed)) }
		last := ""
		wait(step / 2) // so that nothing happens just when one looks
		for i := range 700 {
			if i == 60 {
				wait(step / 4)
				if err := client.DeregisterTargets(t.Context(), arn, one); err != nil {
					t.Fatal(err)
				}
			}
			if now := states(t, client, arn); now != last {
				seen += fmt.Sprintf("%v %q\n", time.Duration(i)*step, now)
				last = now
			}
			wait(step)
		}
		return seen
	}
	want := "0s \"10.0.0.1:80=initial\"\n1s \"10.0.0.1:80=healthy\"\n30s \"10.0.0.1:80=draining\"\n5m30s \"\"\n"
	for _, speed := range []float64{1, 10, 250} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			if got := life(t, speed); got != want {
				t.Errorf("at speed %v:\n%s", speed, got)
			}
			if took, want := time.Since(began), time.Duration(350.375*float64(time.Second)/speed); took != want {
				t.Errorf("at speed %v it took %v, want %v", speed, took, want)
			}
		})
	}
}
