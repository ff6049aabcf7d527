package elbv2sim

import (
	"encoding/json"
	"net/netip"
	"time"
)

// These types are the words of the admin API. A test holds them against what the
// simulator itself reads and writes.

// What everything belongs to that names no account or region, and every client
// whose access key is not among the credentials of the settings.
const (
	DefaultAccount = "123456789012"
	DefaultRegion  = "eu-central-1"
)

// Duration is a time.Duration that JSON spells as 1m30s.
type Duration time.Duration

// MarshalText gives the form of time.Duration.String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads the form of time.ParseDuration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Seed is what exists at first and after a reset.
type Seed struct {
	// VPCs are subnets by VPC, put over those of the settings.
	VPCs          map[string][]Subnet `json:"vpcs,omitempty"`
	LoadBalancers []LoadBalancer      `json:"loadBalancers,omitempty"`
	Groups        []Group             `json:"groups,omitempty"`
}

// BalancerType is the type of a load balancer.
type BalancerType string

// The types of load balancers.
const (
	Application BalancerType = "application"
	Network     BalancerType = "network"
)

// LoadBalancer is a load balancer to make. Only the name is needed.
type LoadBalancer struct {
	Account string            `json:"account,omitempty"`
	Region  string            `json:"region,omitempty"`
	Name    string            `json:"name"`
	Type    BalancerType      `json:"type,omitempty"` // default Application
	Tags    map[string]string `json:"tags,omitempty"`
}

