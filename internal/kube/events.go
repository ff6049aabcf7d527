package kube

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// maxNote is what the API server takes as the note of an event.
const maxNote = 1024

// Recorder tells people what happened to a binding: as an event on the object
// that declared it, and as a line in the log.
type Recorder struct{ events events.EventRecorder }

// NewRecorder makes a Recorder.
func NewRecorder(recorder events.EventRecorder) *Recorder { return &Recorder{events: recorder} }

// Record tells one event. It does not wait for the API server.
func (r *Recorder) Record(ctx context.Context, binding Binding, group target.ARN, event report.Event) {
	kind := corev1.EventTypeNormal
	if event.Warning {
		kind = corev1.EventTypeWarning
	}
	log.FromContext(ctx).Info(event.Message, "binding", binding.ID.String(), "group", group.String(),
		"type", kind, "reason", event.Reason)
	note := event.Message
	if len(note) > maxNote {
		note = note[:maxNote]
	}
	r.events.Eventf(binding.Object, nil, kind, string(event.Reason), "Sync", "%s", note)
}
