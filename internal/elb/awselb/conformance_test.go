package awselb

import (
	"net/http/httptest"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elb/elbtest"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

// The suite over AWS's protocol: this client against the simulator's server.
func TestConformance(t *testing.T) {
	isolate(t)
	elbtest.Run(t, func(t *testing.T) elbtest.Harness {
		sim := elbtest.Simulator(t)
		server := httptest.NewServer(sim.AWSHandler())
		t.Cleanup(server.Close)
		client, err := New(t.Context(), Options{Region: elbsim.DefaultRegion, Endpoint: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		harness := elbtest.Simulated(sim)
		harness.Client = client
		return harness
	})
}