// Group is a target group to make. Only the name is needed.
type Group struct {
	Account  string `json:"account,omitempty"`
	Region   string `json:"region,omitempty"`
	Name     string `json:"name"`
	Type     string `json:"type,omitempty"`     // default ip
	Family   string `json:"family,omitempty"`   // ipv4 or ipv6, default ipv4
	Protocol string `json:"protocol,omitempty"` // default HTTP
	Port     int    `json:"port,omitempty"`     // default 80
	VPC      string `json:"vpc,omitempty"`
	// LoadBalancer is the name of the load balancer that uses the group. One that
	// is not there yet is made, of the type that fits the protocol. The listener
	// gets the first free port from 80 on. Empty leaves the group unused: its
	// targets are then neither checked nor drained.
	LoadBalancer string            `json:"loadBalancer,omitempty"`
	HealthCheck  HealthCheck       `json:"healthCheck,omitzero"`
	Attributes   map[string]string `json:"attributes,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	Targets      []string          `json:"targets,omitempty"` // address:port
}

// HealthCheck is a group's health check. Zero fields take AWS's defaults.
type HealthCheck struct {
	Protocol           string   `json:"protocol,omitempty"`
	Port               string   `json:"port,omitempty"`
	Path               string   `json:"path,omitempty"`
	Matcher            string   `json:"matcher,omitempty"`
	Interval           Duration `json:"interval,omitempty"`
	Timeout            Duration `json:"timeout,omitempty"`
	HealthyThreshold   int      `json:"healthyThreshold,omitempty"`
	UnhealthyThreshold int      `json:"unhealthyThreshold,omitempty"`
}

// State is the state of a target in AWS's words.
type State string

// The states of targets.
const (
	Initial   State = "initial"
	Healthy   State = "healthy"
	Unhealthy State = "unhealthy"
	Unused    State = "unused"
	Draining  State = "draining"
	// Absent is the state of a target that the group does not list, for
	// Admin.AwaitTarget.
	Absent State = ""
)

// GroupState is a target group with all its targets.
type GroupState struct {
	Account       string            `json:"account"`
	Region        string            `json:"region"`
	ARN           string            `json:"arn"`
	Name          string            `json:"name"`
	Type          string            `json:"type"`
	Protocol      string            `json:"protocol"`
	Port          uint16            `json:"port"`
	LoadBalancers []string          `json:"loadBalancers"` // ARNs
	Attributes    map[string]string `json:"attributes"`
	Tags          map[string]string `json:"tags"`
	Targets       []TargetState     `json:"targets"`
}

// TargetState is one target, as the answers about target health show it.
type TargetState struct {
	Target      string `json:"target"` // address:port
	Zone        string `json:"zone,omitempty"`
	State       State  `json:"state"`
	Reason      string `json:"reason,omitempty"`
	Description string `json:"description,omitempty"`
	// Since is when the state began, by the simulator's clock.
	Since time.Time `json:"since"`
	// Forced tells that an override decides, and not the health checks.
	Forced bool `json:"forced,omitempty"`
}

// Target finds a target by address:port. One that is not listed is Absent.
func (g GroupState) Target(target string) TargetState {
	for _, t := range g.Targets {
		if t.Target == target {
			return t
		}
	}
	return TargetState{Target: target, State: Absent}
}

// Call is one call in the log.
type Call struct {
	// Seq numbers calls in the order they came in, from 1.
	Seq uint64 `json:"seq"`
	// Change numbers what happens to the log. It grows when a call comes in and
	// again when it is answered.
	Change uint64 `json:"change"`

	Received time.Time `json:"received"`
	// Answered is zero while the call is in flight.
	Answered time.Time `json:"answered,omitzero"`

	Action  string   `json:"action"` // such as RegisterTargets
	Account string   `json:"account"`
	Region  string   `json:"region"`
	Group   string   `json:"group,omitempty"`   // ARN, or as the call named it
	Targets []string `json:"targets,omitempty"` // address:port, or address alone

	UserAgent string `json:"userAgent,omitempty"`
	Attempt   string `json:"attempt,omitempty"` // the header Amz-Sdk-Request
	RequestID string `json:"requestId"`

	// Code is CodeOK, AWS's error code, or CodeNoReply where the client got no
	// answer; empty while the call is in flight.
	Code string `json:"code"`
	// Applied tells whether the call had its effect, with or without a reply.
	Applied bool `json:"applied"`
	// Ignored are parameters that were sent and make no difference to the
	// simulator.
	Ignored []string `json:"ignored,omitempty"`
	// Fault is the kind of scripted fault that struck the call.
	Fault FaultKind `json:"fault,omitempty"`
}

// The codes of calls that did not end with an error of AWS.
const (
	CodeOK      = "OK"
	CodeNoReply = "NoReply"
)

// FaultKind is what a scripted fault does to a call.
type FaultKind string

// The kinds of faults.
const (
	// Fail answers Code, Status and Message; nothing is applied.
	Fail FaultKind = "fail"
	// Throttle answers that the rate is exceeded; nothing is applied.
	Throttle FaultKind = "throttle"
	// Hang holds the call for Duration, or until the client leaves if that is
	// zero. A call that is still wanted then goes on as usual.
	Hang FaultKind = "hang"
	// Drop closes the connection; nothing is applied.
	Drop FaultKind = "drop"
	// Lose applies the call and closes the connection without a reply.
	Lose FaultKind = "lose"
)

// Fault is a script: which calls go wrong, and how.
type Fault struct {
	// ID is given by the simulator.
	ID int `json:"id"`

	// Action and Group select calls; empty selects all. Group is an ARN or a name.
	Action string `json:"action,omitempty"`
	Group  string `json:"group,omitempty"`
	// Nth is the first of the selected calls to go wrong, counted from one;
	// zero is the next.
	Nth int `json:"nth,omitempty"`
	// Count is how many calls go wrong from there on; zero is all.
	Count int `json:"count,omitempty"`

	Kind FaultKind `json:"kind"`
	// Code, Status and Message are the answer of a Fail; without a code it is
	// InternalFailure, without a status the one that AWS sends with the code.
	Code     string   `json:"code,omitempty"`
	Status   int      `json:"status,omitempty"`
	Message  string   `json:"message,omitempty"`
	Duration Duration `json:"duration,omitempty"` // of a Hang, in real time

	// Selected counts the calls selected so far, those that went well included.
	Selected int `json:"selected"`
}

// Settings is how the simulator behaves. All of it may change while it runs.
type Settings struct {
	Latency Latency `json:"latency"`

	// Buckets are the throttling buckets of each account and region; nil switches
	// throttling off, a class that is missing is not throttled.
	Buckets map[Class]Bucket `json:"buckets"`
	// ThrottleCode is Throttling or ThrottlingException.
	ThrottleCode string `json:"throttleCode"`

	Quotas Quotas `json:"quotas"`
	// ALBRegistration and NLBRegistration are how long registration takes behind
	// each type of load balancer.
	ALBRegistration Duration `json:"albRegistration"`
	NLBRegistration Duration `json:"nlbRegistration"`
	// DeregistrationDelay is how long targets drain in groups that do not say.
	DeregistrationDelay Duration `json:"deregistrationDelay"`
	// Reregister is what registering a draining target does: revive or refuse.
	Reregister string `json:"reregister"`
	// BadTarget is what one unacceptable target of a call does: fail-all or
	// fail-alone.
	BadTarget string `json:"badTarget"`
	// VisibilityLag is how far answers about target health lag behind.
	VisibilityLag Duration `json:"visibilityLag"`

	// VPCs are the subnets of each VPC; those under "" are of all others.
	VPCs map[string][]Subnet `json:"vpcs"`

	// Credentials lists the access keys that are known. With none listed every
	// key is good, and belongs to DefaultAccount.
	Credentials []Credential `json:"credentials,omitempty"`
	// Deny lists actions that are answered with AccessDenied; * denies all.
	Deny []string `json:"deny,omitempty"`
	// IAMPolicy is a policy document of IAM that all calls must comply with, as if
	// it were the only one attached to every caller. Without one all is allowed that
	// Deny does not list.
	IAMPolicy json.RawMessage `json:"iamPolicy,omitempty"`
}

// Latency is how long every call takes, in real time, before it has an effect:
// Fixed plus a random time with mean Spread, exponentially distributed.
type Latency struct {
	Fixed  Duration `json:"fixed"`
	Spread Duration `json:"spread"`
}

// Class is a class of actions that share a throttling bucket.
type Class string

// The classes that AWS documents. Every call takes a token of its own class and
// one of the total.
const (
	ClassRegistration Class = "registration"
	ClassDescribe     Class = "describe"
	ClassMutating     Class = "mutating"
	ClassTotal        Class = "total"
)

// Bucket is a token bucket, full at first. One call costs one token.
type Bucket struct {
	Capacity  int `json:"capacity"`
	PerSecond int `json:"perSecond"`
}

// ScopeBudget is what one account and region may still call. Without throttling
// there are no buckets.
type ScopeBudget struct {
	Account string   `json:"account"`
	Region  string   `json:"region"`
	Buckets []Budget `json:"buckets"`
}

// Budget is a bucket with what is left in it.
type Budget struct {
	Class     Class `json:"class"`
	Capacity  int   `json:"capacity"`
	PerSecond int   `json:"perSecond"`
	// Tokens are those left, parts of one included.
	Tokens float64 `json:"tokens"`
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
	// TargetsPerCall refuses larger register and deregister calls.
	TargetsPerCall int `json:"targetsPerCall"`
}

// Subnet is a range of addresses inside a VPC, in one availability zone.
type Subnet struct {
	CIDR netip.Prefix `json:"cidr"`
	// Zone is the availability zone; empty gives addresses one of the region's
	// zones a, b and c by their last bits.
	Zone string `json:"zone,omitempty"`
}

// Credential is a known access key.
type Credential struct {
	AccessKey string `json:"accessKey"`
	// Account is the account the key belongs to; DefaultAccount if empty.
	Account string `json:"account,omitempty"`
	// ExpiredTokens are session tokens that are answered with ExpiredToken.
	ExpiredTokens []string `json:"expiredTokens,omitempty"`
}

// LoadBalancerState is where a load balancer of the data plane can be reached.
type LoadBalancerState struct {
	ARN       string       `json:"arn"`
	Name      string       `json:"name"`
	DNSName   string       `json:"dnsName"`
	Type      BalancerType `json:"type"`
	Listeners []Listener   `json:"listeners"`
}

// Listener is where one listener can be reached.
type Listener struct {
	Port     int    `json:"port"` // in AWS
	Protocol string `json:"protocol"`
	// Nodes are the addresses, host:port, of the nodes: what the DNS name stands for.
	Nodes []string `json:"nodes"`
}

// Outcome is how a request or a flow through the data plane ended.
type Outcome string

// The outcomes of requests and flows, with the status that a client then gets.
const (
	Forwarded       Outcome = "forwarded"        // the target's answer was passed on, or the flow ended by itself
	NoTarget        Outcome = "no-target"        // none is registered: 503
	Refused         Outcome = "refused"          // the target refused the connection: 502
	ConnectTimeout  Outcome = "connect-timeout"  // the target took no connection in time: 504
	Reset           Outcome = "reset"            // the target ended the connection or spoke no HTTP: 502
	ResponseTimeout Outcome = "response-timeout" // the target fell silent: 504
	Cut             Outcome = "cut"              // the load balancer ended it: 502
	ClientGone      Outcome = "client-gone"      // the client left: 460
)

// Traffic is one request through the data plane, or one flow of a Network Load
// Balancer.
type Traffic struct {
	Seq          uint64    `json:"seq"` // in the order they ended, from 1
	At           time.Time `json:"at"`  // when it came in, real time
	LoadBalancer string    `json:"loadBalancer"`
	Port         int       `json:"port"`
	Node         int       `json:"node"`                // from 0
	Client       string    `json:"client"`              // its address:port
	RequestID    string    `json:"requestId,omitempty"` // the header X-Request-Id
	Method       string    `json:"method,omitempty"`    // empty: a flow
	Path         string    `json:"path,omitempty"`
	Group        string    `json:"group,omitempty"`  // ARN
	Target       string    `json:"target,omitempty"` // address:port; empty where none was picked
	// Reused tells that the connection to the target had been used before.
	Reused bool `json:"reused,omitempty"`
	// Status is what the client was answered; 0 for flows, 460 where it had left.
	Status  int     `json:"status,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Nanoseconds is how long it took, real time.
	Nanoseconds time.Duration `json:"nanoseconds"`
}

// TrafficCount is how many requests and flows ended in one way.
type TrafficCount struct {
	LoadBalancer string  `json:"loadBalancer"`
	Group        string  `json:"group,omitempty"`
	Target       string  `json:"target,omitempty"`
	Status       int     `json:"status,omitempty"`
	Outcome      Outcome `json:"outcome"`
	Count        uint64  `json:"count"`
}
