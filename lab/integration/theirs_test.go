package integration

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// theirs is the kind of AWS Load Balancer Controller.
var theirs = schema.GroupVersionKind{Group: "elbv2.k8s.aws", Version: "v1beta1", Kind: "TargetGroupBinding"}

// The steps of docs/migrating.md from the TargetGroupBindings of AWS Load Balancer
// Controller, with the patches that it says. That controller is not run: its targets are
// in the group, and its webhooks answer nobody, as while it is stopped.
func TestMigrationFromTheirTargetGroupBinding(t *testing.T) {
	e := newEnv(t)
	e.service("web")
	e.deployment("web", 2)
	var pods []string
	e.eventually("two pods are ready", func() error {
		pods = e.pods("web")
		return same(pods, pods, 2)
	})
	group := e.group(func(g *elbsim.SeedGroup) { g.Targets = pods })
	other := e.theirBinding(group)
	patches := patchesOfTheGuide(t)

	e.create(movedOver(other))
	e.controller("--sweep-interval=1s")
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)

	e.eventually("the finalizer is kept by a webhook that nobody answers", func() error {
		err := shared.API.Patch(e.ctx, other.DeepCopy(), client.RawPatch(types.MergePatchType, patches[2]), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
			return errors.Join(errors.New("want a refusal"), err)
		}
		return nil
	})
	for i, configuration := range theirWebhooks() {
		if err := shared.API.Patch(e.ctx, configuration, client.RawPatch(types.StrategicMergePatchType, patches[i])); err != nil {
			t.Fatal(err)
		}
	}
	e.eventually("the finalizer is removed", func() error {
		return shared.API.Patch(e.ctx, other, client.RawPatch(types.MergePatchType, patches[2]))
	})
	e.delete(other)
	e.eventually("their binding is gone", func() error { return gone(e, other) })

	e.looks(group, 2)
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	if err := same(e.registered(group), pods, 2); err != nil || len(e.writes(group)) > 0 {
		t.Errorf("targets: %v; calls: %+v", err, e.writes(group))
	}
}

// patchesOfTheGuide are those of the two webhooks and of the finalizer, in this order.
func patchesOfTheGuide(t *testing.T) [][]byte {
	t.Helper()
	guide, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(guide), "\n## TargetGroupBinding of elbv2.k8s.aws\n")
	var patches [][]byte
	for _, match := range regexp.MustCompile(`-p '(\{.*\})'`).FindAllStringSubmatch(section, -1) {
		patches = append(patches, []byte(match[1]))
	}
	if len(patches) != 3 {
		t.Fatalf("docs/migrating.md has %d patches, want 3: %s", len(patches), patches)
	}
	return patches
}

// theirBinding makes a binding of their kind as their controller leaves it when it is
// stopped: with all that its webhook fills in, its finalizer, and nobody who answers for
// its webhooks.
func (e *env) theirBinding(group target.ARN) *unstructured.Unstructured {
	e.Helper()
	e.createForTheTest(theirCRD())
	b := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"targetGroupARN": group.String(), "targetGroupName": group.Name, "targetGroupProtocol": "HTTP",
		"targetType": "ip", "ipAddressType": "ipv4", "vpcID": elbsim.DefaultVPC,
		"serviceRef": map[string]any{"name": "web", "port": int64(80)},
		"networking": map[string]any{"ingress": []any{}},
	}}}
	b.SetGroupVersionKind(theirs)
	b.SetNamespace(e.namespace)
	b.SetName("web")
	b.SetFinalizers([]string{"elbv2.k8s.aws/resources"})
	e.eventually("their kind is served", func() error { return shared.API.Create(e.ctx, b) })
	for _, configuration := range theirWebhooks() {
		e.createForTheTest(configuration)
	}
	return b
}

// createForTheTest makes an object of the cluster that goes with the test.
func (e *env) createForTheTest(object client.Object) {
	e.Helper()
	e.create(object)
	e.Cleanup(func() {
		if err := shared.API.Delete(context.WithoutCancel(e.ctx), object); client.IgnoreNotFound(err) != nil {
			e.Error(err)
		}
	})
}

// movedOver is a binding of ours made of one of theirs.
func movedOver(other *unstructured.Unstructured) client.Object {
	ours := &unstructured.Unstructured{Object: map[string]any{"spec": other.DeepCopy().Object["spec"]}}
	ours.SetGroupVersionKind(v1beta1.GroupVersion.WithKind("TargetGroupBinding"))
	ours.SetNamespace(other.GetNamespace())
	ours.SetName(other.GetName())
	for _, field := range []string{"networking", "nodeSelector", "targetGroupName"} {
		unstructured.RemoveNestedField(ours.Object, "spec", field)
	}
	return ours
}

func theirCRD() *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "targetgroupbindings." + theirs.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: theirs.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Kind: theirs.Kind, ListKind: theirs.Kind + "List", Plural: "targetgroupbindings", Singular: "targetgroupbinding",
			},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: theirs.Version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: new(true),
				}},
			}},
		},
	}
}

// theirWebhooks are those of bindings, as their chart installs them.
func theirWebhooks() []client.Object {
	answers := admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{
		Namespace: "kube-system", Name: "aws-load-balancer-webhook-service",
	}}
	fail, none := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone
	rules := []admissionregistrationv1.RuleWithOperations{{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
		Rule: admissionregistrationv1.Rule{
			APIGroups: []string{theirs.Group}, APIVersions: []string{theirs.Version}, Resources: []string{"targetgroupbindings"},
		},
	}}
	name := metav1.ObjectMeta{Name: "aws-load-balancer-webhook"}
	return []client.Object{
		&admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: name, Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "mtargetgroupbinding.elbv2.k8s.aws", ClientConfig: answers, Rules: rules,
			FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1beta1"},
		}}},
		&admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: name, Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "vtargetgroupbinding.elbv2.k8s.aws", ClientConfig: answers, Rules: rules,
			FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1beta1"},
		}}},
	}
}
