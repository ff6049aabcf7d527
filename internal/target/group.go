package target

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ARN names one target group of one account and region. It is comparable, so
// it serves as the key of everything that is kept per group.
type ARN struct {
	Partition string // aws, aws-cn, aws-us-gov
	Region    string
	Account   string
	Name      string
	ID        string
}

var (
	// New partitions are to be expected; all have begun with aws.
	arnPartition = regexp.MustCompile(`^aws(-[a-z0-9]+)*$`)

	arnAccount = regexp.MustCompile(`^[0-9]{12}$`)
	arnRegion  = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	groupName  = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?$`)
	groupID    = regexp.MustCompile(`^[0-9a-f]{16,17}$`)
)

// ParseARN reads arn:PARTITION:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID.
// The error names the part that is wrong, its value and the form expected.
func ParseARN(s string) (ARN, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 6 || parts[0] != "arn" {
		return ARN{}, fmt.Errorf("%q is not an ARN: want arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID", s)
	}
	resource := strings.Split(parts[5], "/")
	if parts[2] != "elasticloadbalancing" || resource[0] != "targetgroup" || len(resource) != 3 {
		return ARN{}, fmt.Errorf("%q is the ARN of something else: want one with elasticloadbalancing and targetgroup/NAME/ID", s)
	}
	arn := ARN{Partition: parts[1], Region: parts[3], Account: parts[4], Name: resource[1], ID: resource[2]}
	if err := arn.check(s); err != nil {
		return ARN{}, err
	}
	return arn, nil
}

func (a ARN) check(s string) error {
	switch {
	case !arnPartition.MatchString(a.Partition):
		return fmt.Errorf("partition %q of %q: want aws, aws-cn or another partition of AWS", a.Partition, s)
	case !arnRegion.MatchString(a.Region):
		return fmt.Errorf("region %q of %q: want a region such as eu-central-1", a.Region, s)
	case !arnAccount.MatchString(a.Account):
		return fmt.Errorf("account %q of %q: want 12 digits", a.Account, s)
	case !groupName.MatchString(a.Name):
		return fmt.Errorf("target group name %q of %q: want 1 to 32 letters, digits and inner hyphens", a.Name, s)
	case !groupID.MatchString(a.ID):
		return fmt.Errorf("target group id %q of %q: want 16 hexadecimal digits", a.ID, s)
	}
	return nil
}

// String is the ARN in AWS's form.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":elasticloadbalancing:" + a.Region + ":" + a.Account + ":targetgroup/" + a.Name + "/" + a.ID
}

// IsZero tells whether a names nothing.
func (a ARN) IsZero() bool { return a == ARN{} }

// Type is what the targets of a group are. It never changes in a group's life.
type Type string

// The types of ELBv2. Pods can be targets of TypeIP only.
const (
	TypeIP       Type = "ip"
	TypeInstance Type = "instance"
	TypeLambda   Type = "lambda"
	TypeALB      Type = "alb"
)

// Family is the address family of a group. A group never mixes families.
type Family string

// The address families of ELBv2.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
)

// FamilyOf is the family that addr belongs to.
func FamilyOf(addr netip.Addr) Family {
	if addr.Is4() || addr.Is4In6() {
		return IPv4
	}
	return IPv6
}

// Group is what DescribeTargetGroups tells of a target group.
type Group struct {
	ARN      ARN
	Type     Type
	Family   Family
	Protocol string // HTTP, HTTPS, TCP, TLS, UDP, TCP_UDP, QUIC, TCP_QUIC, GENEVE
	Port     uint16 // the port of targets that are registered without one
	VPCID    string
	Check    HealthCheck
	// LoadBalancers are the ARNs of the load balancers that use the group. A
	// group that none uses never turns a target healthy.
	LoadBalancers []string
}

// HealthCheck is how the load balancer checks the targets of a group. The zero
// value is one of which nothing is known.
type HealthCheck struct {
	Interval, Timeout  time.Duration
	UnhealthyThreshold int
}

// FailsWithin is the longest for which a target may be listed as healthy since the
// moment from which no check passes any more. Of a group of which nothing is
// known it is that of AWS's defaults.
func (h HealthCheck) FailsWithin() time.Duration {
	interval, timeout := cmp.Or(h.Interval, 30*time.Second), cmp.Or(h.Timeout, 10*time.Second)
	return time.Duration(cmp.Or(h.UnhealthyThreshold, 2))*interval + timeout
}

// Application tells whether the group is of the kind that an Application Load
// Balancer uses; other kinds are for Network and Gateway Load Balancers. AWS
// never lets a group change sides.
func (g Group) Application() bool { return g.Protocol == "HTTP" || g.Protocol == "HTTPS" }

// InUse tells whether any load balancer sends to the group.
func (g Group) InUse() bool { return len(g.LoadBalancers) > 0 }

// Ref names a group by ARN or by name; exactly one is set.
type Ref struct {
	ARN  ARN
	Name string
}

// String is the name, or the ARN.
func (r Ref) String() string {
	if r.Name != "" {
		return r.Name
	}
	return r.ARN.String()
}

// Names tells whether r means the group.
func (r Ref) Names(group Group) bool {
	if r.Name != "" {
		return group.ARN.Name == r.Name
	}
	return group.ARN == r.ARN
}

// DelayAttribute is the attribute of a group that holds its deregistration delay.
const DelayAttribute = "deregistration_delay.timeout_seconds"

// DefaultDelay is the deregistration delay of a group that nobody set it for.
const DefaultDelay = 300 * time.Second

// DelayOf reads the deregistration delay from a group's attributes. False if there
// is none, as of groups of functions.
func DelayOf(attributes map[string]string) (time.Duration, bool) {
	seconds, err := strconv.Atoi(attributes[DelayAttribute])
	if err != nil || seconds < 0 {
		return 0, false
	}
	return time.Duration(seconds) * time.Second, true
}
