// Package preflight finds out, before the caches are started, what would keep them
// empty for ever.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/config"
)

const (
	// unreachableFor is how long an API server that does not answer is waited
	// for, since at the start of a pod or of a cluster it may come a little later.
	unreachableFor = 30 * time.Second
	// knockEvery is the pause between attempts.
	knockEvery = 2 * time.Second
)

// Check says in one clear sentence what would otherwise show as caches that
// never fill: an API server that does not answer or does not know us, a missing
// CRD, missing rights.
func Check(ctx context.Context, kubeConfig *rest.Config, settings config.Controller) error {
	client, err := kubernetes.NewForConfig(kubeConfig)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	if err := knock(ctx, client, kubeConfig.Host); err != nil {
		return err
	}
	if settings.Bindings {
		if err := checkCRD(client); err != nil {
			return err
		}
	}
	return checkRights(ctx, client, settings)
}

// knock returns when the API server has answered.
func knock(ctx context.Context, client kubernetes.Interface, host string) error {
	ctx, cancel := context.WithTimeout(ctx, unreachableFor)
	defer cancel()
	for {
		err := ask(ctx, client, "/version")
		switch {
		case apierrors.IsUnauthorized(err):
			return fmt.Errorf("the Kubernetes API at %s does not know the credentials it was given (Unauthorized): renew the token or certificate in the kubeconfig or of the ServiceAccount", host)
		case err == nil || apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
			return nil // it answered, be it that we may not ask for its version
		}
		ctrl.Log.Info("The Kubernetes API does not answer; trying again", "host", host, "error", err.Error())
		select {
		case <-time.After(knockEvery):
		case <-ctx.Done():
			return fmt.Errorf("the Kubernetes API at %s does not answer: %w: check the server in the kubeconfig and the network", host, err)
		}
	}
}

func ask(ctx context.Context, client kubernetes.Interface, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return client.Discovery().RESTClient().Get().AbsPath(path).Do(ctx).Error()
}

func checkCRD(client kubernetes.Interface) error {
	known, err := client.Discovery().ServerResourcesForGroupVersion(v1beta1.GroupVersion.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return nil // where not even this may be read, the caches will tell
	}
	for _, crd := range []struct{ resource, kind string }{{v1beta1.Resource, "TargetGroupBinding"}, {v1beta1.PodInjections, "PodInjection"}} {
		served := known != nil && slices.ContainsFunc(known.APIResources, func(r metav1.APIResource) bool { return r.Name == crd.resource })
		if !served {
			return fmt.Errorf("the cluster knows no %s of %s: install the CRD (kubectl apply -f config/crd), or do without by --service or --pod-selector with a target group, or --bindings=false --annotations=false", crd.kind, v1beta1.GroupVersion)
		}
	}
	return nil
}

// right is what the controller must be allowed to do.
type right struct{ group, resource, namespace, name, verbs string }

func rightsFor(settings config.Controller) []right {
	rights := []right{{resource: "pods", namespace: settings.Namespace, verbs: "list watch"}}
	if settings.Scope().Pods == nil {
		rights = append(rights,
			right{resource: "services", namespace: settings.Namespace, verbs: "list watch"},
			right{group: "discovery.k8s.io", resource: "endpointslices", namespace: settings.Namespace, verbs: "list watch"})
	}
	if settings.Bindings {
		bindings := right{group: v1beta1.GroupVersion.Group, resource: "targetgroupbindings", namespace: settings.Namespace, verbs: "list watch patch"}
		status := bindings
		status.resource, status.verbs = "targetgroupbindings/status", "patch"
		if settings.Annotations {
			bindings.verbs += " create delete"
		}
		injections := right{group: v1beta1.GroupVersion.Group, resource: v1beta1.PodInjections, namespace: settings.Namespace, verbs: "list watch create patch delete"}
		pods := right{resource: "pods/status", namespace: settings.Namespace, verbs: "patch"}
		rights = append(rights, bindings, status, injections, pods)
		if settings.DrainAddress != "0" {
			rights = append(rights, right{resource: "pods", namespace: settings.Namespace, verbs: "get"})
		}
	}
	if settings.LeaderElection {
		lease := right{group: "coordination.k8s.io", resource: "leases", namespace: settings.LeaseNamespace, verbs: "create"}
		named := lease
		named.name, named.verbs = settings.LeaseName, "get update"
		rights = append(rights, lease, named)
	}
	if settings.Webhook() {
		secret := right{resource: "secrets", namespace: settings.WebhookNamespace, verbs: "create"}
		named := secret
		named.name, named.verbs = settings.WebhookName, "get update"
		configuration := right{group: "admissionregistration.k8s.io", resource: "mutatingwebhookconfigurations", name: settings.WebhookName, verbs: "patch"}
		rights = append(rights, secret, named, configuration)
	}
	return rights
}

// checkRights names all rights that are missing.
func checkRights(ctx context.Context, client kubernetes.Interface, settings config.Controller) error {
	var missing []error
	for _, right := range rightsFor(settings) {
		var verbs []string
		for verb := range strings.FieldsSeq(right.verbs) {
			if !allowed(ctx, client, right, verb) {
				verbs = append(verbs, verb)
			}
		}
		if len(verbs) > 0 {
			missing = append(missing, right.missing(verbs))
		}
	}
	return errors.Join(missing...)
}

func (r right) missing(verbs []string) error {
	what, where, kind := r.resource, "in all namespaces", "ClusterRole"
	if r.group != "" {
		what += "." + r.group
	}
	if r.namespace != "" {
		where, kind = "in namespace "+r.namespace, "Role"
	}
	return fmt.Errorf("not allowed to %s %s %s: allow it in the %s of the user or ServiceAccount that tgc runs as",
		strings.Join(verbs, ", "), what, where, kind)
}

// allowed asks the API server. Where it does not tell, the attempt will.
func allowed(ctx context.Context, client kubernetes.Interface, right right, verb string) bool {
	resource, subresource, _ := strings.Cut(right.resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: right.namespace, Name: right.name, Verb: verb,
			Group: right.group, Resource: resource, Subresource: subresource,
		},
	}}
	answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	return err != nil || answer.Status.Allowed
}
