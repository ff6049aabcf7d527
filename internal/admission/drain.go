package admission

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain"
)

// margin is how many seconds the grace period has beyond the sum.
const margin = int64(drain.Margin / time.Second)

// draining is what a pod has for its end, as its annotations tell.
type draining struct {
	mode                 v1beta1.DrainMode
	hold, late, shutdown int64 // seconds
	image, endpoint      string
	containers           []string // those with a hook of ours
}

// drainingOf reads the annotations. What cannot be read was not written by us.
func drainingOf(pod *corev1.Pod) draining {
	d := draining{
		hold:     seconds(pod.Annotations[v1beta1.AnnotationDrainHold]),
		late:     seconds(pod.Annotations[v1beta1.AnnotationDrainLate]),
		shutdown: seconds(pod.Annotations[v1beta1.AnnotationDrainShutdown]),
	}
	if installed(pod) {
		d.mode = v1beta1.DrainMode(pod.Annotations[v1beta1.AnnotationDrainMode])
	}
	if names := pod.Annotations[v1beta1.AnnotationDrainContainers]; names != "" {
		d.containers = strings.Split(names, ",")
	}
	return d
}

var numeral = regexp.MustCompile(`^[0-9]{1,5}$`)

func seconds(s string) int64 {
	if !numeral.MatchString(s) {
		return 0
	}
	n, _ := strconv.ParseInt(s, 10, 64) // at most five digits
	return n
}

// joined is what suits both what the pod has and a binding: the longest of each
// time, since one wait serves all.
func (d draining) joined(b *v1beta1.DrainStatus, windows bool) draining {
	switch {
	case b.Mode == v1beta1.DrainHold && b.Image != "" && !windows:
		d.mode = v1beta1.DrainHold
		d.image, d.endpoint = least(d.image, b.Image), least(d.endpoint, b.Endpoint)
	case d.mode != v1beta1.DrainHold:
		d.mode = v1beta1.DrainSleep
	}
	d.hold = max(d.hold, int64(b.HoldSeconds))
	d.late = max(d.late, int64(b.LateSeconds))
	d.shutdown = max(d.shutdown, int64(b.ShutdownSeconds))
	return d
}

// least is the lesser of two strings that are not empty: any will do, as long as it is
// the same one each time.
func least(a, b string) string {
	if a == "" || b != "" && b < a {
		return b
	}
	return a
}

func (d draining) annotations() map[string]string {
	return map[string]string{
		v1beta1.AnnotationDrainMode:       string(d.mode),
		v1beta1.AnnotationDrainHold:       strconv.FormatInt(d.hold, 10),
		v1beta1.AnnotationDrainLate:       strconv.FormatInt(d.late, 10),
		v1beta1.AnnotationDrainShutdown:   strconv.FormatInt(d.shutdown, 10),
		v1beta1.AnnotationDrainContainers: strings.Join(d.containers, ","),
	}
}

// drain gives every container of the pod a hook that makes it serve on, and the
// pod the grace period for it. All containers, not only those with ports: a pod
// serves for as long as everything in it that takes part does. Native sidecars
// need none, since the kubelet stops them after the others.
func (i *Injection) drain(pod *corev1.Pod, asking []Binding) {
	had := drainingOf(pod)
	has, asked := had, false
	windows := pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows
	for _, b := range asking {
		if b.Drain != nil {
			has, asked = has.joined(b.Drain, windows), true
		}
	}
	if !asked {
		return
	}
	i.hooks(pod, had, &has)
	if has.mode == v1beta1.DrainHold {
		i.program(pod, has)
	}
	i.annotate(pod, has.annotations())
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		grace = *pod.Spec.TerminationGracePeriodSeconds
	}
	if least := has.hold + has.late + has.shutdown + margin; grace < least {
		i.add("/spec/terminationGracePeriodSeconds", least)
	}
}

// hooks gives the containers their preStop hooks, and notes which have one.
func (i *Injection) hooks(pod *corev1.Pod, had draining, has *draining) {
	ours := map[string]bool{}
	for _, name := range had.containers {
		ours[name] = true
	}
	has.containers = nil
	for n := range pod.Spec.Containers {
		container := &pod.Spec.Containers[n]
		own := preStop(container)
		hook := hookFor(own, ours[container.Name], *has)
		if hook == nil {
			i.warn("%s", unheld(container.Name, own, *has))
			continue
		}
		has.containers = append(has.containers, container.Name)
		if hook == own {
			continue
		}
		path := containerPath(n) + "/lifecycle"
		if container.Lifecycle == nil {
			i.add(path, corev1.Lifecycle{PreStop: hook})
		} else {
			i.add(path+"/preStop", hook)
		}
	}
}

func containerPath(n int) string { return "/spec/containers/" + strconv.Itoa(n) }

func preStop(container *corev1.Container) *corev1.LifecycleHandler {
	if container.Lifecycle == nil {
		return nil
	}
	return container.Lifecycle.PreStop
}

// hookFor is the preStop hook of a container that has own, which is ours or not:
// own itself if it will do, and nil if nothing can be put before it.
func hookFor(own *corev1.LifecycleHandler, ours bool, has draining) *corev1.LifecycleHandler {
	free := own == nil || ours
	if has.mode == v1beta1.DrainHold {
		return waiting(own, free)
	}
	switch sleep := has.hold + has.late; {
	case !free:
		return nil
	case own != nil && own.Sleep != nil && own.Sleep.Seconds == sleep:
		return own
	default:
		return &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: sleep}}
	}
}

// waiting is the hook that runs our program, in the place of own if that is free.
func waiting(own *corev1.LifecycleHandler, free bool) *corev1.LifecycleHandler {
	var before []string
	switch {
	case free && own != nil && own.Exec != nil:
		return own
	case !free && own.Exec == nil:
		return nil
	case !free:
		before = own.Exec.Command
	}
	return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: waitCommand(before)}}
}

// unheld tells about a container that gets no hook.
func unheld(container string, own *corev1.LifecycleHandler, has draining) string {
	remedy := "remove it"
	kind := "httpGet"
	switch {
	case own.Exec != nil:
		kind, remedy = "exec", "use drain mode Hold, which is put before it"
	case own.Sleep != nil:
		kind = "sleep"
	case own.TCPSocket != nil:
		kind = "tcpSocket"
	}
	return fmt.Sprintf("container %s has a preStop hook of its own (%s) and so is not kept serving while load balancers stop sending to it: "+
		"make that hook take %d seconds, or %s", container, kind, has.hold+has.late, remedy)
}

// Held names the containers of a pod that have a drain hook.
func Held(pod *corev1.Pod) []string { return drainingOf(pod).containers }

// DrainSeconds are for how long a pod is held after its deregistration, how late that
// may be, and what its application needs, as admission wrote it on the pod.
func DrainSeconds(pod *corev1.Pod) (hold, late, shutdown int64) {
	d := drainingOf(pod)
	return d.hold, d.late, d.shutdown
}

// Unheld names the containers of a pod with a drain hook that have none
// themselves, because they have a preStop hook of their own.
func Unheld(pod *corev1.Pod) []string {
	held := Held(pod)
	var names []string
	for n := range pod.Spec.Containers {
		if name := pod.Spec.Containers[n].Name; !slices.Contains(held, name) {
			names = append(names, name)
		}
	}
	return names
}
