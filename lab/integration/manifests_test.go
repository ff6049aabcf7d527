package integration

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/manifests"
)

// The API server takes what each kustomization is built into, and no kustomization has
// deprecated fields.
func TestManifestsAreAccepted(t *testing.T) {
	for folder, inNamespace := range map[string]bool{
		"config": false, "config/policy": false, "config/webhook": false, "config/controller": false,
		"config/one-service": true, "config/sidecar/native": true, "config/sidecar/container": true,
		"docs/examples/controller": false, "docs/examples/one-service": true,
	} {
		t.Run(folder, func(t *testing.T) {
			e := newEnv(t)
			objects := e.built("../../" + folder)
			if err := shared.Namespace(e.ctx, home); client.IgnoreAlreadyExists(err) != nil {
				t.Fatal(err)
			}
			if inNamespace {
				for _, object := range objects {
					object.SetNamespace(e.namespace)
				}
			}
			if err := manifests.Apply(e.ctx, shared.API, objects, client.DryRunAll); err != nil {
				t.Error(err)
			}
		})
	}
}

// built are the objects of a kustomization.
func (e *env) built(folder string) []*unstructured.Unstructured {
	e.Helper()
	objects, err := manifests.Build(folder)
	if err != nil {
		e.Fatal(err)
	}
	return objects
}
