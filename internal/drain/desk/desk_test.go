package desk

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// pods is a cache, or an API server, with one pod at most.
type pods struct {
	client.Reader
	mu    sync.Mutex
	pod   *corev1.Pod
	err   error
	reads int
}

func (p *pods) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	switch {
	case p.err != nil:
		return p.err
	case p.pod == nil || client.ObjectKeyFromObject(p.pod) != name:
		return apierrors.NewNotFound(corev1.Resource("pods"), name.Name)
	}
	p.pod.DeepCopyInto(into.(*corev1.Pod))
	return nil
}

func (p *pods) set(pod *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pod = pod
}

// pod has a drain hook; change alters it.
func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web-0", UID: "uid-0",
		Annotations: map[string]string{
			v1beta1.AnnotationDrainMode: "Hold", v1beta1.AnnotationDrainContainers: "web", v1beta1.AnnotationDrainHold: "45",
			v1beta1.AnnotationDrainLate: "120", v1beta1.AnnotationDrainShutdown: "30",
		},
	}}
	for _, c := range change {
		c(p)
	}
	return p
}

func deleted(p *corev1.Pod) {
	grace := int64(200)
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: time.Now().Add(200 * time.Second)}, &grace
}

func says(status corev1.ConditionStatus, reason target.Reason) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: v1beta1.PodDeregistered, Status: status, Reason: string(reason)}}
	}
}

// bubble runs a test with a desk, its cache and its API server, which know one pod.
func bubble(t *testing.T, known *corev1.Pod, test func(t *testing.T, d *testDesk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &testDesk{t: t, cache: &pods{}, live: &pods{}}
		d.Pods, d.Live = d.cache, d.live
		d.open()
		d.synced = func() bool { return true }
		if known != nil {
			d.change(known)
		}
		test(t, d)
		synctest.Wait()
		if len(d.bells) > 0 || len(d.seats) > 0 {
			t.Errorf("%d pods are waited for, by %d", len(d.bells), len(d.seats))
		}
	})
}

type testDesk struct {
	Desk
	t           *testing.T
	cache, live *pods
}

// change makes a pod known to the API server and to the cache.
func (d *testDesk) change(p *corev1.Pod) {
	d.live.set(p)
	d.cache.set(p)
	d.note(p)
}

// ask asks as a pod with this UID does that knows this.
func (d *testDesk) ask(uid, known string) (drain.Answer, int) {
	d.t.Helper()
	values := url.Values{drain.ParamNamespace: {"shop"}, drain.ParamName: {"web-0"}, drain.ParamUID: {uid}, drain.ParamKnown: {known}}
	response := httptest.NewRecorder()
	d.ServeHTTP(response, httptest.NewRequestWithContext(d.t.Context(), http.MethodGet, drain.Path+"?"+values.Encode(), nil))
	var answer drain.Answer
	if response.Code == http.StatusOK {
		if err := json.Unmarshal(response.Body.Bytes(), &answer); err != nil {
			d.t.Error(err)
		}
	}
	return answer, response.Code
}

func (d *testDesk) expect(known string, want drain.Answer) {
	d.t.Helper()
	if got, code := d.ask("uid-0", known); got != want || code != http.StatusOK {
		d.t.Errorf("got %+v, code %d, want %+v", got, code, want)
	}
}

func TestAnswers(t *testing.T) {
	registered := drain.Answer{State: drain.StillRegistered, GraceSeconds: 200}
	throttled := registered
	throttled.Reason = target.Throttled
	for _, c := range []struct {
		name string
		pod  []func(*corev1.Pod)
		want drain.Answer
	}{
		{"stays", nil, drain.Answer{State: drain.Staying}},
		{"nothing known", []func(*corev1.Pod){deleted}, registered},
		{"throttled", []func(*corev1.Pod){deleted, says(corev1.ConditionFalse, target.Throttled)}, throttled},
		{"deregistered", []func(*corev1.Pod){deleted, says(corev1.ConditionTrue, target.Deregistered)}, drain.Answer{State: drain.Deregistered, GraceSeconds: 200}},
		{"in no group", []func(*corev1.Pod){deleted, says(corev1.ConditionTrue, target.NotRegistered)}, drain.Answer{State: drain.NotRegistered, GraceSeconds: 200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, pod(c.pod...), func(_ *testing.T, d *testDesk) { d.expect("", c.want) })
		})
	}
}

