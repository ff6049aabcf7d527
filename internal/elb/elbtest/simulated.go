package elbtest

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Simulator makes a simulator fit for the suite: no throttling but what is
// scripted, a VPC with addresses outside it, and a quota that can be reached.
func Simulator(t *testing.T) *elbsim.Sim {
	t.Helper()
	settings := elbsim.DefaultSettings()
	settings.Buckets = nil
	settings.Quotas.TargetsPerGroup = 250
	settings.VPCs = map[string][]model.Subnet{"": {
		{CIDR: netip.MustParsePrefix("10.1.0.0/16")},
		{CIDR: netip.MustParsePrefix("2001:db8:1::/56")},
	}}
	sim, err := elbsim.New(elbsim.Options{Settings: &settings})
	if err != nil {
		t.Fatal(err)
	}
	return sim
}

// Simulated is a Harness around a simulator made by Simulator, with its
// in-process client. To test another client against the simulator's servers,
// replace Client.
func Simulated(sim *elbsim.Sim) Harness {
	made := 0
	return Harness{
		Client: sim.Client(elbsim.DefaultAccount, elbsim.DefaultRegion),
		NewGroup: func(t *testing.T, g Group) target.ARN {
			t.Helper()
			made++
			return plant(t, sim, fmt.Sprintf("group-%d", made), g)
		},
		Inside:  inside,
		Outside: netip.MustParseAddr("10.2.0.1"),
		SetHealth: func(t *testing.T, group target.ARN, key target.Key, state target.State) {
			t.Helper()
			must(t, sim.Override(group, key, state))
		},
		DropGroup: func(t *testing.T, group target.ARN) {
			t.Helper()
			must(t, sim.VanishGroup(group))
		},
		Cause: func(t *testing.T, action string, trouble Trouble) {
			t.Helper()
			fault := faults[trouble]
			fault.Action, fault.Count = action, 1
			_, err := sim.AddFault(fault)
			must(t, err)
		},
		TargetsPerGroup: sim.Settings().Quotas.TargetsPerGroup,
	}
}

// faults are the simulator's scripts for each trouble.
var faults = map[Trouble]elbsim.Fault{
	Throttle:           {Kind: elbsim.FaultThrottle},
	Deny:               {Kind: elbsim.FaultFail, Code: "AccessDenied", Message: "User is not authorized to perform this action"},
	ExpireCredentials:  {Kind: elbsim.FaultFail, Code: "ExpiredToken", Message: "The security token included in the request is expired"},
	UnknownCredentials: {Kind: elbsim.FaultFail, Code: "InvalidClientTokenId", Message: "The security token included in the request is invalid."},
	FailServer:         {Kind: elbsim.FaultFail, Code: "InternalFailure", Message: "The request processing has failed"},
	DropConnection:     {Kind: elbsim.FaultDrop},
	LoseReply:          {Kind: elbsim.FaultLose},
	Hang:               {Kind: elbsim.FaultHang},
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inside(family target.Family, n int) netip.Addr {
	host := [2]byte{byte(n >> 8), byte(n)}
	if family == target.IPv6 {
		base := netip.MustParseAddr("2001:db8:1::").As16()
		copy(base[14:], host[:])
		return netip.AddrFrom16(base)
	}
	return netip.AddrFrom4([4]byte{10, 1, host[0], host[1]})
}

func plant(t *testing.T, sim *elbsim.Sim, name string, g Group) target.ARN {
	t.Helper()
	seed := elbsim.SeedGroup{
		Name: name, Protocol: g.Protocol, Family: g.Family, Port: int(g.Port), Tags: g.Tags,
		Attributes: map[string]string{model.DeregistrationDelayKey: fmt.Sprint(int(g.Drain / time.Second))},
	}
	if g.InUse {
		seed.LoadBalancer = name
	}
	arn, err := sim.PlantGroup(seed)
	must(t, err)
	return arn
}
