package demo

import "time"

// actor is who did something.
type actor string

const (
	// byDemo: the play itself, in place of a person with kubectl.
	byDemo actor = "demo"
	// byKubernetes: the control plane or a node.
	byKubernetes actor = "kube"
	// byController: a call of tgc to AWS.
	byController actor = "tgc"
	// byBalancer: the simulator, in the part of the load balancer.
	byBalancer actor = "elb"
	// byEvent: an Event that tgc wrote on the TargetGroupBinding.
	byEvent actor = "event"
	// byOther: a call to AWS that is not tgc's: a person with the AWS CLI.
	byOther actor = "other"
)

// tone is how a line should strike the eye.
type tone int

const (
	plain tone = iota
	good
	changing
	bad
	faint
	strong
)

// class is the tone's name in the page's stylesheet.
func (t tone) class() string {
	switch t {
	case good:
		return "good"
	case changing:
		return "changing"
	case bad:
		return "bad"
	case faint:
		return "faint"
	case strong:
		return "strong"
	}
	return ""
}

// line is one thing that happened, ready to be printed.
type line struct {
	at     time.Duration // since the first act
	who    actor
	pod    string
	target string // address:port, or how many
	what   string
	// after is how long it took and since when; may be empty.
	after string
	tone  tone
	// loss: requests were lost.
	loss bool
}

// row is one line of the table: a pod, its target, or both.
type row struct {
	pod, node, ready string
	age              time.Duration
	target, state    string
	reason           string
	since            time.Duration // how long the target has been in its state
	tone             tone
}
