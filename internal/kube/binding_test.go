package kube

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const webARN = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef"

func aBinding() *v1beta1.TargetGroupBinding {
	tgb := &v1beta1.TargetGroupBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Generation: 4}}
	tgb.Spec = v1beta1.TargetGroupBindingSpec{
		TargetGroupARN: webARN, ServiceRef: v1beta1.ServiceReference{Name: "front", Port: intstr.FromString("http")},
		Takeover: v1beta1.TakeoverConfirmed, NodeNotReady: "Deregister", IPAddressType: "ipv6", VPCID: "vpc-1",
		IAMRoleARNToAssume: "role", AssumeRoleExternalID: "id",
	}
	tgb.Status.TargetGroupARN = webARN
	tgb.Status.Targets = []string{"10.0.0.1:80", "not ours to read", "[2001:db8::1]:80"}
	return tgb
}

func TestBindingOf(t *testing.T) {
	tgb := aBinding()
	got, err := BindingOf(tgb)
	if err != nil {
		t.Fatal(err)
	}
	arn, err := target.ParseARN(webARN)
	if err != nil {
		t.Fatal(err)
	}
	want := Binding{
		ID: desired.BindingID{Namespace: "shop", Name: "web"}, Object: tgb, Group: target.Ref{ARN: arn},
		Service: types.NamespacedName{Namespace: "shop", Name: "front"}, Port: desired.PortRef{Name: "http"},
		Policy: plan.Policy{Takeover: plan.Confirmed}, Nodes: desired.LeaveSilentNode, Family: target.IPv6, VPC: "vpc-1",
		Role: "role", ExternalID: "id", Ours: target.SetOf(mustKey("10.0.0.1:80"), mustKey("[2001:db8::1]:80")), OursIn: webARN,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	now := metav1.Now()
	tgb.DeletionTimestamp = &now
	if got, err := BindingOf(tgb); err != nil || !got.Deleting {
		t.Errorf("got deleting %v, %v", got.Deleting, err)
	}
}

func TestBehaviour36_EventsOfAnAnnotationGoToItsService(t *testing.T) {
	tgb, yes := aBinding(), true
	tgb.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: "front", UID: "uid", Controller: &yes}}
	got, err := BindingOf(tgb)
	want := &corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: "front", UID: "uid"}
	if err != nil || !reflect.DeepEqual(got.Object, want) {
		t.Errorf("got %+v, %v, want %+v", got.Object, err, want)
	}
	tgb.OwnerReferences[0].Kind = "Application"
	if got, err := BindingOf(tgb); err != nil || got.Object != tgb {
		t.Errorf("got %+v, %v, want the binding itself", got.Object, err)
	}
}

// selecting makes a spec choose pods by itself.
func selecting(port string, selector metav1.LabelSelector) func(*v1beta1.TargetGroupBindingSpec) {
	return func(s *v1beta1.TargetGroupBindingSpec) {
		s.ServiceRef, s.PodSelector, s.PodPort = v1beta1.ServiceReference{}, &selector, intstr.FromString(port)
	}
}

func TestBehaviour37_BindingThatChoosesPods(t *testing.T) {
	for _, c := range []struct {
		at   v1beta1.RegisterAt
		want desired.RegisterAt
	}{{"", desired.AtReady}, {v1beta1.RegisterAtReady, desired.AtReady}, {v1beta1.RegisterAtRunning, desired.AtRunning}} {
		tgb := aBinding()
		selecting("http", metav1.LabelSelector{
			MatchLabels:      map[string]string{"app": "web"},
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "track", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"canary"}}},
		})(&tgb.Spec)
		tgb.Spec.RegisterAt = c.at
		got, err := BindingOf(tgb)
		if err != nil || got.Service.Name != "" || got.Port.Name != "http" || got.RegisterAt != c.want {
			t.Errorf("got %+v, %v", got, err)
		}
		for _, pod := range []struct {
			namespace string
			labels    map[string]string
			want      bool
		}{
			{"shop", map[string]string{"app": "web"}, true},
			{"shop", map[string]string{"app": "web", "track": "stable"}, true},
			{"shop", map[string]string{"app": "web", "track": "canary"}, false},
			{"shop", map[string]string{"app": "api"}, false},
			{"other", map[string]string{"app": "web"}, false},
		} {
			services := []types.NamespacedName{{Namespace: "shop", Name: "front"}}
			if chosen := got.Chooses(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.namespace, Labels: pod.labels}}, services); chosen != pod.want {
				t.Errorf("pod %+v: chosen is %v", pod, chosen)
			}
		}
	}
}

func TestBehaviour35_BadSpecIsExplained(t *testing.T) {
	for _, c := range []struct {
		change func(*v1beta1.TargetGroupBindingSpec)
		says   []string
	}{
		{func(s *v1beta1.TargetGroupBindingSpec) { s.TargetGroupName = "web" }, []string{"targetGroupARN", "targetGroupName", "both", "remove one"}},
		{func(s *v1beta1.TargetGroupBindingSpec) { s.TargetGroupARN = "" }, []string{"neither", "set one"}},
		{func(s *v1beta1.TargetGroupBindingSpec) { s.TargetGroupARN = "web" }, []string{"targetGroupARN", `"web"`, "want arn:aws"}},
		{func(s *v1beta1.TargetGroupBindingSpec) { s.ServiceRef.Port = intstr.FromInt32(0) }, []string{"spec.serviceRef.port", "0", "1 to 65535"}},
		{func(s *v1beta1.TargetGroupBindingSpec) { s.PodSelector = &metav1.LabelSelector{} }, []string{`spec.serviceRef "front" and spec.podSelector are both set`}},
		{selecting("http", metav1.LabelSelector{}), []string{"spec.podSelector is empty", "every pod of the namespace"}},
		{selecting("", metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}), []string{"spec.podPort", "is empty"}},
		{selecting("http", metav1.LabelSelector{MatchLabels: map[string]string{"app": "no value"}}), []string{"spec.podSelector", `"no value"`}},
		{selecting("http", metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Like"}}}), []string{"spec.podSelector", `"Like"`}},
	} {
		tgb := aBinding()
		c.change(&tgb.Spec)
		_, err := BindingOf(tgb)
		for _, words := range c.says {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("got %v, want an error that says %s", err, words)
			}
		}
	}
}

