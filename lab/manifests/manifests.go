// Package manifests builds the project's kustomizations as `kubectl kustomize` does,
// and applies what comes of them as `kubectl apply --server-side` does.
package manifests

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// owner is whom the API server notes as the owner of the fields that Apply sets.
const owner = client.FieldOwner("kubectl")

// Build gives the objects of the kustomization in a folder, in the order in which they
// can be made. A kustomization with an unknown or a deprecated field is an error.
func Build(folder string) ([]*unstructured.Unstructured, error) {
	disk := filesys.MakeFsOnDisk()
	if err := checkFields(disk, folder); err != nil {
		return nil, err
	}
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy // namespaces and kinds before what needs them, as kubectl does
	built, err := krusty.MakeKustomizer(options).Run(disk, folder)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", folder, err)
	}
	var objects []*unstructured.Unstructured
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", folder, err)
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &object.Object); err != nil {
			return nil, fmt.Errorf("build %s: %w", folder, err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// checkFields reads the kustomization of a folder by itself: a build accepts fields
// that later versions will refuse.
func checkFields(disk filesys.FileSystem, folder string) error {
	path := folder + "/" + konfig.DefaultKustomizationFileName()
	text, err := disk.ReadFile(path)
	if err != nil {
		return fmt.Errorf("build %s: %w", folder, err)
	}
	var kustomization types.Kustomization
	if err := yaml.UnmarshalStrict(text, &kustomization); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if kustomization.APIVersion == "" || kustomization.Kind == "" {
		return fmt.Errorf("%s: set apiVersion and kind", path)
	}
	if deprecated := kustomization.CheckDeprecatedFields(); deprecated != nil && len(*deprecated) > 0 {
		return fmt.Errorf("%s: %s", path, strings.Join(*deprecated, "; "))
	}
	return nil
}

// Apply makes the objects what they are to be. All are tried; the error names those
// that the API server did not take. With client.DryRunAll it only looks whether it would.
func Apply(ctx context.Context, api client.Client, objects []*unstructured.Unstructured, options ...client.ApplyOption) error {
	var failures []error
	for _, object := range objects {
		configuration := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
		if err := api.Apply(ctx, configuration, append([]client.ApplyOption{owner, client.ForceOwnership}, options...)...); err != nil {
			failures = append(failures, fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err))
		}
	}
	return errors.Join(failures...)
}
