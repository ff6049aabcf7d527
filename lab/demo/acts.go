package demo

import (
	"context"
	"errors"
	"fmt"
)

// Act is one thing that is shown.
type Act struct {
	// Name is its heading.
	Name string
	// Narration says what is about to happen and what to look for.
	Narration string
	// Do begins it, and gives the command with which a person would do the same.
	Do func(ctx context.Context, s *Stage) (command string, err error)
	// Until is nil once the act has ended as it should, and says what is missing
	// before. It is asked often.
	Until func(ctx context.Context, s *Stage) error
	// Lost says what may become of the clients' requests meanwhile.
	Lost expectation
}

// expectation is how many requests an act loses.
type expectation int

const (
	// whatever: it depends on who was being served at the moment.
	whatever expectation = iota
	// none, or the demo shows nothing.
	none
	// some, or the simulator is kinder than AWS.
	some
)

// check is nil if n lost requests are what was to be expected.
func (e expectation) check(n int) error {
	switch {
	case e == none && n > 0:
		return fmt.Errorf("%d requests were lost, want none", n)
	case e == some && n == 0:
		return errors.New("no request was lost, although nothing protected them")
	}
	return nil
}

// opening is played first and once.
func opening() Act {
	return Act{
		Name: "A Deployment appears",
		Narration: "Four pods start. As soon as one is Ready, tgc registers it; the load balancer checks it and" +
			" calls it healthy. Pods that get Ready while a call is under way share the next one.",
		Do: func(ctx context.Context, s *Stage) (string, error) {
			return fmt.Sprintf("kubectl create deployment %s --replicas=%d ...", app, replicas), s.Rig.API.Create(ctx, deployment())
		},
		Until: settled,
	}
}

// acts are the others, in their order. After the last the first can follow.
func acts() []Act {
	return []Act{
		{
			Name: "A rolling update",
			Narration: "Every pod is replaced, one after the other. The old ones are deregistered the moment they are told" +
				" to end, and go on serving while the load balancer's nodes learn of it: no request is lost.",
			Do:    roll,
			Until: settled,
			Lost:  none,
		},
		{
			Name:      "Scaling up",
			Narration: "Two more pods.",
			Do:        func(ctx context.Context, s *Stage) (string, error) { return scale(ctx, s, replicas+2) },
			Until:     settled,
			Lost:      none,
		},
		{
			Name:      "Scaling down",
			Narration: "Two pods fewer. Watch the targets: healthy, draining, gone.",
			Do:        func(ctx context.Context, s *Stage) (string, error) { return scale(ctx, s, replicas) },
			Until:     settled,
			Lost:      none,
		},
		{
			Name: "A pod falls ill",
			Narration: "One pod fails its readiness probe but stays. Kubernetes takes three failed probes to believe" +
				" it; then the pod must get no more requests.",
			Do:    sicken,
			Until: settledWithoutVictim,
			Lost:  none,
		},
		{
			Name:      "It recovers",
			Narration: "The probe passes again, and the pod returns to the target group.",
			Do:        heal,
			Until:     settled,
			Lost:      none,
		},
		{
			Name: "A pod vanishes",
			Narration: "It is deleted by force: no SIGTERM, no grace, as when a node is lost. Nobody could be told" +
				" beforehand, so requests are lost, but its target leaves at once, and another pod takes its place.",
			Do:    deleteByForce,
			Until: settled,
		},
		{
			Name: "The pods lose their preStop sleep",
			Narration: "What kept them serving after their deletion is taken out of the Deployment. The pods that leave" +
				" for it still have it, so nothing is lost yet.",
			Do:    func(ctx context.Context, s *Stage) (string, error) { return protect(ctx, s, false) },
			Until: settled,
			Lost:  none,
		},
		{
			Name: "A rolling update without protection",
			Narration: "The same as at first, but now the pods end as soon as they are told. The load balancer's nodes" +
				" learn of it later and go on sending: watch the requests that are lost.",
			Do:    roll,
			Until: settled,
			Lost:  some,
		},
		{
			Name:      "The preStop sleep returns",
			Narration: "The last pods without it leave, and take some requests with them. Then all is as it was.",
			Do:        func(ctx context.Context, s *Stage) (string, error) { return protect(ctx, s, true) },
			Until:     settled,
			Lost:      some,
		},
	}
}
