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
	answers map[question]map[target.ARN]report.Gate
	asked   map[target.ARN]map[question]bool
}

// question is a gate of a pod.
type question struct{ uid, gate string }

// NewAnswers makes an empty Answers.
func NewAnswers() *Answers {
	return &Answers{answers: map[question]map[target.ARN]report.Gate{}, asked: map[target.ARN]map[question]bool{}}
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
		before, known := a.answers[q][group]
		if !known || before.Condition != gate.Condition {
			a.Changed.Add(types.NamespacedName{Namespace: gate.Pod.Namespace, Name: gate.Pod.Name})
		}
		if a.answers[q] == nil {
			a.answers[q] = map[target.ARN]report.Gate{}
		}
		a.answers[q][group] = gate
	}
	for q := range a.asked[group] {
		if !asked[q] {
			remove(a.answers, q, group)
		}
	}
	a.asked[group] = asked
	if len(asked) == 0 {
		delete(a.asked, group)
	}
}

// Read gives the answer of some groups to a gate of a pod, and false if one of them has
// none, or there are no groups. The gate opens if all groups say so; else the first one
// that does not, in the order given, has the word.
func (a *Answers) Read(uid, gate string, groups []target.ARN) (report.Gate, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var said report.Gate
	for i, group := range groups {
		answer, known := a.answers[question{uid, gate}][group]
		if !known {
			return report.Gate{}, false
		}
		switch healthy := said.Reason == target.TargetHealthy; {
		case i == 0, said.True && (healthy || !answer.True):
			said = answer
		}
	}
	return said, len(groups) > 0
}
