package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

const namespace = "trial"

// application is a Deployment with a Service of its name.
type application struct {
	name     string
	replicas int32
	// sleep is how long its pods go on serving when they are deleted.
	sleep int64
	// annotated: the Service itself names a group of the application's name.
	annotated bool
}

// apps are the applications of the trial's world.
var apps = []application{
	{name: "shop", replicas: 4},
	{name: "cart", replicas: 3, sleep: 1},
	{name: "pay", replicas: 2},
	{name: "api", replicas: 3, annotated: true},
}

// declaration is a TargetGroupBinding.
type declaration struct {
	name, service, group string
	byName               bool
}

// bindings are those of the trial's world. Two groups have two of them.
var bindings = []declaration{
	{name: "shop", service: "shop", group: "front"},
	{name: "cart", service: "cart", group: "front", byName: true},
	{name: "cart-too", service: "cart", group: "back"},
	{name: "pay", service: "pay", group: "back"},
	{name: "pay-alone", service: "pay", group: "pay", byName: true},
}

// stage is the trial's corner of a rig.
type stage struct {
	*rig.Rig
	groups map[string]string // name -> ARN
}

func newStage(ctx context.Context, r *rig.Rig) (*stage, error) {
	s := &stage{Rig: r, groups: map[string]string{}}
	for _, name := range []string{"front", "back", "pay", "api"} {
		arn, err := r.Sim.PlantGroup(elbsim.SeedGroup{
			Name: name, LoadBalancer: "trial",
			HealthCheck: elbsim.SeedCheck{
				Path: "/readyz", Interval: elbsim.Duration(5 * time.Second), Timeout: elbsim.Duration(2 * time.Second),
				HealthyThreshold: 2, UnhealthyThreshold: 2,
			},
		})
		if err != nil {
			return nil, err
		}
		s.groups[name] = arn.String()
	}
	if err := r.Namespace(ctx, namespace); err != nil {
		return nil, err
	}
	return s, s.mend(ctx, 0)
}

// mend brings everything that acts changed back to how it was, with more replicas
// of each application.
func (s *stage) mend(ctx context.Context, more int32) error {
	for _, a := range apps {
		if err := s.mendDeployment(ctx, a, a.replicas+more); err != nil {
			return err
		}
		if err := s.exist(ctx, s.service(a)); err != nil {
			return err
		}
	}
	for _, d := range bindings {
		if err := s.exist(ctx, s.binding(d)); err != nil {
			return err
		}
	}
	// A snapshot may have been taken while the annotation was away.
	if err := persist(ctx, func() error { return s.annotate(ctx, s.groups["api"]) }); err != nil {
		return err
	}
	return s.allReady(ctx)
}

// annotate makes the annotated Service name a group, or none.
func (s *stage) annotate(ctx context.Context, arn string) error {
	value := "null"
	if arn != "" {
		value = fmt.Sprintf("%q", arn)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}}}`, v1beta1.AnnotationTargetGroupARN, value)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "api"}}
	return s.API.Patch(ctx, service, client.RawPatch("application/merge-patch+json", patch))
}

// mendDeployment makes a Deployment be there with as many replicas.
func (s *stage) mendDeployment(ctx context.Context, a application, replicas int32) error {
	return persist(ctx, func() error {
		want := deployment(a, replicas)
		have := &appsv1.Deployment{}
		err := s.API.Get(ctx, client.ObjectKeyFromObject(want), have)
		if apierrors.IsNotFound(err) {
			return s.API.Create(ctx, want)
		}
		if err != nil || *have.Spec.Replicas == replicas {
			return err
		}
		have.Spec.Replicas = &replicas
		return s.API.Update(ctx, have)
	})
}

// allReady takes back what made pods unready.
func (s *stage) allReady(ctx context.Context) error {
	return persist(ctx, func() error {
		var pods corev1.PodList
		if err := s.API.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
			return err
		}
		for i := range pods.Items {
			if err := client.IgnoreNotFound(s.setReady(ctx, &pods.Items[i], true)); err != nil {
				return err
			}
		}
		return nil
	})
}

// setReady makes a pod's web server ready or not.
func (s *stage) setReady(ctx context.Context, pod *corev1.Pod, to bool) error {
	if (pod.Annotations[app.ReadyAnnotation] != "false") == to {
		return nil
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, app.ReadyAnnotation, fmt.Sprint(to))
	return s.API.Patch(ctx, pod, client.RawPatch("application/merge-patch+json", patch))
}

// exist makes an object be there. One that is being deleted has to go first.
func (s *stage) exist(ctx context.Context, object client.Object) error {
	return persist(ctx, func() error {
		fresh := object.DeepCopyObject().(client.Object)
		err := s.API.Create(ctx, fresh)
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		if err := s.API.Get(ctx, client.ObjectKeyFromObject(object), fresh); err != nil {
			return err
		}
		if fresh.GetDeletionTimestamp() != nil {
			return errors.New("its predecessor is still being deleted")
		}
		return nil
	})
}

// persist repeats what fails while the API server is away, in conflict or not yet
// so far, until it is done.
func persist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		idle(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("%w; at last: %w", context.Cause(ctx), err)
		}
	}
}

func deployment(a application, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": a.name}
	grace, port := int64(4), intstr.FromString("http")
	container := corev1.Container{
		Name: "web", Image: "lab.local/web",
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: port}},
			PeriodSeconds: 1, FailureThreshold: 1, TimeoutSeconds: 5,
		},
	}
	if a.sleep > 0 {
		container.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: a.sleep}}}
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: a.name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{container}},
			},
		},
	}
}

func (s *stage) service(a application) *corev1.Service {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: a.name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": a.name},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}
	if a.annotated {
		service.Annotations = map[string]string{v1beta1.AnnotationTargetGroupARN: s.groups[a.name]}
	}
	return service
}

func (s *stage) binding(d declaration) *v1beta1.TargetGroupBinding {
	b := &v1beta1.TargetGroupBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: d.name},
		Spec: v1beta1.TargetGroupBindingSpec{
			ServiceRef: v1beta1.ServiceReference{Name: d.service, Port: intstr.FromInt32(80)},
		},
	}
	if d.byName {
		b.Spec.TargetGroupName = d.group
	} else {
		b.Spec.TargetGroupARN = s.groups[d.group]
	}
	return b
}
