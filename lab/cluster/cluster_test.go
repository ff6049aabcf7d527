package cluster_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/cluster"
)

func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Options{Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestControlPlane(t *testing.T) {
	c := start(t)
	t.Run("reports the version it was built from", func(t *testing.T) {
		version, err := c.Client().Discovery().ServerVersion()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(version.GitVersion, "v1.37.") {
			t.Errorf("version is %s", version.GitVersion)
		}
	})
	t.Run("a user has no rights until granted", func(t *testing.T) { noRights(t, c) })
	t.Run("a ServiceAccount gets a token", func(t *testing.T) { serviceAccount(t, c) })
	t.Run("a restart of the API server keeps address and data", func(t *testing.T) { restart(t, c) })
}

func client(t *testing.T, c *cluster.Cluster, user string, groups ...string) kubernetes.Interface {
	t.Helper()
	config, err := c.ConfigFor(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	k, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func noRights(t *testing.T, c *cluster.Cluster) {
	_, err := client(t, c, "nobody").CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("got %v, want a refusal of nobody", err)
	}
	_, err = client(t, c, "somebody", "system:masters").CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Errorf("a member of system:masters was refused: %v", err)
	}
}

func serviceAccount(t *testing.T, c *cluster.Cluster) {
	if err := c.Namespace(t.Context(), "accounts"); err != nil {
		t.Fatal(err)
	}
	config, err := c.ServiceAccountConfig(t.Context(), "accounts", "default")
	if err != nil {
		t.Fatal(err)
	}
	k, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.CoreV1().Pods("accounts").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "system:serviceaccount:accounts:default") {
		t.Errorf("got %v, want a refusal of the ServiceAccount", err)
	}
}

func restart(t *testing.T, c *cluster.Cluster) {
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}
	maps := c.Client().CoreV1().ConfigMaps("default")
	if _, err := maps.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.StopAPIServer()
	if _, err := maps.Get(t.Context(), "kept", metav1.GetOptions{}); err == nil {
		t.Error("the API server answers while it is stopped")
	}
	if err := c.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	c := start(t)
	dir := c.LogDir()
	if _, err := os.Stat(filepath.Join(dir, "kube-apiserver.log")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the state directory is still there: %v", err)
	}
	if left := processesOf(t, dir); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
}

func TestInterruptedStartLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(700*time.Millisecond, cancel)
	if _, err := cluster.Start(ctx, cluster.Options{Progress: t.Output()}); err == nil {
		t.Skip("the start was faster than the interruption")
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if left := processesOf(t, os.TempDir()); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
}

// processesOf lists the command lines of processes that mention the directory.
func processesOf(t *testing.T, dir string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), dir+"/") {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
