package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

// history follows the world by reading etcd itself, every revision of it: whatever
// befalls the API server, nothing is missed. Its methods are safe for concurrent use.
type history struct {
	url     string
	decoder runtime.Decoder
	// seen is told of each change, in order, with the objects as they then are.
	seen func(*objects)

	mu       sync.Mutex
	objects  *objects
	revision int64 // the latest taken in
	moved    *sync.Cond
	paused   bool // while etcd goes back in time
	cut      context.CancelFunc
}

func newHistory(url string, seen func(*objects)) *history {
	h := &history{
		url: url, seen: seen, objects: newObjects(),
		decoder: protobuf.NewSerializer(clientgoscheme.Scheme, clientgoscheme.Scheme),
	}
	h.moved = sync.NewCond(&h.mu)
	return h
}

// header is in every answer of etcd.
type header struct {
	Revision int64 `json:"revision,string"`
}

type keyValue struct {
	Key      []byte `json:"key"`
	Value    []byte `json:"value,omitempty"`
	Revision int64  `json:"mod_revision,string,omitempty"`
}

type event struct {
	Type string   `json:"type"`
	KV   keyValue `json:"kv"`
}

type watchAnswer struct {
	Result struct {
		Header          header  `json:"header"`
		Canceled        bool    `json:"canceled"`
		CompactRevision string  `json:"compact_revision"`
		Events          []event `json:"events"`
	} `json:"result"`
	Error json.RawMessage `json:"error"`
}

// everything is the range of all keys that begin with a slash.
func everything() map[string]any {
	return map[string]any{"key": []byte("/"), "range_end": []byte("0")}
}

// jump takes in the whole state at a revision; zero for the latest.
func (h *history) jump(ctx context.Context, at int64) error {
	ask := everything()
	if at > 0 {
		ask["revision"] = strconv.FormatInt(at, 10)
	}
	var answer struct {
		Header header     `json:"header"`
		KVs    []keyValue `json:"kvs"`
	}
	if err := h.call(ctx, "kv/range", ask, &answer); err != nil {
		return err
	}
	if at == 0 {
		at = answer.Header.Revision
	}
	fresh := newObjects()
	for _, kv := range answer.KVs {
		if err := h.file(fresh, event{KV: kv}); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.objects, h.revision = fresh, at
	h.seen(fresh)
	h.moved.Broadcast()
	return nil
}

// pause ends the watch until resume: etcd is about to go back in time.
func (h *history) pause() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.paused = true
	if h.cut != nil {
		h.cut()
	}
}

// resume goes on at the revision that a restore gave.
func (h *history) resume(ctx context.Context, at int64) error {
	err := h.jump(ctx, at)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.paused = false
	h.moved.Broadcast()
	return err
}

// follow takes in all changes until ctx ends.
func (h *history) follow(ctx context.Context) {
	defer h.wakeAtEnd(ctx)()
	for ctx.Err() == nil {
		h.mu.Lock()
		for h.paused && ctx.Err() == nil {
			h.moved.Wait()
		}
		within, cut := context.WithCancel(ctx)
		from := h.revision + 1
		h.cut = cut
		h.mu.Unlock()
		_ = h.watch(within, from) // etcd is killed now and then
		cut()
		idle(ctx, 20*time.Millisecond)
	}
}

func (h *history) watch(ctx context.Context, from int64) error {
	ask := everything()
	ask["start_revision"] = strconv.FormatInt(from, 10)
	response, err := h.post(ctx, "watch", map[string]any{"create_request": ask})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	for {
		var answer watchAnswer
		if err := decoder.Decode(&answer); err != nil {
			return err
		}
		if answer.Result.Canceled || len(answer.Error) > 0 {
			return fmt.Errorf("etcd ended the watch: %s, compacted at %s", answer.Error, answer.Result.CompactRevision)
		}
		if err := h.take(ctx, answer.Result.Events); err != nil {
			return err
		}
	}
}

// take takes in events.
func (h *history) take(ctx context.Context, events []event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.moved.Broadcast()
	for _, e := range events {
		if ctx.Err() != nil {
			return ctx.Err() // what comes from before a restore must not come after it
		}
		if err := h.file(h.objects, e); err != nil {
			return err
		}
		h.revision = e.KV.Revision
		if concerns(string(e.KV.Key)) {
			h.seen(h.objects)
		}
	}
	return nil
}

// barrier returns when everything is taken in that was known to anybody when it
// was called.
func (h *history) barrier(ctx context.Context) error {
	for {
		var answer struct {
			Header header `json:"header"`
		}
		err := h.call(ctx, "kv/put", keyValue{Key: []byte("/trial/barrier")}, &answer)
		if err == nil {
			return h.reach(ctx, answer.Header.Revision)
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		idle(ctx, 20*time.Millisecond)
	}
}

func (h *history) reach(ctx context.Context, revision int64) error {
	defer h.wakeAtEnd(ctx)()
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.revision < revision {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		h.moved.Wait()
	}
	return nil
}

// wakeAtEnd wakes those who wait when ctx ends, unless it is called off.
func (h *history) wakeAtEnd(ctx context.Context) (callOff func() bool) {
	return context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.moved.Broadcast()
	})
}

// read lets use look at the objects as they are.
func (h *history) read(use func(*objects)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	use(h.objects)
}

// The places in etcd of what is followed.
const (
	podsAt     = "/registry/pods/"
	servicesAt = "/registry/services/specs/"
	slicesAt   = "/registry/endpointslices/"
	bindingsAt = "/registry/" + v1beta1.GroupName + "/targetgroupbindings/"
)

// concerns tells whether a key is of an object that is followed.
func concerns(key string) bool {
	for _, prefix := range []string{podsAt, servicesAt, slicesAt, bindingsAt} {
		if strings.HasPrefix(key, prefix+namespace+"/") {
			return true
		}
	}
	return false
}

// file puts an object where it belongs, or takes it away.
func (h *history) file(o *objects, e event) error {
	key := string(e.KV.Key)
	switch {
	case !concerns(key):
		return nil
	case strings.HasPrefix(key, podsAt):
		return put(h.decoder, o.pods, e)
	case strings.HasPrefix(key, servicesAt):
		return put(h.decoder, o.services, e)
	case strings.HasPrefix(key, slicesAt):
		return put(h.decoder, o.slices, e)
	}
	if e.Type == "DELETE" {
		delete(o.bindings, key)
		return nil
	}
	var binding v1beta1.TargetGroupBinding
	if err := json.Unmarshal(e.KV.Value, &binding); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	o.bindings[key] = &binding
	return nil
}

// put files an object that the API server stores as protobuf.
func put[T any](decoder runtime.Decoder, into map[string]*T, e event) error {
	key := string(e.KV.Key)
	if e.Type == "DELETE" {
		delete(into, key)
		return nil
	}
	decoded, _, err := decoder.Decode(e.KV.Value, nil, nil)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	object, fits := any(decoded).(*T)
	if !fits {
		return fmt.Errorf("read %s: it is a %T", key, decoded)
	}
	into[key] = object
	return nil
}

func (h *history) call(ctx context.Context, call string, ask, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	response, err := h.post(ctx, call, ask)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(answer)
}

func (h *history) post(ctx context.Context, call string, ask any) (*http.Response, error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/v3/"+call, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("etcd: %s: %s", call, response.Status)
	}
	return response, nil
}

// idle waits for d, or until ctx ends.
func idle(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
