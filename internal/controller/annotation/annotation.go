// Package annotation turns the annotations of a Service into a TargetGroupBinding
// that the Service owns. So an annotated Service has all that a binding has:
// validation, status, a finalizer that sees its targets off.
package annotation

import (
	"cmp"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Reconciler reconciles the binding of each annotated Service.
type Reconciler struct {
	Client client.Client
	Events *kube.Recorder
}

// The binding names the Service as the owner that waits for its end. Where the
// admission plugin OwnerReferencesPermissionEnforcement runs, that takes the right
// to set finalizers of the owner; nothing ever does.
//
// +kubebuilder:rbac:groups="",resources=services,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=services/finalizers,verbs=update
// +kubebuilder:rbac:groups=targetgroupcontroller.io,resources=targetgroupbindings,verbs=list;watch;create;patch;delete

// SetupWithManager makes the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("annotation").
		For(&corev1.Service{}).
		Owns(&v1beta1.TargetGroupBinding{}).
		Complete(r)
}

// BindingName is the name of the binding that a Service's annotations declare.
func BindingName(service string) string { return "service-" + service }

// Reconcile brings the binding in line with the annotations.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var service corev1.Service
	if err := r.Client.Get(ctx, req.NamespacedName, &service); err != nil {
		// The binding of a deleted Service is collected, since the Service owned it.
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var existing v1beta1.TargetGroupBinding
	key := types.NamespacedName{Namespace: service.Namespace, Name: BindingName(service.Name)}
	err := r.Client.Get(ctx, key, &existing)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("read binding %s: %w", key, err)
	}
	if err == nil && !metav1.IsControlledBy(&existing, &service) {
		if annotated(&service) {
			r.complain(ctx, &service, fmt.Sprintf("TargetGroupBinding %s exists and is not of this Service: delete it, or remove the annotations", key.Name))
		}
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, r.align(ctx, &service, &existing, err == nil)
}

// align creates, changes or deletes the binding.
func (r *Reconciler) align(ctx context.Context, service *corev1.Service, existing *v1beta1.TargetGroupBinding, exists bool) error {
	spec, err := specOf(service)
	switch {
	case exists && !existing.DeletionTimestamp.IsZero():
		return nil // its end brings us back
	case !annotated(service) && exists:
		return client.IgnoreNotFound(r.Client.Delete(ctx, existing))
	case !annotated(service):
		return nil
	case err != nil:
		r.complain(ctx, service, err.Error())
		return nil
	case !exists:
		return r.refused(ctx, service, r.Client.Create(ctx, bindingFor(service, spec)))
	case existing.Spec.TargetGroupARN != spec.TargetGroupARN || existing.Spec.TargetGroupName != spec.TargetGroupName:
		// A binding never changes its group: the old one sees its targets off,
		// and its end brings us back to make the new one.
		return client.IgnoreNotFound(r.Client.Delete(ctx, existing))
	}
	changed := existing.DeepCopy()
	changed.Spec.ServiceRef, changed.Spec.ReadinessGate, changed.Spec.Drain = spec.ServiceRef, spec.ReadinessGate, spec.Drain
	if equality.Semantic.DeepEqual(existing.Spec, changed.Spec) {
		return nil
	}
	return r.refused(ctx, service, r.Client.Patch(ctx, changed, client.MergeFrom(existing)))
}

// refused turns the API server's refusal of a binding into an event on the
// Service, where the user looks. It cannot be mended by trying again.
func (r *Reconciler) refused(ctx context.Context, service *corev1.Service, err error) error {
	if err == nil || !apierrors.IsInvalid(err) {
		return err
	}
	r.complain(ctx, service, err.Error())
	return nil
}

func (r *Reconciler) complain(ctx context.Context, service *corev1.Service, message string) {
	r.Events.Complain(ctx, service, target.InvalidBinding, message)
}

func annotated(service *corev1.Service) bool {
	return service.Annotations[v1beta1.AnnotationTargetGroupARN] != "" ||
		service.Annotations[v1beta1.AnnotationTargetGroupName] != ""
}

// specOf reads the annotations. The port can be left out where there is only one.
func specOf(service *corev1.Service) (v1beta1.TargetGroupBindingSpec, error) {
	spec := v1beta1.TargetGroupBindingSpec{
		TargetGroupARN:  service.Annotations[v1beta1.AnnotationTargetGroupARN],
		TargetGroupName: service.Annotations[v1beta1.AnnotationTargetGroupName],
		ServiceRef:      v1beta1.ServiceReference{Name: service.Name},
		ReadinessGate:   v1beta1.ReadinessGate(cmp.Or(service.Annotations[v1beta1.AnnotationReadinessGate], string(v1beta1.ReadinessGateNone))),
	}
	if mode := service.Annotations[v1beta1.AnnotationDrain]; mode != "" {
		spec.Drain = &v1beta1.Drain{Mode: v1beta1.DrainMode(mode)}
	}
	fields := kube.RefFields{ARN: v1beta1.AnnotationTargetGroupARN, Name: v1beta1.AnnotationTargetGroupName}
	if _, err := fields.Ref(spec.TargetGroupARN, spec.TargetGroupName); err != nil {
		return spec, fmt.Errorf("annotation %w", err)
	}
	port := service.Annotations[v1beta1.AnnotationPort]
	switch {
	case port != "":
		spec.ServiceRef.Port = intstr.Parse(port)
	case len(service.Spec.Ports) == 1:
		spec.ServiceRef.Port = intstr.FromInt32(service.Spec.Ports[0].Port)
	default:
		return spec, fmt.Errorf("annotation %s is missing and the Service has %d ports: name one of them",
			v1beta1.AnnotationPort, len(service.Spec.Ports))
	}
	if _, err := kube.PortOf(spec.ServiceRef.Port); err != nil {
		return spec, fmt.Errorf("annotation %s: %w", v1beta1.AnnotationPort, err)
	}
	return spec, nil
}

func bindingFor(service *corev1.Service, spec v1beta1.TargetGroupBindingSpec) *v1beta1.TargetGroupBinding {
	owner := metav1.NewControllerRef(service, corev1.SchemeGroupVersion.WithKind("Service"))
	binding := &v1beta1.TargetGroupBinding{Spec: spec}
	binding.Namespace, binding.Name = service.Namespace, BindingName(service.Name)
	binding.OwnerReferences = []metav1.OwnerReference{*owner}
	binding.Labels = map[string]string{"app.kubernetes.io/managed-by": "targetgroupcontroller"}
	return binding
}
