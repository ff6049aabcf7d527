package integration

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// The rows of docs/troubleshooting.md that show in a binding: each wrong binding
// stands beside a right one, which it must not disturb.

// complaint is what a user must be told of a binding, in the condition and in an
// event, with the reason as the same word.
type complaint struct {
	reason target.Reason
	says   []string
}

// complains waits for the complaint about the binding wrong.
func (e *env) complains(want complaint) {
	e.Helper()
	c := e.condition("wrong", v1beta1.ConditionReady, metav1.ConditionFalse, want.reason)
	e.contains(c.Message, want.says...)
	e.event("wrong", string(want.reason), want.says[0])
	if c.ObservedGeneration == 0 {
		e.Error("the condition does not tell of which generation it speaks")
	}
}

func TestBadInputOfABinding(t *testing.T) {
	t.Parallel()
	const missing = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/missing/0123456789abcdef"
	ofType := func(kind target.Type, protocol string) func(g *elbsim.SeedGroup) {
		return func(g *elbsim.SeedGroup) {
			g.Name, g.Type, g.LoadBalancer = "odd", kind, ""
			g.Protocol = protocol
		}
	}
	for name, c := range map[string]struct {
		group  func(*elbsim.SeedGroup)
		change func(*v1beta1.TargetGroupBinding)
		want   complaint
	}{
		"unknown ARN": {
			change: func(b *v1beta1.TargetGroupBinding) { b.Spec.TargetGroupARN = missing },
			want:   complaint{target.TargetGroupNotFound, []string{"target group " + missing, "not found", "create the target group, or correct its ARN or name"}},
		},
		"unknown name": {
			change: func(b *v1beta1.TargetGroupBinding) { b.Spec.TargetGroupARN, b.Spec.TargetGroupName = "", "missing" },
			want:   complaint{target.TargetGroupNotFound, []string{"target group missing", "not found", "create the target group, or correct its ARN or name"}},
		},
		"group of type instance": {
			group: ofType(target.TypeInstance, "HTTP"),
			want:  complaint{target.TargetTypeMismatch, []string{"target group odd is of type instance", "name a group of type ip"}},
		},
		"group of type lambda": {
			group: ofType(target.TypeLambda, "HTTP"),
			want:  complaint{target.TargetTypeMismatch, []string{"target group odd is of type lambda", "name a group of type ip"}},
		},
		"another address family": {
			group:  func(g *elbsim.SeedGroup) { g.Name, g.Family = "odd", target.IPv6 },
			change: func(b *v1beta1.TargetGroupBinding) { b.Spec.IPAddressType = v1beta1.IPAddressTypeIPv4 },
			want:   complaint{target.AddressFamilyMismatch, []string{"ipAddressType is ipv4 but target group odd is of ipv6", "correct ipAddressType or leave it out"}},
		},
		"another VPC": {
			group:  func(g *elbsim.SeedGroup) { g.Name = "odd" },
			change: func(b *v1beta1.TargetGroupBinding) { b.Spec.VPCID = "vpc-00000000000000000" },
			want:   complaint{target.VPCMismatch, []string{"vpcID is vpc-00000000000000000 but target group odd is in vpc-", "correct vpcID or leave it out"}},
		},
		"missing Service": {
			change: func(b *v1beta1.TargetGroupBinding) { b.Spec.ServiceRef.Name = "missing" },
			want:   complaint{target.ServiceNotFound, []string{`Service "missing" does not exist`, "create it, or correct the binding's Service name"}},
		},
		"missing port": {
			change: func(b *v1beta1.TargetGroupBinding) { b.Spec.ServiceRef.Port.IntVal = 8080 },
			want:   complaint{target.PortNotFound, []string{`Service "web" has no port "8080" but 80 http`, "correct the binding's port"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			right := e.group(func(g *elbsim.SeedGroup) { g.Name = "right" })
			odd := right
			if c.group != nil {
				odd = e.group(c.group)
			}
			e.deployment("web", 1)
			e.service("web")
			change := c.change
			if change == nil {
				change = func(*v1beta1.TargetGroupBinding) {}
			}
			if c.want.reason == target.ServiceNotFound || c.want.reason == target.PortNotFound {
				odd = e.group(func(g *elbsim.SeedGroup) { g.Name = "odd" })
			}
			e.binding("wrong", "web", odd, change)
			e.binding("right", "web", right)
			e.controller()
			e.complains(c.want)
			e.inStep(right, "web", 1)
			e.condition("right", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
		})
	}
}

// A binding with one of these credentials complains, and works once they are good.
func TestBadCredentials(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings func(*elbsim.Settings)
		env      []string
		want     complaint
		mends    bool
	}{
		"denied": {
			settings: func(s *elbsim.Settings) { s.Deny = []string{"*"} },
			want:     complaint{target.AccessDenied, []string{"is not authorized to perform: elasticloadbalancing:DescribeTargetGroups", "IAM policy"}},
			mends:    true,
		},
		"expired": {
			settings: func(s *elbsim.Settings) {
				s.Credentials = []elbsim.Credential{{AccessKey: "lab", ExpiredTokens: []string{"old"}}}
			},
			env:   []string{"AWS_SESSION_TOKEN=old"},
			want:  complaint{target.CredentialsInvalid, []string{"token included in the request is expired", "check the AWS credentials of the pod"}},
			mends: true,
		},
		"unknown access key": {
			settings: func(s *elbsim.Settings) { s.Credentials = []elbsim.Credential{{AccessKey: "other"}} },
			want:     complaint{target.CredentialsInvalid, []string{"security token included in the request is invalid", "check the AWS credentials of the pod"}},
			mends:    true,
		},
		"none at all": {
			env:  []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="},
			want: complaint{target.CredentialsInvalid, []string{"no AWS credentials found", "EKS Pod Identity or IRSA", "AWS_ACCESS_KEY_ID"}},
		},
		"unreachable endpoint": {
			env:  []string{"AWS_ENDPOINT_URL=http://127.0.0.1:1"},
			want: complaint{target.Unreachable, []string{"http://127.0.0.1:1", "connection refused", "check the network, the region and the endpoint"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			if c.settings != nil {
				e.configure(c.settings)
			}
			group := e.group()
			e.deployment("web", 1)
			e.service("web")
			e.binding("wrong", "web", group)
			p := e.controllerWith(rig.ProcessOptions{Env: c.env})
			e.complains(c.want)
			if logs(p, "goroutine ") || logs(p, "operation error") {
				t.Error("the log shows a stack trace or the SDK's inner steps")
			}
			if c.mends {
				e.configure(func(s *elbsim.Settings) { s.Deny, s.Credentials = nil, nil })
				e.inStep(group, "web", 1)
			}
		})
	}
}

func TestNoRegionForAGroupNamedByName(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 1)
	e.service("web")
	e.binding("wrong", "web", group, named)
	e.binding("right", "web", group)
	e.controllerWith(rig.ProcessOptions{Env: []string{"AWS_REGION="}})
	e.complains(complaint{target.RegionUnknown, []string{"named without a region", "--region or AWS_REGION", "targetGroupARN"}})
	e.inStep(group, "web", 1)
}

func TestBadAnnotations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		annotations map[string]string
		ports       []corev1.ServicePort
		says        []string
	}{
		"malformed ARN":  {map[string]string{v1beta1.AnnotationTargetGroupARN: "web"}, nil, []string{v1beta1.AnnotationTargetGroupARN, `"web" is not an ARN`, "want arn:aws:"}},
		"malformed name": {map[string]string{v1beta1.AnnotationTargetGroupName: "no name"}, nil, []string{v1beta1.AnnotationTargetGroupName, `"no name"`, "1 to 32 letters, digits and inner hyphens"}},
		"both": {
			map[string]string{v1beta1.AnnotationTargetGroupName: "web", v1beta1.AnnotationTargetGroupARN: "arn"},
			nil,
			[]string{v1beta1.AnnotationTargetGroupName, "are both set: remove one"},
		},
		"port out of range": {
			map[string]string{v1beta1.AnnotationTargetGroupName: "web", v1beta1.AnnotationPort: "70000"},
			nil,
			[]string{v1beta1.AnnotationPort, "70000 is out of range: want 1 to 65535"},
		},
		"no port of two": {
			map[string]string{v1beta1.AnnotationTargetGroupName: "web"},
			[]corev1.ServicePort{{Name: "http", Port: 80}, {Name: "admin", Port: 81}},
			[]string{v1beta1.AnnotationPort, "is missing and the Service has 2 ports"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			s := e.service("wrong", c.ports...)
			update(e, s, func(s *corev1.Service) { s.Annotations = c.annotations })
			e.controller()
			note := e.event("wrong", string(target.InvalidBinding), c.says[0]).Note
			e.contains(note, c.says...)
		})
	}
}
