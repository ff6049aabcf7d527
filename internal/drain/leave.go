package drain

import "time"

// Reserve is what a hook leaves of the grace period beyond the application's own
// shutdown, for the kubelet to notice its end and to send SIGTERM.
const Reserve = 2 * time.Second

// Departure is one target group's letting go of a pod.
type Departure struct {
	// Accepted is when AWS accepted the deregistration; zero while it has not. Who
	// does not know the moment takes the first at which it was known to be past: a
	// later one only makes the pod serve longer. A group that is deleted has let go.
	Accepted time.Time
	// Hold is for how long after that the pod may be sent requests.
	Hold time.Duration
}

// Leave is what is known of a pod that leaves. All its times are readings of one
// clock, so that no step of a clock and no difference between two of them shortens
// a hold.
type Leave struct {
	// Deleted is when the end of the pod was decided.
	Deleted time.Time
	// Grace is how long after Deleted its containers are killed, and Shutdown how
	// much of that belongs to the application.
	Grace, Shutdown time.Duration
	// Told is false while it is not known which groups hold the pod.
	Told bool
	// Departures are those of all groups that held the pod when its end was decided,
	// or lately. Groups that never held it, or not for long, are left out.
	Departures []Departure
}

// Stage is how far a pod is on its way out.
type Stage string

// The stages.
const (
	// Asking: it is not known which groups hold the pod.
	Asking Stage = "Asking"
	// Registered: a group has not let go of the pod.
	Registered Stage = "Registered"
	// Holding: all groups have let go, and load balancers may not know it yet.
	Holding Stage = "Holding"
	// Safe: no load balancer sends requests any more.
	Safe Stage = "Safe"
)

// Verdict is what a pod is to do.
type Verdict struct {
	Stage Stage
	// Left is for how long the pod must go on serving if nothing new is learned;
	// zero if it may stop.
	Left time.Duration
	// Forced tells that the deadline comes, or came, before the pod is safe.
	Forced bool
}

// Deadline is until when the pod may go on serving at the latest.
func (l Leave) Deadline() time.Time { return l.Deleted.Add(max(0, l.Grace-l.Shutdown-Reserve)) }

// Decide tells for how long the pod must still serve. It is never less than what is
// left of Hold after the last deregistration, unless the deadline forbids.
func (l Leave) Decide(now time.Time) Verdict {
	deadline := l.Deadline()
	stage, safe := l.stage(now)
	until, forced := safe, false
	if stage == Asking || stage == Registered || safe.After(deadline) {
		until, forced = deadline, true
	}
	return Verdict{Stage: stage, Left: max(0, until.Sub(now)), Forced: forced && stage != Safe}
}

// stage tells how far the pod is, and when it is or was safe if that is known.
func (l Leave) stage(now time.Time) (Stage, time.Time) {
	if !l.Told {
		return Asking, time.Time{}
	}
	safe := l.Deleted
	for _, departure := range l.Departures {
		if departure.Accepted.IsZero() {
			return Registered, time.Time{}
		}
		if until := departure.Accepted.Add(departure.Hold); until.After(safe) {
			safe = until
		}
	}
	if now.Before(safe) {
		return Holding, safe
	}
	return Safe, safe
}

// Outcome is how the leaving of a pod came out.
type Outcome string

// The outcomes.
const (
	// Held: the pod served for as long as requests could come.
	Held Outcome = "held"
	// Forced: the grace period was too short for it.
	Forced Outcome = "forced"
	// Uncovered: the pod was gone early although there was time, as when it was
	// deleted by force, or its node was lost.
	Uncovered Outcome = "uncovered"
)

// Outcome tells how the leaving came out of a pod that was gone at a time. The
// deadline is forgiven as much as a hook leaves of the grace period, since a hook
// counts from its own start.
func (l Leave) Outcome(gone time.Time) Outcome {
	stage, safe := l.stage(gone)
	switch deadline := l.Deadline(); {
	case stage == Safe && !safe.After(deadline):
		return Held
	case gone.Before(deadline.Add(-Reserve)):
		return Uncovered
	}
	return Forced
}
