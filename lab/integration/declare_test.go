package integration

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// apply creates the objects of a file in the test's namespace, as kubectl would.
func (e *env) apply(file string) {
	e.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		e.Fatal(err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var object unstructured.Unstructured
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			e.Fatal(err)
		}
		object.SetNamespace(e.namespace)
		e.create(&object)
	}
}

// account is the access of a ServiceAccount with the rights of a file.
func (e *env) account(file, name string) *rest.Config {
	e.Helper()
	e.apply(file)
	config, err := shared.ServiceAccountConfig(e.ctx, e.namespace, name)
	if err != nil {
		e.Fatal(err)
	}
	return config
}

const oneService = "../../config/one-service/rbac.yaml"

func TestBindingByFlagsNeedsOnlyARole(t *testing.T) {
	t.Parallel()
	for name, port := range map[string][]string{"no port": nil, "port by name": {"--port=http"}, "port by number": {"--port=80"}} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			group := e.group()
			web := e.deployment("web", 2)
			e.service("web")
			p := e.controllerWith(rig.ProcessOptions{
				Config: e.account(oneService, "tgc"),
				Args:   append([]string{"--service=web", "--target-group-arn=" + group.String()}, port...),
			})
			e.inStep(group, "web", 2)
			e.event("web", string(target.Registered), "target")
			e.scale(web, 1)
			e.inStep(group, "web", 1)
			if strings.Contains(p.Log(), "forbidden") || strings.Contains(p.Log(), "level=ERROR") {
				t.Error("the log complains")
			}
		})
	}
}

func TestBindingByFlagsWithTheNameOfTheGroup(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 1)
	e.service("web")
	e.controller("--service=web", "--target-group-name="+group.Name)
	e.inStep(group, "web", 1)
}

func TestBindingsOfAllWaysAtOnce(t *testing.T) {
	e := newEnv(t)
	ways := []string{"flags", "annotation-arn", "annotation-name", "binding-arn", "binding-name"}
	groups := map[string]target.ARN{}
	for _, way := range ways {
		groups[way] = e.group(func(g *elbsim.SeedGroup) { g.Name = way })
		e.deployment(way, 1)
	}
	e.service("flags")
	e.annotated("annotation-arn", map[string]string{v1beta1.AnnotationTargetGroupARN: groups["annotation-arn"].String()})
	e.annotated("annotation-name", map[string]string{v1beta1.AnnotationTargetGroupName: "annotation-name", v1beta1.AnnotationPort: "http"})
	e.service("binding-arn")
	e.binding("by-arn", "binding-arn", groups["binding-arn"])
	e.service("binding-name")
	e.binding("by-name", "binding-name", groups["binding-name"], named)
	e.controller("--service=flags", "--port=80", "--target-group-arn="+groups["flags"].String(), "--bindings", "--annotations")
	for _, way := range ways {
		e.inStep(groups[way], way, 1)
	}
}

// named makes a binding name its group by name.
func named(b *v1beta1.TargetGroupBinding) {
	arn, err := target.ParseARN(b.Spec.TargetGroupARN)
	if err != nil {
		panic(err)
	}
	b.Spec.TargetGroupARN, b.Spec.TargetGroupName = "", arn.Name
}

func (e *env) annotated(name string, annotations map[string]string) *corev1.Service {
	e.Helper()
	s := e.service(name)
	update(e, s, func(s *corev1.Service) { s.Annotations = annotations })
	return s
}

func TestBehaviour36_AnnotationsFollowed(t *testing.T) {
	e := newEnv(t)
	one := e.group(func(g *elbsim.SeedGroup) { g.Name = "one" })
	two := e.group(func(g *elbsim.SeedGroup) { g.Name = "two" })
	e.deployment("web", 2)
	service := e.annotated("web", map[string]string{v1beta1.AnnotationTargetGroupARN: one.String()})
	e.controller()
	e.inStep(one, "web", 2)

	update(e, service, func(s *corev1.Service) { s.Annotations[v1beta1.AnnotationTargetGroupARN] = two.String() })
	e.inStep(two, "web", 2)
	e.inStepWith(one, nil)

	e.delete(service)
	e.inStepWith(two, nil)
}

// A binding that a person made is not touched because of a Service's annotations.
func TestBehaviour36_AnnotationsDoNotTakeOverABinding(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	e.deployment("web", 1)
	e.service("web")
	e.binding("service-web", "web", group)
	update(e, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: "web"}}, func(s *corev1.Service) {
		s.Annotations = map[string]string{v1beta1.AnnotationTargetGroupName: "other"}
	})
	e.controller()
	e.event("web", string(target.InvalidBinding), "TargetGroupBinding service-web exists and is not of this Service")
	e.inStep(group, "web", 1)
}

func TestBehaviour05_OnlyTheNamedPortCounts(t *testing.T) {
	e := newEnv(t)
	byName := e.group(func(g *elbsim.SeedGroup) { g.Name = "by-name" })
	byNumber := e.group(func(g *elbsim.SeedGroup) { g.Name = "by-number" })
	twoPorts := func(d *appsv1.Deployment) {
		ports := &d.Spec.Template.Spec.Containers[0].Ports
		*ports = append(*ports, corev1.ContainerPort{Name: "admin", ContainerPort: 9090})
	}
	e.deployment("web", 2, twoPorts)
	e.service("web",
		corev1.ServicePort{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
		corev1.ServicePort{Name: "admin", Port: 81, TargetPort: intstr.FromString("admin")})
	e.binding("by-name", "web", byName, func(b *v1beta1.TargetGroupBinding) { b.Spec.ServiceRef.Port = intstr.FromString("admin") })
	e.binding("by-number", "web", byNumber)
	e.controller()
	e.inStep(byNumber, "web", 2)
	e.eventually("admin ports", func() error {
		return same(e.registered(byName), onPort(e.pods("web"), "9090"), 2)
	})
}

// A named targetPort that is another number in each pod.
func TestBehaviour05_EachPodWithItsOwnNumber(t *testing.T) {
	e := newEnv(t)
	group := e.group()
	shop := map[string]string{"tier": "shop"}
	for name, port := range map[string]int32{"old": 8080, "new": 9090} {
		e.deployment(name, 1, func(d *appsv1.Deployment) {
			d.Spec.Template.Labels["tier"] = "shop"
			d.Spec.Template.Spec.Containers[0].Ports[0].ContainerPort = port
		})
	}
	service := e.service("web")
	update(e, service, func(s *corev1.Service) { s.Spec.Selector = shop })
	e.binding("web", "web", group)
	e.controller()
	e.eventually("both numbers", func() error {
		return same(e.registered(group), append(e.pods("old"), onPort(e.pods("new"), "9090")...), 2)
	})
	e.health(group, target.Healthy, 2)
}

// onPort gives the same addresses with another port.
func onPort(targets []string, port string) []string {
	var moved []string
	for _, t := range targets {
		moved = append(moved, t[:strings.LastIndex(t, ":")+1]+port)
	}
	return moved
}
