package model

import (
	"net/netip"
	"time"
)

// BalancerType is the kind of a load balancer, in AWS's words.
type BalancerType string

// The types of load balancers that are simulated.
const (
	Application BalancerType = "application"
	Network     BalancerType = "network"
)

// Reregister is the answer to registering a target that still drains. AWS's
// answer is not confirmed.
type Reregister string

// The answers to a registration of a draining target.
const (
	// ReregisterRevives puts the target back to initial.
	ReregisterRevives Reregister = "revive"
	// ReregisterRefused fails the call with InvalidTarget.
	ReregisterRefused Reregister = "refuse"
)

// BadTarget is what one unacceptable target does to the others of its call.
// AWS's answer is not confirmed.
type BadTarget string

// The effects of one bad target.
const (
	// BadTargetFailsAll applies nothing of the call.
	BadTargetFailsAll BadTarget = "fail-all"
	// BadTargetFailsAlone applies the good targets and still answers the error.
	BadTargetFailsAlone BadTarget = "fail-alone"
)

// Subnet is a range of addresses inside a VPC, in one availability zone.
type Subnet struct {
	CIDR netip.Prefix `json:"cidr"`
	// Zone is the availability zone; empty gives addresses one of the region's
	// zones a, b and c by their last bits.
	Zone string `json:"zone,omitempty"`
}

// Quotas bounds what an account may have. Zero means no bound.
type Quotas struct {
	Groups          int `json:"groups"`
	TargetsPerGroup int `json:"targetsPerGroup"`
	TargetsPerALB   int `json:"targetsPerALB"`
	TargetsPerNLB   int `json:"targetsPerNLB"`
	GroupsPerALB    int `json:"groupsPerALB"`
	// BalancersPerGroup is how many load balancers may use one group.
	BalancersPerGroup int `json:"balancersPerGroup"`
	// TargetsPerCall refuses larger register and deregister calls. AWS documents
	// no such number, but reports tell of large calls refused.
	TargetsPerCall int `json:"targetsPerCall"`
}

// Config is how one World behaves.
type Config struct {
	Partition string // aws
	Region    string
	Account   string // 12 digits

	// Subnets are the subnets of each VPC by its id. A VPC that is not listed
	// has those under "".
	Subnets map[string][]Subnet

	Quotas Quotas

	// Buckets are the throttling buckets. A class without one is not throttled.
	Buckets map[Class]Bucket
	// ThrottleCode is Throttling (seen in the field) or ThrottlingException (documented).
	ThrottleCode string

	// Registration is how long a target stays in Elb.RegistrationInProgress.
	Registration map[BalancerType]time.Duration
	// DeregistrationDelay is the attribute's value in groups that do not set it.
	DeregistrationDelay time.Duration
	Reregister          Reregister
	BadTarget           BadTarget
	// VisibilityLag is how far the answers about target health lag behind.
	VisibilityLag time.Duration
}

// DefaultConfig is AWS as documented: default quotas, buckets and attributes.
// Every private address counts as inside any VPC.
func DefaultConfig(region, account string) Config {
	return Config{
		Partition: "aws",
		Region:    region,
		Account:   account,
		Subnets:   map[string][]Subnet{"": defaultSubnets()},
		Quotas: Quotas{
			Groups: 3000, TargetsPerGroup: 1000, TargetsPerALB: 1000,
			TargetsPerNLB: 3000, GroupsPerALB: 100, BalancersPerGroup: 1,
		},
		Buckets:             DefaultBuckets(),
		ThrottleCode:        "Throttling",
		Registration:        map[BalancerType]time.Duration{Application: time.Second, Network: 90 * time.Second},
		DeregistrationDelay: 300 * time.Second,
		Reregister:          ReregisterRevives,
		BadTarget:           BadTargetFailsAll,
	}
}

func defaultSubnets() []Subnet {
	var subnets []Subnet
	for _, cidr := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fd00::/8", "2000::/3"} {
		subnets = append(subnets, Subnet{CIDR: netip.MustParsePrefix(cidr)})
	}
	return subnets
}
