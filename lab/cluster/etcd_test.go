package cluster_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// A world that went back in time has what it had, lacks what came later, and tells
// those who watch.
func TestRestore(t *testing.T) {
	c := start(t)
	maps := c.Client().CoreV1().ConfigMaps("default")
	create := func(name string) *corev1.ConfigMap {
		t.Helper()
		object, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return object
	}
	create("before")
	snapshot, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after := create("after")
	if err := maps.Delete(t.Context(), "before", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	at, err := c.Restore(t.Context(), snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Get(t.Context(), "before", metav1.GetOptions{}); err != nil {
		t.Errorf("what the snapshot has is not there: %v", err)
	}
	if _, err := maps.Get(t.Context(), "after", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what came after the snapshot is there: %v", err)
	}
	watching, err := maps.Watch(t.Context(), metav1.ListOptions{ResourceVersion: after.ResourceVersion})
	if err == nil {
		defer watching.Stop()
		if event := <-watching.ResultChan(); event.Type != watch.Error {
			t.Errorf("who watches from before the restore gets %v", event)
		}
	} else if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("who watches from before the restore gets %v", err)
	}
	if again := create("again"); len(again.ResourceVersion) < len(after.ResourceVersion) || at < 1 {
		t.Errorf("version %s after the restore, %s before", again.ResourceVersion, after.ResourceVersion)
	}
}
