package integration

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"reflect"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/admission/certs"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// asking changes a binding to ask for a gate and for a way to drain.
func asking(drain *v1beta1.Drain) func(*v1beta1.TargetGroupBinding) {
	return func(b *v1beta1.TargetGroupBinding) {
		b.Spec.ReadinessGate, b.Spec.Drain = v1beta1.ReadinessGateInject, drain
	}
}

// delaying makes a group with a deregistration delay in seconds.
func delaying(seconds string) func(*elbsim.SeedGroup) {
	return func(g *elbsim.SeedGroup) { g.Attributes = map[string]string{target.DelayAttribute: seconds} }
}

// injects waits until the status of a binding tells of an injection like this.
func (e *env) injects(binding string, right func(v1beta1.TargetGroupBindingStatus) bool) v1beta1.TargetGroupBindingStatus {
	e.Helper()
	var status v1beta1.TargetGroupBindingStatus
	e.eventually("injection of "+binding, func() error {
		if status = e.status(binding); !right(status) {
			return fmt.Errorf("have %+v, drain %+v", status, status.Drain)
		}
		return nil
	})
	return status
}

// The controller writes what the policy reads; from there the pods get their gates,
// and those that were there before are reported until they are replaced.
func TestBehaviour26_PodsWithoutTheGateAreReported(t *testing.T) {
	if err := installPolicy(); err != nil {
		t.Fatal(err)
	}
	e := newEnv(t)
	group := e.group()
	web := e.deployment("web", 2)
	e.service("web")
	e.controller()
	e.binding("web", "web", group)
	e.inStep(group, "web", 2)
	if status := e.status("web"); status.PodSelector != nil || status.ReadinessGate != "" || status.Drain != nil || status.UngatedPods != 0 {
		t.Errorf("a binding that asks for nothing says %+v", status)
	}

	old := e.list("web")
	update(e, e.bindingNamed("web"), asking(nil))
	status := e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool { return s.UngatedPods == 2 })
	if !reflect.DeepEqual(status.PodSelector, map[string]string{"app": "web"}) || status.ReadinessGate != string(v1beta1.ReadinessGateOf("web")) {
		t.Errorf("the status says %+v", status)
	}
	note := e.event("web", string(target.GateMissing), "2 running pods lack the readiness gate "+string(v1beta1.ReadinessGateOf("web"))).Note
	e.contains(note, old[0].Name, old[1].Name, "rollout restart")

	e.deliver("policy")
	e.injected("web")
	e.scale(web, 3)
	e.eventually("a pod with the gate", func() error {
		for _, pod := range e.list("web") {
			gated := len(pod.Spec.ReadinessGates) == 1 && string(pod.Spec.ReadinessGates[0].ConditionType) == string(v1beta1.ReadinessGateOf("web"))
			if gated && pod.Labels[v1beta1.LabelInjected] == "true" {
				return nil
			}
		}
		return fmt.Errorf("have none among %d pods", len(e.list("web")))
	})
	for i := range old {
		e.delete(&old[i])
	}
	e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool { return s.UngatedPods == 0 })
}

