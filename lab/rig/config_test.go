package rig_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/manifests"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// home is the namespace in config where the controller runs, as the ServiceAccount account.
const home, account = "targetgroupcontroller", "tgc"

// shop is where the pods are.
const shop = "shop"

// patience bounds every wait for a condition.
const patience = 2 * time.Minute

// TestConfigAsItIs applies what users apply, as it is, and runs the controller with
// the rights that come of it: first with the policy, then with the webhook in its
// place.
func TestConfigAsItIs(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	r, err := rig.Start(t.Context(), rig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := &configured{T: t, Rig: r}
	c.must(r.Namespace(t.Context(), shop))
	c.apply("../../config")
	c.bind()
	t.Run("policy", func(t *testing.T) { (&configured{t, r}).policy() })
	t.Run("webhook", func(t *testing.T) { (&configured{t, r}).webhook() })
}

type configured struct {
	*testing.T
	*rig.Rig
}

func (c *configured) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// apply does what kubectl apply -k --server-side does, and gives what it applied.
func (c *configured) apply(folder string) []*unstructured.Unstructured {
	c.Helper()
	objects, err := manifests.Build(folder)
	c.must(err)
	c.must(manifests.Apply(c.Context(), c.API, objects))
	return objects
}

// bind makes a Service with a binding that asks for a gate and a hook.
func (c *configured) bind() {
	c.Helper()
	group, err := c.Sim.PlantGroup(elbsim.SeedGroup{
		Name: "web", Protocol: "HTTP", LoadBalancer: "front", HealthCheck: elbsim.SeedCheck{Path: "/readyz", Interval: elbsim.Duration(5 * time.Second)},
	})
	c.must(err)
	meta := metav1.ObjectMeta{Namespace: shop, Name: "web"}
	c.must(c.API.Create(c.Context(), &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}}))
	c.must(c.API.Create(c.Context(), &v1beta1.TargetGroupBinding{ObjectMeta: meta, Spec: v1beta1.TargetGroupBindingSpec{
		TargetGroupARN: group.String(), ServiceRef: v1beta1.ServiceReference{Name: "web", Port: intstr.FromInt32(80)},
		ReadinessGate: v1beta1.ReadinessGateInject, Drain: &v1beta1.Drain{Mode: v1beta1.DrainHold},
	}}))
}

// controller runs tgc as the ServiceAccount of config, until the test ends.
func (c *configured) controller(options rig.ProcessOptions) {
	c.Helper()
	var err error
	options.Config, err = c.ServiceAccountConfig(c.Context(), home, account)
	c.must(err)
	options.Args = append(options.Args, "--log-format=text", "--leader-elect-namespace="+home, "--drain-image="+rig.Image)
	p, err := c.Controller(context.WithoutCancel(c.Context()), options)
	c.must(err)
	c.Cleanup(func() {
		p.Stop()
		if c.Failed() {
			c.Logf("log of tgc:\n%s", p.Log())
		}
	})
}

// policy waits until pods get what their binding asks for, and until they are ready
// with it.
func (c *configured) policy() {
	objects := c.apply("../../config/policy")
	c.Cleanup(func() {
		for _, object := range objects {
			c.must(c.API.Delete(context.WithoutCancel(c.Context()), object))
		}
	})
	c.controller(rig.ProcessOptions{})
	labels := map[string]string{"app": "web"}
	c.must(c.InjectedAs(c.Context(), shop, labels, injected))
	one := int32(1)
	web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "web", Image: "lab.local/web", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}},
		}},
	}}
	c.must(c.API.Create(c.Context(), web))
	c.eventually("a ready pod", func() error {
		if err := c.API.Get(c.Context(), client.ObjectKeyFromObject(web), web); err != nil {
			return err
		}
		if web.Status.ReadyReplicas != 1 {
			return fmt.Errorf("have %+v", web.Status)
		}
		return nil
	})
	// Where nobody asks, and where it must never reach.
	for _, namespace := range []string{metav1.NamespaceDefault, home} {
		if pod := c.tried(namespace); injected(pod) {
			c.Errorf("a pod of namespace %s gets %+v", namespace, pod.Spec)
		}
	}
}

// webhook is what the API server would do if the addresses of Services were answered
// in the lab: it calls the controller by the name of its Service, and trusts the
// authority that the controller put into the configuration. As it is, nobody answers,
// and pods are made all the same.
func (c *configured) webhook() {
	c.apply("../../config/webhook")
	c.eventually("pods without policy and webhook", func() error {
		if pod := c.tried(shop); injected(pod) {
			return fmt.Errorf("one gets %+v", pod.Spec)
		}
		return nil
	})
	host, _, err := net.SplitHostPort(c.NextDesk())
	c.must(err)
	address := net.JoinHostPort(host, "9443")
	c.controller(rig.ProcessOptions{Args: []string{"--webhook-bind-address=" + address, "--webhook-namespace=" + home}})
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	c.eventually("the certificate of the authority", func() error {
		if err := c.API.Get(c.Context(), client.ObjectKey{Name: "tgc-webhook"}, &configuration); err != nil {
			return err
		}
		if len(configuration.Webhooks[0].ClientConfig.CABundle) == 0 {
			return errors.New("not there yet")
		}
		return nil
	})
	called := configuration.Webhooks[0].ClientConfig
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(called.CABundle) {
		c.Fatalf("no certificate in %q", called.CABundle)
	}
	https := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: trusted, ServerName: called.Service.Name + "." + called.Service.Namespace + ".svc",
	}}}
	c.eventually("a pod that the webhook changes", func() error { return c.review(https, "https://"+address+*called.Service.Path) })
	if pod := c.tried(shop); injected(pod) {
		c.Errorf("the API server reached the webhook, and this test is not needed as it is: %+v", pod.Spec)
	}
}

// review asks the webhook as the API server does.
func (c *configured) review(https *http.Client, url string) error {
	raw, err := json.Marshal(newPod(shop))
	c.must(err)
	question, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "review", Namespace: shop, Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
			Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		},
	})
	c.must(err)
	request, err := http.NewRequestWithContext(c.Context(), http.MethodPost, url, bytes.NewReader(question))
	c.must(err)
	request.Header.Set("Content-Type", "application/json")
	response, err := https.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(response.Body).Decode(&review); err != nil {
		return err
	}
	if answer := review.Response; answer == nil || !answer.Allowed || !bytes.Contains(answer.Patch, []byte("readinessGates")) {
		return fmt.Errorf("answered %s: %+v", response.Status, answer)
	}
	return nil
}

func newPod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pod", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "lab.local/web"}}},
	}
}

// tried is what would become of a pod, one that may be in any namespace.
func (c *configured) tried(namespace string) *corev1.Pod {
	c.Helper()
	pod, yes, no := newPod(namespace), true, false
	pod.Spec.AutomountServiceAccountToken = &no
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	c.must(c.API.Create(c.Context(), pod, client.DryRunAll))
	return pod
}

// injected tells whether a pod has the gate and the hook.
func injected(pod *corev1.Pod) bool {
	lifecycle := pod.Spec.Containers[0].Lifecycle
	return len(pod.Spec.ReadinessGates) == 1 && pod.Spec.ReadinessGates[0].ConditionType == v1beta1.ReadinessGateOf("web") &&
		lifecycle != nil && lifecycle.PreStop != nil && lifecycle.PreStop.Exec != nil
}

// eventually waits until a condition holds, and fails with its last error.
func (c *configured) eventually(what string, holds func() error) {
	c.Helper()
	deadline := time.Now().Add(patience)
	for err := holds(); err != nil; err = holds() {
		if time.Now().After(deadline) {
			c.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
