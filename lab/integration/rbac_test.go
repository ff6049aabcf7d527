package integration

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// home is the namespace in config/ where the controller runs.
const home = "targetgroupcontroller"

// unasked are the rights of the controller for which no request of its own asks.
var unasked = map[right]string{
	{"", "services/finalizers", "update"}: "asked for by an admission plugin, which the rig runs",

	// Caches stream their first list in a watch where the API server can do so.
	{"", "pods", "list"}:                                        "older API servers cannot stream lists",
	{"", "services", "list"}:                                    "older API servers cannot stream lists",
	{"discovery.k8s.io", "endpointslices", "list"}:              "older API servers cannot stream lists",
	{"targetgroupcontroller.io", "targetgroupbindings", "list"}: "older API servers cannot stream lists",
	{"targetgroupcontroller.io", "podinjections", "list"}:       "older API servers cannot stream lists",
	{"targetgroupcontroller.io", "podinjections", "create"}:     "asked for where an object that does not exist is applied",
}

func TestRightsAreAllThatTheControllerUses(t *testing.T) {
	e := newEnv(t)
	granted := e.install("../../config")
	account, err := shared.ServiceAccountConfig(e.ctx, home, "tgc")
	if err != nil {
		e.Fatal(err)
	}
	e.seesTheWholeCluster(account)
	witness, config := e.witness(account)

	bound, annotated := e.group(), e.group(func(g *elbsim.SeedGroup) { g.Name = "annotated" })
	e.deployment("bound", 2, gatedBy("bound"), hooked)
	e.service("bound")
	e.deployment("annotated", 1)
	service := e.service("annotated")
	binding := e.binding("bound", "bound", bound, asking(nil))
	p := e.controllerWith(rig.ProcessOptions{Config: config, Args: []string{"--leader-elect-namespace=" + home}})

	e.inStep(bound, "bound", 2)
	e.condition("bound", v1beta1.ConditionReady, metav1.ConditionTrue, target.Synced)
	e.event("bound", string(target.Registered), "target")

	injections := right{"targetgroupcontroller.io", "podinjections", "patch"}
	e.eventually("PodInjection written", func() error { return witness.saw(injections) })

	// Of a container that ends while its pod stays the API server is asked, and how far
	// a pod is on its way out is written on it.
	pods := e.list("bound")
	answer, err := ask(e.ctx, p, &pods[0])
	if err != nil || answer.State != drain.Staying {
		e.Errorf("a pod that stays is told %+v, %v", answer, err)
	}
	e.delete(&pods[0])
	e.eventually("a leaving pod told of", func() error { return witness.saw(right{"", "pods/status", "patch"}) })
	e.inStep(bound, "bound", 2)

	// A complaint that is repeated becomes a higher count of the same event.
	e.eventually("event counted", func() error {
		update(e, service, func(s *corev1.Service) {
			s.Annotations = map[string]string{v1beta1.AnnotationTargetGroupARN: "wrong", "try": time.Now().String()}
		})
		return witness.saw(right{"events.k8s.io", "events", "patch"})
	})
	update(e, service, func(s *corev1.Service) {
		s.Annotations = map[string]string{v1beta1.AnnotationTargetGroupARN: annotated.String()}
	})
	e.inStep(annotated, "annotated", 1)
	update(e, service, func(s *corev1.Service) { s.Annotations = nil })
	e.inStepWith(annotated, nil)
	e.delete(binding)
	e.eventually("binding gone", func() error { return gone(e, binding) })
	injections.verb = "delete"
	e.eventually("PodInjection deleted", func() error { return witness.saw(injections) })
	e.eventually("Lease renewed", func() error { return witness.saw(right{"coordination.k8s.io", "leases", "update"}) })
	p.Stop()
	e.delete(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: home}}) // so that -count=2 makes it again

	if refused := witness.refusals(); len(refused) > 0 {
		e.Errorf("the API server refused %q", refused)
	}
	if strings.Contains(p.Log(), "forbidden") {
		e.Errorf("the log complains:\n%s", p.Log())
	}
	for _, r := range granted {
		if witness.saw(r) != nil && unasked[r] == "" {
			e.Errorf("right %v is granted and was not used", r)
		}
	}
}

// hooked gives pods a drain hook, as admission would.
func hooked(d *appsv1.Deployment) {
	d.Spec.Template.Annotations = map[string]string{
		v1beta1.AnnotationDrainMode: string(v1beta1.DrainSleep), v1beta1.AnnotationDrainHold: "1",
		v1beta1.AnnotationDrainLate: "0", v1beta1.AnnotationDrainShutdown: "1", v1beta1.AnnotationDrainContainers: "web",
	}
	d.Spec.Template.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
		PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}},
	}
}