func TestDrainFollowsFromTheGroup(t *testing.T) {
	e := newEnv(t)
	alb := e.group(delaying("60"))
	nlb := e.group(delaying("60"), func(g *elbsim.SeedGroup) {
		g.Name, g.Protocol, g.LoadBalancer, g.HealthCheck = "tcp", "TCP", "", elbsim.SeedCheck{}
	})
	e.service("web")
	e.controller("--drain-image=lab.local/tgc:1", "--drain-endpoint=tgc-drain.test:8082")
	e.binding("alb", "web", alb, asking(&v1beta1.Drain{Mode: v1beta1.DrainSleep}))
	e.binding("nlb", "web", nlb, asking(&v1beta1.Drain{Mode: v1beta1.DrainHold, ShutdownSeconds: ptr(int32(10))}))
	e.binding("set", "web", nlb, asking(&v1beta1.Drain{Mode: v1beta1.DrainHold, HoldSeconds: ptr(int32(7)), LateSeconds: ptr(int32(1))}))
	for name, want := range map[string]v1beta1.DrainStatus{
		"alb": {Mode: v1beta1.DrainSleep, HoldSeconds: 75, LateSeconds: 15, ShutdownSeconds: 30, SleepSeconds: 90, GracePeriodSeconds: 125, DeregistrationDelaySeconds: ptr(int32(60))},
		"nlb": {Mode: v1beta1.DrainHold, HoldSeconds: 300, LateSeconds: 120, ShutdownSeconds: 10, GracePeriodSeconds: 435, DeregistrationDelaySeconds: ptr(int32(60)), Image: "lab.local/tgc:1", Endpoint: "tgc-drain.test:8082"},
		"set": {Mode: v1beta1.DrainHold, HoldSeconds: 7, LateSeconds: 1, ShutdownSeconds: 30, GracePeriodSeconds: 43, Image: "lab.local/tgc:1", Endpoint: "tgc-drain.test:8082"},
	} {
		e.injects(name, func(s v1beta1.TargetGroupBindingStatus) bool { return reflect.DeepEqual(s.Drain, &want) })
	}
	if calls := len(e.calls(alb, "DescribeTargetGroupAttributes")) + len(e.calls(nlb, "DescribeTargetGroupAttributes")); calls != 2 {
		t.Errorf("%d calls for the attributes of two groups, want one for each", calls)
	}
}

// What AWS once told is known after a restart at which AWS does not answer.
func TestDrainIsRemembered(t *testing.T) {
	e := newEnv(t)
	group := e.group(delaying("100"))
	e.service("web")
	first := e.controller()
	e.binding("web", "web", group, asking(&v1beta1.Drain{Mode: v1beta1.DrainSleep}))
	e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool { return s.Drain != nil && s.Drain.HoldSeconds == 115 })
	first.Stop()

	e.fault(elbsim.Fault{Kind: elbsim.FaultFail, Code: "AccessDenied", Message: "not any more"})
	e.controller()
	e.condition("web", v1beta1.ConditionReady, metav1.ConditionFalse, target.AccessDenied)
	// A change of the binding shows that the new controller has worked on it.
	update(e, e.bindingNamed("web"),
		asking(&v1beta1.Drain{Mode: v1beta1.DrainSleep, ShutdownSeconds: ptr(int32(3))}))
	status := e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool { return s.Drain != nil && s.Drain.ShutdownSeconds == 3 })
	if status.Drain.HoldSeconds != 115 || *status.Drain.DeregistrationDelaySeconds != 100 {
		t.Errorf("the status says %+v, want what was known before", status.Drain)
	}
}

func TestDrainDefaultsAreTold(t *testing.T) {
	e := newEnv(t)
	group := e.group(delaying("10"))
	e.fault(elbsim.Fault{Action: "DescribeTargetGroupAttributes", Kind: elbsim.FaultFail, Code: "AccessDenied", Message: "User is not authorized"})
	e.service("web")
	e.controller()
	e.binding("web", "web", group, asking(&v1beta1.Drain{Mode: v1beta1.DrainSleep}))
	note := e.event("web", string(target.DrainDefaults), "taken for 300 s").Note
	e.contains(note, "DescribeTargetGroupAttributes", "User is not authorized", "allow the action")
	e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool {
		return s.Drain != nil && s.Drain.HoldSeconds == 315 && s.Drain.DeregistrationDelaySeconds == nil
	})
}

func TestHoldWithoutTheImageIsTold(t *testing.T) {
	e := newEnv(t)
	group := e.group(delaying("10"))
	e.service("web")
	e.controller()
	e.binding("web", "web", group, asking(&v1beta1.Drain{Mode: v1beta1.DrainHold}))
	e.event("web", string(target.DrainImageUnknown), "start the controller with --drain-image")
	e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool {
		return s.Drain != nil && s.Drain.Mode == v1beta1.DrainSleep && s.Drain.SleepSeconds == 60
	})
}