// Who knows already hears of news, or after a while that there are none.
func TestLongPoll(t *testing.T) {
	bubble(t, pod(deleted), func(t *testing.T, d *testDesk) {
		start := time.Now()
		registered := drain.Answer{State: drain.StillRegistered, GraceSeconds: 200}
		d.expect(registered.Known(), registered)
		if took := time.Since(start); took != drain.LongPoll {
			t.Errorf("no news came after %v, want %v", took, drain.LongPoll)
		}
		start = time.Now()
		time.AfterFunc(7*time.Second, func() { d.change(pod(deleted, says(corev1.ConditionTrue, target.Deregistered))) })
		d.expect(registered.Known(), drain.Answer{State: drain.Deregistered, GraceSeconds: 200})
		if took := time.Since(start); took != 7*time.Second {
			t.Errorf("the news came after %v, want 7s", took)
		}
		time.Sleep(5 * time.Second)
		d.expect("", drain.Answer{State: drain.Deregistered, GraceSeconds: 200, SinceMillis: 5000})
		time.AfterFunc(time.Second, func() {
			d.change(pod(deleted, says(corev1.ConditionTrue, target.Deregistered), func(p *corev1.Pod) { *p.DeletionGracePeriodSeconds = 10 }))
		})
		d.expect("Deregistered//200", drain.Answer{State: drain.Deregistered, GraceSeconds: 10, SinceMillis: 6000})
	})
}

// A cache may be behind the kubelet: it does not make a leaving pod stop.
func TestStayingIsSaidByTheAPIServerOnly(t *testing.T) {
	bubble(t, pod(), func(_ *testing.T, d *testDesk) {
		d.live.set(pod(deleted))
		registered := drain.Answer{State: drain.StillRegistered, GraceSeconds: 200}
		d.expect("", registered)
		time.AfterFunc(time.Second, func() { d.change(pod(deleted, says(corev1.ConditionTrue, target.Deregistered))) })
		d.expect(registered.Known(), drain.Answer{State: drain.Deregistered, GraceSeconds: 200})
	})
}

func TestAPIServerOutage(t *testing.T) {
	bubble(t, pod(), func(t *testing.T, d *testDesk) {
		d.live.err = errors.New("connection refused")
		if answer, code := d.ask("uid-0", ""); code != http.StatusServiceUnavailable {
			t.Errorf("got %+v, code %d", answer, code)
		}
	})
}

// Nothing is told, and the API server is not asked, without the pod's UID.
func TestStrangersLearnNothing(t *testing.T) {
	for name, known := range map[string]*corev1.Pod{"another UID": pod(deleted), "no such pod": nil} {
		t.Run(name, func(t *testing.T) {
			bubble(t, known, func(t *testing.T, d *testDesk) {
				for _, uid := range []string{"", "uid-1"} {
					if answer, code := d.ask(uid, ""); code != http.StatusNotFound || answer != (drain.Answer{}) {
						t.Errorf("got %+v, code %d", answer, code)
					}
				}
				if d.live.reads > 0 {
					t.Errorf("the API server was asked %d times", d.live.reads)
				}
			})
		})
	}
}

// Containers that are restarted by the hundred do not burden the API server; who is not
// answered holds by its own clock.
func TestAPIServerIsAskedWithMeasure(t *testing.T) {
	bubble(t, pod(), func(t *testing.T, d *testDesk) {
		var asking sync.WaitGroup
		var mu sync.Mutex
		codes := map[int]int{}
		for range 1000 {
			asking.Go(func() {
				_, code := d.ask("uid-0", "")
				mu.Lock()
				defer mu.Unlock()
				codes[code]++
			})
		}
		asking.Wait()
		if most := liveBurst + int(liveLimit.Seconds()*liveQPS); d.live.reads > most || codes[http.StatusOK] != d.live.reads ||
			codes[http.StatusServiceUnavailable] != 1000-d.live.reads {
			t.Errorf("asked %d times, want %d at most; answers %v", d.live.reads, most, codes)
		}
	})
}

func TestTooManyGuests(t *testing.T) {
	bubble(t, pod(deleted), func(t *testing.T, d *testDesk) {
		var waiting sync.WaitGroup
		for range guests {
			waiting.Go(func() { d.ask("uid-0", "Registered//200") })
		}
		synctest.Wait()
		if _, code := d.ask("uid-0", ""); code != http.StatusServiceUnavailable {
			t.Errorf("code %d with all seats taken", code)
		}
		d.change(pod(deleted, says(corev1.ConditionTrue, target.Deregistered)))
		waiting.Wait()
		d.expect("", drain.Answer{State: drain.Deregistered, GraceSeconds: 200})
	})
}

func TestNoAnswerBeforeTheCacheIsFilled(t *testing.T) {
	bubble(t, nil, func(t *testing.T, d *testDesk) {
		d.synced = func() bool { return false }
		if _, code := d.ask("uid-0", ""); code != http.StatusServiceUnavailable {
			t.Errorf("code %d", code)
		}
	})
}