func TestRefByName(t *testing.T) {
	if got, err := (RefFields{ARN: "--arn", Name: "--name"}).Ref("", "web"); err != nil || got != (target.Ref{Name: "web"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestPortOf(t *testing.T) {
	for _, c := range []struct {
		port intstr.IntOrString
		want string // name or number; empty: an error
	}{
		{intstr.FromInt32(80), "{ 80}"},
		{intstr.FromInt32(65535), "{ 65535}"},
		{intstr.FromString("80"), "{ 80}"},
		{intstr.FromString("http"), "{http 0}"},
		{intstr.FromString("8-ball"), "{8-ball 0}"},
		{intstr.FromString("080"), "{080 0}"},
		{intstr.FromInt32(0), ""},
		{intstr.FromInt32(-1), ""},
		{intstr.FromInt32(65536), ""},
		{intstr.FromString("65536"), ""},
		{intstr.FromString("0"), ""},
		{intstr.FromString(""), ""},
	} {
		got, err := PortOf(c.port)
		if text := fmt.Sprintf("{%s %d}", got.Name, got.Number); (err == nil) != (c.want != "") || err == nil && text != c.want {
			t.Errorf("%#v: got %s, %v, want %q", c.port, text, err, c.want)
		}
	}
}

func TestFlagBindingHasANameOfItsOwn(t *testing.T) {
	service := types.NamespacedName{Namespace: "shop", Name: "web"}
	got := FlagBinding("shop", Binding{Service: service, Port: desired.PortRef{Number: 80}, Group: target.Ref{Name: "group"}})
	if got.ID.String() != "shop/service/web" || got.Service != service || got.Nodes != desired.HoldOnSilentNode || got.Object == nil {
		t.Errorf("got %+v", got)
	}
	for _, ref := range []target.Ref{{Name: "web"}, {ARN: group().ARN}} {
		if got := FlagBinding("shop", Binding{Selector: labels.Everything(), Group: ref}); got.ID.String() != "shop/pods/web" || got.Object != nil {
			t.Errorf("got %+v", got)
		}
	}
}

func group() target.Group {
	arn, err := target.ParseARN(webARN)
	if err != nil {
		panic(err)
	}
	return target.Group{ARN: arn}
}

func TestBehaviour42_StatusOf(t *testing.T) {
	tgb := aBinding()
	r := report.Binding{
		Counted: true, Counts: report.Counts{Desired: 1, Registered: 2, Healthy: 3, Draining: 4, Held: 5},
		Targets: []target.Key{mustKey("10.0.0.7:80")},
		Ready:   report.Condition{True: true, Reason: target.Synced, Message: "fine"},
		Held:    report.Condition{Reason: target.Synced, Message: "none"},
	}
	got := StatusOf(tgb, r, group())
	counts := fmt.Sprintf("%d %d %d %d %d %v %d %v %s", got.Desired, got.Registered, got.Healthy, got.Draining, got.Held,
		got.Targets, got.ObservedGeneration, got.TargetGroupARN == webARN, got.TargetGroupName)
	if counts != "1 2 3 4 5 [10.0.0.7:80] 4 true web" {
		t.Errorf("got %s", counts)
	}
	if len(got.Conditions) != 2 || got.Conditions[0].Type != v1beta1.ConditionReady || got.Conditions[0].Status != metav1.ConditionTrue ||
		got.Conditions[0].Reason != "Synced" || got.Conditions[0].ObservedGeneration != 4 || got.Conditions[1].Status != metav1.ConditionFalse {
		t.Errorf("got conditions %+v", got.Conditions)
	}
	if len(tgb.Status.Targets) != 3 || len(tgb.Status.Conditions) != 0 {
		t.Error("the object itself was changed")
	}
	tgb.Status = got
	if again := StatusOf(tgb, r, group()); !reflect.DeepEqual(again, got) {
		t.Errorf("the same report gave another status: %+v, after %+v", again, got)
	}
}

func TestStatusKeepsWhatIsNotKnownAnew(t *testing.T) {
	bad := report.Binding{Ready: report.Condition{Reason: target.TargetGroupNotFound, Message: "gone"}}
	for _, found := range []target.Group{{}, group()} {
		got := StatusOf(aBinding(), bad, found)
		if len(got.Targets) != 3 || got.TargetGroupARN != webARN || got.Conditions[0].Status != metav1.ConditionFalse || len(got.Conditions) != 1 {
			t.Errorf("got %+v, want the targets kept and the reason told", got)
		}
	}
}

// What was ours in a group is nobody's in the one that took its place.
func TestStatusForgetsTheTargetsOfAnotherGroup(t *testing.T) {
	tgb := aBinding()
	tgb.Status.TargetGroupARN = strings.Replace(webARN, "0123", "3210", 1)
	if got := StatusOf(tgb, report.Binding{}, group()); len(got.Targets) != 0 || got.TargetGroupARN != webARN {
		t.Errorf("got targets %v in %s", got.Targets, got.TargetGroupARN)
	}
}
