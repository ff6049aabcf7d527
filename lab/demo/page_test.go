package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/browser"
)

// opened is a demo in which the opening has been played and the tour waits, so
// that the test alone does something to the world.
type opened struct {
	*testing.T
	*play
	url     string
	browser *browser.Browser
}

func openDemo(t *testing.T) *opened {
	b := browser.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	screen := terminal{out: io.Discard}
	s, err := setUp(ctx, screen)
	if err != nil {
		t.Fatal(err)
	}
	n := newNarrator(screen, newStory(time.Now()))
	s.controller.Run(ctx, orFail(func(err error) { t.Error(err) }))
	stopWatching := watch(ctx, s, n)
	p := &play{stage: s, narrator: n, tour: newTour()}
	p.tour.pause()
	url, closePage, err := p.serve("127.0.0.1:0")
	t.Cleanup(func() {
		if closePage != nil {
			closePage()
		}
		stopWatching()
		cancel()
		if err := s.tearDown(); err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		err = p.perform(ctx, opening())
	}
	if err == nil {
		err = s.startLoad(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &opened{T: t, play: p, url: url, browser: b}
}

// eventually waits until a condition on the world holds.
func (o *opened) eventually(t *testing.T, what string, holds func(ctx context.Context) error) {
	t.Helper()
	if err := await(t.Context(), holds); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestPage presses every button of the page, in a browser, and looks in the world
// for what must happen, and in the page for what must be seen of it.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a control plane and a browser")
	}
	o := openDemo(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *opened, *browser.Tab)
	}{
		{"shows pods, targets and traffic", showsTheWorld},
		{"scale", scalesByButton},
		{"roll", rollsByButton},
		{"kill the controller", killsByButton},
		{"throttle AWS", throttlesByButton},
		{"break a pod", breaksByButton},
		{"drain a node", drainsByButton},
		{"preStop sleep and deletion by force", losesByButton},
		{"the tour", toursByButton},
		{"a wrong number", refusesNonsense},
		{"by keyboard", worksByKeyboard},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab := o.browser.Open(t, o.url, browser.Laptop)
			c.test(t, o, tab)
			for _, problem := range tab.Problems() {
				t.Errorf("the browser complains: %+v", problem)
			}
		})
	}
	for _, view := range []browser.View{browser.Phone, browser.Laptop, browser.Phone.InDark(), browser.Laptop.InDark()} {
		t.Run("for everybody "+view.String(), func(t *testing.T) { isForEverybody(t, o, view) })
	}
}

func showsTheWorld(t *testing.T, o *opened, tab *browser.Tab) {
	pods, err := o.stage.pods(t.Context())
	if err != nil || len(pods) != replicas {
		t.Fatalf("%d pods, %v", len(pods), err)
	}
	for _, pod := range pods {
		tab.WaitText("targets", pod.Name)
		tab.WaitText("targets", pod.Status.PodIP+":8080")
	}
	tab.Wait(`document.querySelectorAll("#targets .badge[data-state=healthy]").length === 4`)
	tab.WaitText("log", "RegisterTargets")
	tab.Wait(`document.querySelectorAll("#plots svg").length === 4`)
	tab.WaitText("lost", "None so far.")
	tab.Wait(`document.querySelectorAll("#budget meter").length === 4`)
}

func scalesByButton(t *testing.T, o *opened, tab *browser.Tab) {
	tab.Fill("Pods", "5")
	tab.Click("Scale")
	tab.WaitText("outcome", "kubectl scale deployment/web --replicas=5")
	tab.Wait(`document.querySelectorAll("#targets .badge[data-state=healthy]").length === 5`)
	o.eventually(t, "scaling", func(ctx context.Context) error { return settled(ctx, o.stage) })
}

func rollsByButton(t *testing.T, o *opened, tab *browser.Tab) {
	before := o.podNames(t)
	tab.Click("Roll all pods")
	tab.WaitText("targets", "draining")
	o.eventually(t, "rolling", func(ctx context.Context) error {
		for _, name := range o.podNames(t) {
			if slices.Contains(before, name) {
				return fmt.Errorf("pod %s is still there", name)
			}
		}
		return settled(ctx, o.stage)
	})
	if lost := o.stage.requests().Lost; lost != 0 {
		t.Errorf("%d requests were lost", lost)
	}
}

func (o *opened) podNames(t *testing.T) (names []string) {
	t.Helper()
	pods, err := o.stage.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods {
		names = append(names, pods[i].Name)
	}
	return names
}

func killsByButton(t *testing.T, o *opened, tab *browser.Tab) {
	before := o.stage.controller.Process()
	tab.Click("Kill the controller")
	o.eventually(t, "the restart", func(context.Context) error {
		if now := o.stage.controller.Process(); now == nil || now == before {
			return errors.New("no other controller runs")
		}
		return nil
	})
	if code := before.Wait(); code != -1 {
		t.Errorf("it ended with code %d, not by a signal", code)
	}
	tab.WaitText("numbers", "restarted once")
	tab.Fill("Pods", "4")
	tab.Click("Scale")
	o.eventually(t, "the new controller's work", func(ctx context.Context) error { return settled(ctx, o.stage) })
}

func throttlesByButton(t *testing.T, o *opened, tab *browser.Tab) {
	tab.Click("Throttle AWS")
	tab.WaitText("numbers", "throttles")
	tab.Fill("Pods", "5")
	tab.Click("Scale")
	tab.WaitText("log", "is answered with Throttling")
	tab.Click("Stop throttling")
	tab.WaitText("numbers", "answers")
	o.eventually(t, "recovery", func(ctx context.Context) error { return settled(ctx, o.stage) })
}

