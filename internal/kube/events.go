package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	typedeventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/tools/reference"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

const (
	// component is who events are said to come from.
	component = "targetgroupcontroller"
	// action is what the controller was doing when it recorded an event.
	action = "Sync"
	// maxNote is what the API server takes as the note of an event.
	maxNote = 1024
	// waiting bounds the events that were recorded and not written yet.
	waiting = 1000
	// sameFor is how long after its last time an event counts as happening again.
	sameFor = 6 * time.Minute
	// writeLimit bounds a write to the API server, and the writes at the end.
	writeLimit = 5 * time.Second
)

// Recorder tells people what happened to a binding: as an event on the object
// that declared it, and as a line in the log. An event that happens again counts
// up; one that says something else is another event. client-go's recorder takes
// all events of one reason on one object for the same and keeps the first note,
// so that nobody would see what was registered second.
type Recorder struct {
	scheme   *runtime.Scheme
	reader   client.Reader
	sink     typedeventsv1.EventsGetter
	instance string
	queue    chan *eventsv1.Event
	written  map[sameness]*eventsv1.Event // only Start's goroutine uses it
}

// sameness is what two events share that are one event, twice.
type sameness struct {
	object       corev1.ObjectReference
	reason, note string
}

// NewRecorder makes a Recorder. The scheme knows the kinds of the objects, and the
// reader, a cache, knows Services. Instance tells replicas apart.
func NewRecorder(scheme *runtime.Scheme, reader client.Reader, sink typedeventsv1.EventsGetter, instance string) *Recorder {
	return &Recorder{
		scheme: scheme, reader: reader, sink: sink, instance: instance,
		queue: make(chan *eventsv1.Event, waiting), written: map[sameness]*eventsv1.Event{},
	}
}

// Start writes what is recorded until ctx ends, and then what is still waiting.
func (r *Recorder) Start(ctx context.Context) error {
	for {
		select {
		case event := <-r.queue:
			r.write(context.WithoutCancel(ctx), event)
		case <-ctx.Done():
			r.drain(context.WithoutCancel(ctx))
			return nil
		}
	}
}

// NeedLeaderElection is false: the Recorder runs before anybody records.
func (r *Recorder) NeedLeaderElection() bool { return false }

func (r *Recorder) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	for len(r.queue) > 0 && ctx.Err() == nil {
		r.write(ctx, <-r.queue)
	}
}

// Record tells one event. It does not wait for the API server.
func (r *Recorder) Record(ctx context.Context, binding Binding, group target.ARN, event report.Event) {
	kind := corev1.EventTypeNormal
	if event.Warning {
		kind = corev1.EventTypeWarning
	}
	log.FromContext(ctx).Info(event.Message, "binding", binding.ID.String(), "group", group.String(),
		"type", kind, "reason", event.Reason)
	if binding.Object != nil {
		r.enqueue(ctx, r.identified(ctx, binding.Object), kind, event.Reason, event.Message)
	}
}

// Tell tells what became of an object. It does not wait either.
func (r *Recorder) Tell(ctx context.Context, object client.Object, reason target.Reason, message string) {
	log.FromContext(ctx).Info(message, "type", corev1.EventTypeNormal, "reason", reason)
	r.enqueue(ctx, object, corev1.EventTypeNormal, reason, message)
}

// Complain tells what is wrong with an object. It does not wait either.
func (r *Recorder) Complain(ctx context.Context, object client.Object, reason target.Reason, message string) {
	log.FromContext(ctx).Info(message, "type", corev1.EventTypeWarning, "reason", reason)
	r.enqueue(ctx, object, corev1.EventTypeWarning, reason, message)
}

func (r *Recorder) enqueue(ctx context.Context, object runtime.Object, kind string, reason target.Reason, note string) {
	regarding, err := reference.GetReference(r.scheme, object)
	if err != nil {
		log.FromContext(ctx).Error(err, "Cannot say what an event is about", "reason", reason)
		return
	}
	event := &eventsv1.Event{
		EventTime: metav1.NowMicro(), ReportingController: component, ReportingInstance: r.instance,
		Action: action, Reason: string(reason), Regarding: *regarding, Note: note[:min(len(note), maxNote)], Type: kind,
	}
	select {
	case r.queue <- event:
	default: // the log has it
	}
}

// identified gives a Service that flags name its UID, by which kubectl describe
// finds the events of an object.
func (r *Recorder) identified(ctx context.Context, object runtime.Object) runtime.Object {
	ref, named := object.(*corev1.ObjectReference)
	if !named || ref.UID != "" {
		return object
	}
	var service corev1.Service
	if r.reader.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, &service) != nil {
		return object // it does not exist, and this is perhaps what the event says
	}
	known := *ref
	known.UID = service.UID
	return &known
}

// write creates an event, or counts up the one that it repeats.
func (r *Recorder) write(ctx context.Context, event *eventsv1.Event) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	r.forget(event.EventTime.Time)
	key := sameness{event.Regarding, event.Reason, event.Note}
	key.object.ResourceVersion = ""
	err := r.again(ctx, r.written[key], event)
	if err != nil {
		event.Namespace = event.Regarding.Namespace
		event.Name = fmt.Sprintf("%s.%x", event.Regarding.Name, event.EventTime.UnixNano())
		if r.written[key], err = r.sink.Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{}); err != nil {
			delete(r.written, key)
			log.FromContext(ctx).Info("An event could not be written", "reason", event.Reason, "note", event.Note, "error", err.Error())
		}
	}
}

// again counts up an event that was written before; an error if there is none, or
// it is there no more.
func (r *Recorder) again(ctx context.Context, before, event *eventsv1.Event) error {
	if before == nil {
		return errNew
	}
	count := int32(2)
	if before.Series != nil {
		count = before.Series.Count + 1
	}
	series := &eventsv1.EventSeries{Count: count, LastObservedTime: event.EventTime}
	patch, err := json.Marshal(map[string]any{"series": series})
	if err != nil {
		return err
	}
	_, err = r.sink.Events(before.Namespace).Patch(ctx, before.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err == nil {
		before.Series = series
	}
	return err
}

var errNew = errors.New("the event is new")

// forget drops events that did not happen again for some time.
func (r *Recorder) forget(now time.Time) {
	for key, event := range r.written {
		last := event.EventTime.Time
		if event.Series != nil {
			last = event.Series.LastObservedTime.Time
		}
		if now.Sub(last) > sameFor {
			delete(r.written, key)
		}
	}
}
