package realnode_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode"
)

// startFleet makes a fleet without nodes beside the shared one.
func startFleet(t *testing.T) (*realnode.Fleet, error) {
	t.Helper()
	return realnode.Start(t.Context(), realnode.Options{Config: shared.Config(), Dir: t.TempDir()})
}

func TestNodesAreReady(t *testing.T) {
	needNodes(t)
	list, err := shared.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 2 {
		t.Errorf("there are %d nodes", len(list.Items))
	}
	for _, n := range list.Items {
		info := n.Status.NodeInfo
		t.Logf("%s: kubelet %s, %s, zone %s, provider %s", n.Name, info.KubeletVersion, info.ContainerRuntimeVersion, n.Labels[corev1.LabelTopologyZone], n.Spec.ProviderID)
	}
}