func breaksByButton(t *testing.T, o *opened, tab *browser.Tab) {
	tab.Click("Break a pod")
	tab.WaitText("targets", "not ready")
	o.eventually(t, "a pod that is no target", func(ctx context.Context) error { return settledWithoutVictim(ctx, o.stage) })
	tab.Click("Heal")
	o.eventually(t, "healing", func(ctx context.Context) error { return settled(ctx, o.stage) })
}

func drainsByButton(t *testing.T, o *opened, tab *browser.Tab) {
	tab.Fill("Node", "node-2")
	tab.Click("Drain")
	tab.WaitText("targets", "cordoned")
	o.eventually(t, "draining", func(ctx context.Context) error {
		pods, err := o.stage.pods(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Spec.NodeName == "node-2" }) {
			return errors.New("pods are still on the node")
		}
		return settled(ctx, o.stage)
	})
	tab.Click("Uncordon")
	o.eventually(t, "uncordoning", func(ctx context.Context) error {
		var node corev1.Node
		if err := o.stage.Rig.API.Get(ctx, client.ObjectKey{Name: "node-2"}, &node); err != nil || node.Spec.Unschedulable {
			return fmt.Errorf("the node takes no pods: %w", err)
		}
		return nil
	})
	tab.Wait(`!document.getElementById("targets").innerText.includes("cordoned")`)
}

func losesByButton(t *testing.T, o *opened, tab *browser.Tab) {
	tab.Click("Take the preStop sleep away")
	tab.Wait(`document.querySelector("#numbers .badge[data-state=failed]")?.innerText.includes("none")`)
	o.eventually(t, "a rollout", func(ctx context.Context) error { return settled(ctx, o.stage) })
	if lost := o.stage.requests().Lost; lost != 0 {
		t.Errorf("%d requests were lost by pods that were protected", lost)
	}
	before := o.podNames(t)
	tab.Click("Delete a pod by force")
	o.eventually(t, "another pod", func(ctx context.Context) error {
		if now := o.podNames(t); len(now) == len(before) && slices.Equal(now, before) {
			return errors.New("all pods are still there")
		}
		return settled(ctx, o.stage)
	})
	tab.Click("Roll all pods")
	tab.WaitText("lost", "lost:")
	o.eventually(t, "a rollout", func(ctx context.Context) error { return settled(ctx, o.stage) })
	tab.Click("Give it back")
	o.eventually(t, "protection", func(ctx context.Context) error {
		var d appsv1.Deployment
		if err := o.stage.Rig.API.Get(ctx, objectKey(), &d); err != nil || d.Spec.Template.Spec.Containers[0].Lifecycle == nil {
			return fmt.Errorf("no preStop sleep: %w", err)
		}
		return settled(ctx, o.stage)
	})
}

func toursByButton(t *testing.T, o *opened, tab *browser.Tab) {
	tab.WaitText("tour", "The tour waits")
	tab.Click("Resume the tour")
	o.eventually(t, "the tour", func(context.Context) error {
		if o.tour.isPaused() {
			return errors.New("it waits")
		}
		return nil
	})
	tab.Click("Pause the tour")
	tab.WaitText("tour", "The tour waits")
	tab.Click("Resume the tour")
	tab.Find("Pause the tour")
	tab.Click("Heal") // whoever does something takes over
	tab.WaitText("tour", "The tour waits")
}

func refusesNonsense(t *testing.T, o *opened, tab *browser.Tab) {
	var told string
	tab.Eval(`(async () => {
		const answer = await fetch("do/scale", {method: "POST", body: new URLSearchParams({value: "many"}), headers: {Accept: "application/json"}});
		return (await answer.json()).error;
	})()`, &told)
	if want := `replicas "many": want a whole number from 0 to 20`; told != want {
		t.Errorf("got %q, want %q", told, want)
	}
	if problems := tab.Problems(); len(problems) != 1 || problems[0].Source != "network" { // it is answered with 400
		t.Errorf("the browser complains: %+v", problems)
	}
}

// isForEverybody looks at the page with other eyes.
func isForEverybody(t *testing.T, o *opened, view browser.View) {
	tab := o.browser.Open(t, o.url, view)
	tab.WaitText("targets", "healthy")
	for _, wrong := range tab.Audit() {
		t.Error(wrong)
	}
	if dir := os.Getenv("TGC_SCREENSHOTS"); dir != "" {
		tab.Screenshot(filepath.Join(dir, "demo-"+view.String()+".png"))
	}
	for _, problem := range tab.Problems() {
		t.Errorf("the browser complains: %+v", problem)
	}
}

// worksByKeyboard: all that can be done can be reached by the Tab key, and done.
func worksByKeyboard(t *testing.T, o *opened, tab *browser.Tab) {
	var reached []string
	for _, n := range tab.TabThrough() {
		reached = append(reached, n.Name)
	}
	for _, name := range []string{
		"Roll all pods", "Pods", "Scale", "Node", "Drain", "Uncordon", "Kill the controller", "Throttle AWS", "Stop throttling",
		"Break a pod", "Heal", "Delete a pod by force", "Take the preStop sleep away", "Give it back", "Resume the tour",
	} {
		if !slices.Contains(reached, name) {
			t.Errorf("%q cannot be reached by the Tab key, only %q", name, reached)
		}
	}
	tab.Focus("Throttle AWS")
	tab.Press("Enter")
	tab.WaitText("numbers", "throttles")
	tab.Focus("Stop throttling")
	tab.Press("Space")
	tab.WaitText("numbers", "answers")
	o.eventually(t, "recovery", func(ctx context.Context) error { return settled(ctx, o.stage) })
}
