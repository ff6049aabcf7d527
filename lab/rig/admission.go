package rig

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission"
)

// DeliveryLabel is a label of namespaces: by which delivery of internal/admission
// pods are changed there. In namespaces without it they are left alone.
const DeliveryLabel = "lab.local/delivery"

// deliveredBy selects namespaces by their delivery.
func deliveredBy(values []string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: DeliveryLabel, Operator: metav1.LabelSelectorOpIn, Values: values}
}

// InstallPolicy puts the policy of config/policy in force in namespaces with one of
// these deliveries.
func (r *Rig) InstallPolicy(ctx context.Context, deliveries ...string) error {
	var policy admissionregistrationv1.MutatingAdmissionPolicy
	var binding admissionregistrationv1.MutatingAdmissionPolicyBinding
	if err := readConfig("policy/policy.yaml", &policy); err != nil {
		return err
	}
	if err := readConfig("policy/policy_binding.yaml", &binding); err != nil {
		return err
	}
	binding.Spec.MatchResources = &admissionregistrationv1.MatchResources{
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{deliveredBy(deliveries)}},
	}
	for _, object := range []client.Object{&policy, &binding} {
		if err := r.API.Create(ctx, object); err != nil {
			return fmt.Errorf("install the policy: %w", err)
		}
	}
	return nil
}

// Webhook is a webhook with the configuration of config/webhook, and the controller
// that serves it.
type Webhook struct {
	Process       *Process
	Configuration *admissionregistrationv1.MutatingWebhookConfiguration

	rig             *Rig
	namespace, name string
}

// StartWebhook puts a webhook in force in namespaces with one of these deliveries.
// The namespace, which exists, holds its certificates, and its name is that of no
// other. It listens on a loopback address instead of a Service, since nothing answers
// at those of the lab. The controller never becomes the leader: it serves the webhook
// all the same, and leaves bindings alone.
//
// What the API server made of it shows with Injected.
func (r *Rig) StartWebhook(ctx context.Context, namespace, name string, deliveries ...string) (*Webhook, error) {
	if err := r.takeLease(ctx, namespace, name); err != nil {
		return nil, err
	}
	w := &Webhook{
		rig: r, namespace: namespace, name: name,
		Configuration: &admissionregistrationv1.MutatingWebhookConfiguration{},
	}
	if err := readConfig("webhook/configuration.yaml", w.Configuration); err != nil {
		return nil, err
	}
	w.Configuration.Name = name
	ours := &w.Configuration.Webhooks[0]
	ours.NamespaceSelector.MatchExpressions = append(ours.NamespaceSelector.MatchExpressions, deliveredBy(deliveries))
	nobody := "https://127.0.0.1:1/pods" // until the controller is there
	ours.ClientConfig.Service, ours.ClientConfig.URL = nil, &nobody
	if err := r.API.Create(ctx, w.Configuration); err != nil {
		return nil, fmt.Errorf("install the webhook: %w", err)
	}
	return w, w.Serve(ctx)
}

// Serve starts a controller and makes the API server call it and no other.
func (w *Webhook) Serve(ctx context.Context) error {
	var err error
	w.Process, err = w.rig.Controller(ctx, ProcessOptions{Webhook: true, Args: []string{
		"--log-format=text", "--webhook-name=" + w.name, "--webhook-namespace=" + w.namespace,
		"--leader-elect-namespace=" + w.namespace, "--leader-elect-lease=" + w.name,
	}})
	if err != nil {
		return err
	}
	patch := fmt.Sprintf(`[{"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": %q}]`, w.Process.Webhook)
	if err := w.rig.API.Patch(ctx, w.Configuration, client.RawPatch(types.JSONPatchType, []byte(patch))); err != nil {
		return fmt.Errorf("point the API server at the webhook: %w", err)
	}
	return nil
}

// takeLease makes a Lease that somebody else holds for longer than a lab lives.
func (r *Rig) takeLease(ctx context.Context, namespace, name string) error {
	holder, seconds, now := "somebody else", int32(24*60*60), metav1.NowMicro()
	return r.API.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now,
		},
	})
}

// Deliver puts a delivery in force in a namespace.
func (r *Rig) Deliver(ctx context.Context, namespace, by string) error {
	patch := fmt.Sprintf(`{"metadata": {"labels": {%q: %q}}}`, DeliveryLabel, by)
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	return r.API.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// Injected returns when new pods of a namespace with these labels are changed.
func (r *Rig) Injected(ctx context.Context, namespace string, labels map[string]string) error {
	return r.InjectedAs(ctx, namespace, labels, func(pod *corev1.Pod) bool { return pod.Labels[v1beta1.LabelInjected] == "true" })
}

// InjectedAs returns when new pods of a namespace with these labels come out right. An
// API server that sees a policy just before it knows the kind of its parameters looks
// for the kind again only after a minute.
func (r *Rig) InjectedAs(ctx context.Context, namespace string, labels map[string]string, right func(*corev1.Pod) bool) error {
	var pod *corev1.Pod
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 5*time.Minute, true, func(ctx context.Context) (bool, error) {
		pod = &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pod", Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "lab.local/web"}}},
		}
		err := r.API.Create(ctx, pod, client.DryRunAll)
		return right(pod), err
	})
	if err != nil {
		return fmt.Errorf("new pods with labels %v are not changed as they should be, but come out as %+v: %w", labels, pod, err)
	}
	return nil
}

// PlantBindings makes bindings with a status that no controller wrote, and the
// PodInjection that follows from it.
func (r *Rig) PlantBindings(ctx context.Context, namespace string, bindings []v1beta1.TargetGroupBinding) error {
	for i := range bindings {
		b := bindings[i].DeepCopy()
		b.Namespace = namespace
		b.Spec.TargetGroupName = "nowhere"
		if b.Spec.PodSelector != nil {
			b.Spec.PodPort = intstr.FromInt32(80)
		} else {
			b.Spec.ServiceRef = v1beta1.ServiceReference{Name: "web", Port: intstr.FromInt32(80)}
		}
		if err := r.API.Create(ctx, b); err != nil {
			return err
		}
		b.Status = bindings[i].Status
		if err := r.API.Status().Update(ctx, b); err != nil {
			return err
		}
	}
	return r.API.Create(ctx, &v1beta1.PodInjection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: v1beta1.PodInjectionName},
		ByLabel:    admission.ByLabel(admission.BindingsOf(bindings)),
	})
}

func readConfig(file string, into any) error {
	root, err := sourceRoot()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(root, "config", file))
	if err == nil {
		err = yaml.UnmarshalStrict(data, into)
	}
	if err != nil {
		return fmt.Errorf("read config/%s: %w", file, err)
	}
	return nil
}
