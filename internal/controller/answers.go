package controller

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Answers holds what the rounds of the groups last said to the pods that wait at
// readiness gates, until the gate controller has written it. It is safe for
// concurrent use.
type Answers struct {
	// Changed wakes the gate controller, by namespace and name of the pod.
	Changed Queue[types.NamespacedName]

	mu      sync.Mutex
	answers map[question]answer
	asked   map[target.ARN]map[question]bool
}

// question is a gate of a pod.
type question struct{ uid, gate string }

type answer struct {
	report.Gate
	group target.ARN
}

// NewAnswers makes an empty Answers.
func NewAnswers() *Answers {
	return &Answers{answers: map[question]answer{}, asked: map[target.ARN]map[question]bool{}}
}

// Post replaces what a group said, and wakes the pods to which it says something
// new. A group that can say nothing posts nothing.
func (a *Answers) Post(group target.ARN, gates []report.Gate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := map[question]bool{}
	for _, gate := range gates {
		q := question{gate.Pod.UID, gate.Type}
		asked[q] = true
		before, known := a.answers[q]
		a.answers[q] = answer{gate, group}
		if !known || before.Condition != gate.Condition {
			a.Changed.Add(types.NamespacedName{Namespace: gate.Pod.Namespace, Name: gate.Pod.Name})
		}
	}
	for q := range a.asked[group] {
		if !asked[q] && a.answers[q].group == group {
			delete(a.answers, q)
		}
	}
	a.asked[group] = asked
	if len(asked) == 0 {
		delete(a.asked, group)
	}
}

// Read gives the answer to a gate of a pod, and false if there is none.
func (a *Answers) Read(uid, gate string) (report.Gate, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, known := a.answers[question{uid, gate}]
	return found.Gate, known
}
