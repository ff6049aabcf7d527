// Package webhook delivers what package admission describes to API servers that do
// not know MutatingAdmissionPolicy.
package webhook

import (
	"context"
	"encoding/json"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission"
)

// Path is where the webhook is served.
const Path = "/pods"

// Pods answers for pods that are about to be created. It never refuses one, whatever
// goes wrong: a pod without a gate is better than no pod.
type Pods struct {
	// Reader knows the bindings. It is a cache, so that no pod waits for a read.
	Reader client.Reader
}

// Handle is controller-runtime's.
func (p *Pods) Handle(ctx context.Context, request ctrladmission.Request) ctrladmission.Response {
	injection, err := p.injection(ctx, request)
	var patch []byte
	if err == nil && len(injection.Patch) > 0 {
		patch, err = json.Marshal(injection.Patch)
	}
	response := ctrladmission.Allowed("")
	if err != nil {
		log.FromContext(ctx).Error(err, "A pod is created as it is", "namespace", request.Namespace, "name", request.Name)
		return response.WithWarnings(fmt.Sprintf("targetgroupcontroller: the pod is created without what its bindings ask for: %v", err))
	}
	if patch != nil {
		kind := admissionv1.PatchTypeJSONPatch
		response.Patch, response.PatchType = patch, &kind
	}
	return response.WithWarnings(injection.Warnings...)
}

func (p *Pods) injection(ctx context.Context, request ctrladmission.Request) (admission.Injection, error) {
	if request.Operation != admissionv1.Create || request.Resource.Resource != "pods" {
		return admission.Injection{}, nil
	}
	// Read leniently: newer fields stay, since the patch does not name them.
	var pod corev1.Pod
	if err := json.Unmarshal(request.Object.Raw, &pod); err != nil {
		return admission.Injection{}, fmt.Errorf("read the pod: %w", err)
	}
	var list v1beta1.TargetGroupBindingList
	if err := p.Reader.List(ctx, &list, client.InNamespace(request.Namespace)); err != nil {
		return admission.Injection{}, fmt.Errorf("list the bindings: %w", err)
	}
	return admission.Of(&pod, admission.BindingsOf(list.Items)), nil
}
