package rig

import (
	"context"
	"fmt"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Kustomize gives the objects that `kubectl apply -k` applies of a folder in config,
// in its order; the empty folder is config itself.
func Kustomize(folder string) ([]*unstructured.Unstructured, error) {
	root, err := sourceRoot()
	if err != nil {
		return nil, err
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "config", folder))
	if err != nil {
		return nil, fmt.Errorf("kustomize config/%s: %w", folder, err)
	}
	var objects []*unstructured.Unstructured
	for _, resource := range resources.Resources() {
		content, err := resource.Map()
		if err != nil {
			return nil, fmt.Errorf("kustomize config/%s: %w", folder, err)
		}
		objects = append(objects, &unstructured.Unstructured{Object: content})
	}
	return objects, nil
}

// Apply does what `kubectl apply -k --server-side` does with a folder in config.
func (r *Rig) Apply(ctx context.Context, folder string) error {
	objects, err := Kustomize(folder)
	if err != nil {
		return err
	}
	for _, object := range objects {
		err := r.API.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("kubectl"), client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("apply %s %s of config/%s: %w", object.GetKind(), object.GetName(), folder, err)
		}
	}
	return nil
}