// ask asks a controller about a pod, as the pod would.
func ask(ctx context.Context, p *rig.Process, pod *corev1.Pod) (drain.Answer, error) {
	var answer drain.Answer
	values := url.Values{
		drain.ParamNamespace: {pod.Namespace}, drain.ParamName: {pod.Name}, drain.ParamUID: {string(pod.UID)},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Desk+drain.Path+"?"+values.Encode(), nil)
	if err != nil {
		return answer, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return answer, errors.New(response.Status)
	}
	return answer, json.NewDecoder(response.Body).Decode(&answer)
}

// right is what a rule of a role grants. Names of objects are left out.
type right struct{ group, resource, verb string }

func rightsOf(rules []rbacv1.PolicyRule) []right {
	var list []right
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					list = append(list, right{group, resource, verb})
				}
			}
		}
	}
	return list
}

// install creates what the kustomization of a folder lists, and tells the rights
// that its roles grant. What the rig has already stays.
func (e *env) install(folder string) []right {
	e.Helper()
	var kustomization struct{ Resources []string }
	e.read(filepath.Join(folder, "kustomization.yaml"), &kustomization)
	var rights []right
	for _, file := range kustomization.Resources {
		var object unstructured.Unstructured
		e.read(filepath.Join(folder, file), &object.Object)
		if err := shared.API.Create(e.ctx, &object); client.IgnoreAlreadyExists(err) != nil {
			e.Fatal(err)
		}
		var role rbacv1.ClusterRole // a Role has the same rules
		e.read(filepath.Join(folder, file), &role)
		rights = append(rights, rightsOf(role.Rules)...)
	}
	return rights
}

func (e *env) read(file string, into any) {
	e.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		e.Fatalf("%s: %v", file, err)
	}
}

// seesTheWholeCluster fails unless an account can read, in all namespaces, what
// the controller reads. The controller itself is run in one, beside other tests.
func (e *env) seesTheWholeCluster(account *rest.Config) {
	e.Helper()
	api, err := client.New(account, client.Options{Scheme: shared.API.Scheme()})
	if err != nil {
		e.Fatal(err)
	}
	for _, list := range []client.ObjectList{
		&corev1.ServiceList{}, &corev1.PodList{}, &discoveryv1.EndpointSliceList{}, &v1beta1.TargetGroupBindingList{},
	} {
		if err := api.List(e.ctx, list); err != nil {
			e.Error(err)
		}
	}
}

// witness is a proxy before the API server that notes what is asked and refused.
type witness struct {
	mu      sync.Mutex
	asked   map[right]bool
	refused []string
}

// witness puts a witness between an account and the API server.
func (e *env) witness(account *rest.Config) (*witness, *rest.Config) {
	e.Helper()
	w := &witness{asked: map[right]bool{}}
	server, err := url.Parse(account.Host)
	if err != nil {
		e.Fatal(err)
	}
	tls, err := rest.TLSConfigFor(account)
	if err != nil {
		e.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(server)
	proxy.Transport = &http.Transport{TLSClientConfig: tls}
	proxy.FlushInterval = -1 // watches bring one line now and then
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.ModifyResponse = w.note
	front := httptest.NewTLSServer(proxy)
	front.Config.ErrorLog = proxy.ErrorLog
	e.Cleanup(front.CloseClientConnections) // before the controller ends the watches stay open
	e.Cleanup(front.Close)
	config := rest.CopyConfig(account)
	config.Host = front.URL
	config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	return w, config
}

// paths reads the requests as the API server does.
var paths = request.RequestInfoFactory{
	APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api"),
}

func (w *witness) note(response *http.Response) error {
	info, err := paths.NewRequestInfo(response.Request)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if response.StatusCode == http.StatusForbidden {
		w.refused = append(w.refused, response.Request.Method+" "+response.Request.URL.Path)
	}
	if info.IsResourceRequest {
		resource := strings.TrimSuffix(info.Resource+"/"+info.Subresource, "/")
		w.asked[right{info.APIGroup, resource, info.Verb}] = true
	}
	return nil
}

// saw gives an error unless a right was made use of.
func (w *witness) saw(r right) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.asked[r] {
		return fmt.Errorf("asked so far: %v", slices.Collect(maps.Keys(w.asked)))
	}
	return nil
}

func (w *witness) refusals() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.refused)
}