// A container with a hook of its own is left as it is, and people are told.
func TestContainersWithAHookOfTheirOwnAreReported(t *testing.T) {
	if err := installPolicy(); err != nil {
		t.Fatal(err)
	}
	e := newEnv(t)
	e.deliver("policy")
	group := e.group()
	e.service("web")
	e.controller()
	e.binding("web", "web", group, func(b *v1beta1.TargetGroupBinding) {
		b.Spec.Drain = &v1beta1.Drain{Mode: v1beta1.DrainSleep, HoldSeconds: ptr(int32(1)), LateSeconds: ptr(int32(0)), ShutdownSeconds: ptr(int32(1))}
	})
	e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool { return s.Drain != nil })
	e.injected("web")
	e.deployment("web", 1, func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 2}}}
	})
	e.injects("web", func(s v1beta1.TargetGroupBindingStatus) bool { return s.UndrainedPods == 1 })
	e.event("web", string(target.DrainHookMissing), "(container web has a preStop hook of its own)")
	pod := e.list("web")[0]
	if hook := pod.Spec.Containers[0].Lifecycle.PreStop.Sleep; hook == nil || hook.Seconds != 2 {
		t.Errorf("the hook of the container has become %+v", pod.Spec.Containers[0].Lifecycle)
	}
}

// The Secret is made anew when it is lost, and the API server is told.
func TestWebhookSurvivesTheLossOfItsCertificates(t *testing.T) {
	e, w := startWebhook(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, Name: e.namespace}}
	if err := shared.API.Get(e.ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	before := secret.Data["ca.crt"]
	e.delete(secret)
	w.Process.Stop()
	if err := w.Serve(context.WithoutCancel(e.ctx)); err != nil {
		t.Fatal(err)
	}
	if err := shared.Injected(e.ctx, e.namespace, map[string]string{"sentinel": "yes"}); err != nil {
		t.Fatal(err)
	}
	if err := shared.API.Get(e.ctx, client.ObjectKeyFromObject(w.Configuration), w.Configuration); err != nil {
		t.Fatal(err)
	}
	if trusted := w.Configuration.Webhooks[0].ClientConfig.CABundle; len(trusted) == 0 || bytes.Equal(trusted, before) {
		t.Errorf("the API server trusts\n%s\nas before", trusted)
	}
}

// A webhook that does not answer keeps no pod from being created.
func TestWebhookThatIsDownBlocksNothing(t *testing.T) {
	e, w := startWebhook(t)
	w.Process.Kill()
	pod, err := e.tried(e.namespace, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"sentinel": "yes"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "lab.local/web"}}},
	})
	if err != nil || len(pod.Spec.ReadinessGates) > 0 {
		t.Errorf("the pod became %+v, %v", pod, err)
	}
}

// Replicas share the certificates: whoever comes later takes what is there.
func TestWebhookReplicasShareTheirCertificates(t *testing.T) {
	e := newEnv(t)
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: e.namespace + "-shared"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "nobody.targetgroupcontroller.io", AdmissionReviewVersions: []string{"v1"},
			SideEffects:  ptr(admissionregistrationv1.SideEffectClassNone),
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: ptr("https://127.0.0.1:1/")},
		}},
	}
	e.create(configuration)
	t.Cleanup(func() { shared.API.Delete(context.Background(), configuration) })
	var keepers [3]*certs.Keeper
	for i := range keepers {
		keepers[i] = &certs.Keeper{
			Client: shared.Client(), Namespace: e.namespace, Name: configuration.Name, Hosts: []string{"tgc-webhook.svc"},
		}
		go keepers[i].Start(e.ctx)
	}
	e.eventually("one certificate for all, which the API server trusts", func() error {
		if err := shared.API.Get(e.ctx, client.ObjectKeyFromObject(configuration), configuration); err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(configuration.Webhooks[0].ClientConfig.CABundle)
		serving := map[string]bool{}
		for _, keeper := range keepers {
			certificate, err := keeper.GetCertificate(nil)
			if err != nil {
				return err
			}
			serving[string(certificate.Certificate[0])] = true
			if _, err := certificate.Leaf.Verify(x509.VerifyOptions{DNSName: "tgc-webhook.svc", Roots: roots}); err != nil {
				return err
			}
		}
		if len(serving) != 1 {
			return fmt.Errorf("%d certificates are served", len(serving))
		}
		return nil
	})
}

func ptr[T any](value T) *T { return &value }
