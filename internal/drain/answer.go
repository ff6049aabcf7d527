package drain

import (
	"fmt"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Path is where the controller, or a sidecar, answers pods that ask how far their leaving
// is:
//
//	GET /drain?namespace=shop&name=web-0&uid=0c6f...&known=Registered//95
//
// It answers when it has something else to say than what is Known, and at the latest
// after LongPoll. Without known it answers at once. Who does not know the UID of a
// pod learns nothing of it.
const Path = "/drain"

// LongPoll is how long the controller waits for something new to say.
const LongPoll = 30 * time.Second

// The parameters of a question.
const (
	ParamNamespace = "namespace"
	ParamName      = "name"
	ParamUID       = "uid"
	ParamKnown     = "known"
)

// State is what the controller knows of a pod.
type State string

// The states.
const (
	// Staying: the pod is not being deleted, so that only its container ends.
	Staying State = "Staying"
	// StillRegistered: a group holds the pod, or it is not known yet whether one does.
	StillRegistered State = "Registered"
	// Deregistered: all groups have let go of the pod.
	Deregistered State = "Deregistered"
	// NotRegistered: no group held the pod.
	NotRegistered State = "NotRegistered"
)

// Answer is what the controller says of a pod: durations and reasons, no times, since
// clocks differ, and no names.
type Answer struct {
	State State `json:"state"`
	// GraceSeconds is how long after its deletion the pod is killed.
	GraceSeconds int64 `json:"graceSeconds,omitempty"`
	// SinceMillis is since when at the latest the pod has been Deregistered.
	SinceMillis int64 `json:"sinceMillis,omitempty"`
	// Reason is why the pod is still registered, as far as that is known.
	Reason target.Reason `json:"reason,omitempty"`
}

// Known names what an answer says, so that who asks again is told of news only. That
// time goes on is no news.
func (a Answer) Known() string { return fmt.Sprintf("%s/%s/%d", a.State, a.Reason, a.GraceSeconds) }

// Learn takes in what the controller said at the time now. What was deregistered
// once stays so, whoever says something else out of an older memory, and of several
// moments the earliest counts: each is one at which it was certainly so.
func (l *Leave) Learn(a Answer, hold time.Duration, now time.Time) {
	if grace := time.Duration(a.GraceSeconds) * time.Second; grace > 0 {
		l.Grace = grace
	}
	accepted := now.Add(-time.Duration(max(0, a.SinceMillis)) * time.Millisecond)
	known := l.Told && len(l.Departures) == 1 && !l.Departures[0].Accepted.IsZero()
	switch {
	case a.State == NotRegistered && !known:
		l.Told, l.Departures = true, nil
	case a.State == Deregistered && (!known || accepted.Before(l.Departures[0].Accepted)):
		l.Told, l.Departures = true, []Departure{{Accepted: accepted, Hold: hold}}
	case a.State == StillRegistered && !known:
		l.Told, l.Departures = true, []Departure{{Hold: hold}}
	}
}
