package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
)

const (
	// gather is how long changes are collected before they are written: a
	// container that starts and passes its first probe is one write, not two.
	gather     = 10 * time.Millisecond
	retryEvery = 200 * time.Millisecond
	writeLimit = 10 * time.Second
)

// report writes the status whenever something has changed.
func (p *pod) report(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-p.power.Done():
			return
		case <-p.changed:
		}
		time.Sleep(gather)
		if err := p.write(); err != nil {
			p.pause(err)
			p.wake()
		}
	}
}

// write brings the object's status up to date, if it is not.
func (p *pod) write() error {
	p.mu.Lock()
	status := p.status()
	object := p.object
	done := p.isErased || (p.written != nil && apiequality.Semantic.DeepEqual(p.written, status) && !overwritten(&object.Status, status))
	p.mu.Unlock()
	if done {
		return nil
	}
	patch, err := difference(object, status)
	if err != nil {
		return fmt.Errorf("encode the status: %w", err)
	}
	answer, err := p.send(object, patch)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.written = status
	p.mu.Unlock()
	p.observe(answer)
	return nil
}

// difference is a patch from the object's status to the one wanted. Conditions
// that are not the node's stay as they are. The uid keeps it from a new pod of
// the same name.
func difference(object *corev1.Pod, want *corev1.PodStatus) ([]byte, error) {
	have := &corev1.Pod{Status: object.Status}
	then := &corev1.Pod{Status: *want}
	then.UID = object.UID
	then.Status.QOSClass = have.Status.QOSClass
	for _, c := range have.Status.Conditions {
		if condition(want, c.Type) == nil {
			then.Status.Conditions = append(slices.Clip(then.Status.Conditions), c)
		}
	}
	before, err := json.Marshal(have)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(then)
	if err != nil {
		return nil, err
	}
	return strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
}

func (p *pod) send(object *corev1.Pod, patch []byte) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(p.power, writeLimit)
	defer cancel()
	writes := p.node.fleet.writes
	select {
	case writes <- struct{}{}:
		defer func() { <-writes }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	pods := p.node.fleet.client.CoreV1().Pods(object.Namespace)
	return pods.Patch(ctx, object.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
}

// overwritten says whether somebody else has changed what is the node's to say;
// the control plane does when it takes the node for lost.
func overwritten(have, want *corev1.PodStatus) bool {
	for _, c := range want.Conditions {
		if found := condition(have, c.Type); found == nil || found.Status != c.Status {
			return true
		}
	}
	return have.Phase != want.Phase
}

func condition(status *corev1.PodStatus, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range status.Conditions {
		if status.Conditions[i].Type == kind {
			return &status.Conditions[i]
		}
	}
	return nil
}

// status is what the pod's status ought to be. The caller holds p.mu.
func (p *pod) status() *corev1.PodStatus {
	s := &corev1.PodStatus{
		Phase:                 p.phase(),
		ObservedGeneration:    p.object.Generation,
		StartTime:             &p.begun,
		HostIP:                p.node.address.String(),
		PodIP:                 p.address.String(),
		InitContainerStatuses: statuses(p.inits),
		ContainerStatuses:     statuses(p.mains),
	}
	for _, ip := range p.ips(p.node.address) {
		s.HostIPs = append(s.HostIPs, corev1.HostIP{IP: ip.String()})
	}
	for _, ip := range p.ips(p.address) {
		s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: ip.String()})
	}
	containers := p.containersReady(s.Phase)
	s.Conditions = []corev1.PodCondition{
		p.condition(corev1.PodReadyToStartContainers, "", ""),
		p.condition(corev1.PodInitialized, p.notInitialized(), ""),
		p.condition(corev1.ContainersReady, containers.Reason, containers.Message),
		p.ready(containers),
	}
	return s
}

// condition is True without a reason, else False. It keeps the time of its last
// change.
func (p *pod) condition(kind corev1.PodConditionType, reason, message string) corev1.PodCondition {
	c := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message}
	c.ObservedGeneration = p.object.Generation
	if reason != "" {
		c.Status = corev1.ConditionFalse
	}
	c.LastTransitionTime = metav1.Now().Rfc3339Copy()
	for _, old := range []*corev1.PodStatus{p.written, &p.object.Status} {
		if old == nil {
			continue
		}
		if before := condition(old, kind); before != nil && before.Status == c.Status {
			c.LastTransitionTime = before.LastTransitionTime
			break
		}
	}
	return c
}

func (p *pod) notInitialized() string {
	if p.initialized || len(p.inits) == 0 {
		return ""
	}
	return "ContainersNotInitialized"
}

func (p *pod) containersReady(phase corev1.PodPhase) corev1.PodCondition {
	switch phase {
	case corev1.PodSucceeded:
		return p.condition(corev1.ContainersReady, "PodCompleted", "")
	case corev1.PodFailed:
		return p.condition(corev1.ContainersReady, "PodFailed", "")
	}
	var unready []string
	for _, c := range p.all() {
		if !c.ready && c.kind != initContainer {
			unready = append(unready, c.spec.Name)
		}
	}
	if len(unready) == 0 {
		return p.condition(corev1.ContainersReady, "", "")
	}
	message := fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
	return p.condition(corev1.ContainersReady, "ContainersNotReady", message)
}

// ready is the Ready condition: containers and all gates.
func (p *pod) ready(containers corev1.PodCondition) corev1.PodCondition {
	if containers.Status != corev1.ConditionTrue {
		return p.condition(corev1.PodReady, containers.Reason, containers.Message)
	}
	var closed []string
	for _, gate := range p.object.Spec.ReadinessGates {
		c := condition(&p.object.Status, gate.ConditionType)
		switch {
		case c == nil:
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case c.Status != corev1.ConditionTrue:
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, c.Status))
		}
	}
	if len(closed) == 0 {
		return p.condition(corev1.PodReady, "", "")
	}
	return p.condition(corev1.PodReady, "ReadinessGatesNotReady", strings.Join(closed, ", "))
}

func (p *pod) phase() corev1.PodPhase {
	if p.failed {
		return corev1.PodFailed
	}
	if p.over {
		return p.lastPhase()
	}
	for _, c := range p.mains {
		if c.state.Running != nil || c.state.Terminated != nil || c.restarts > 0 {
			return corev1.PodRunning
		}
	}
	return corev1.PodPending
}

func (p *pod) lastPhase() corev1.PodPhase {
	for _, c := range p.mains {
		if c.state.Terminated == nil || c.state.Terminated.ExitCode != 0 {
			return corev1.PodFailed
		}
	}
	return corev1.PodSucceeded
}

func statuses(containers []*container) (all []corev1.ContainerStatus) {
	for _, c := range containers {
		s := corev1.ContainerStatus{
			Name:                 c.spec.Name,
			Image:                c.spec.Image,
			State:                c.state,
			LastTerminationState: c.last,
			RestartCount:         c.restarts,
			Ready:                c.ready,
		}
		if c.process != nil {
			s.ImageID = "lab://" + app.Name(c.spec.Image)
			s.ContainerID = c.id()
		}
		started := c.started
		s.Started = &started
		all = append(all, s)
	}
	return all
}

// id of the container's current run.
func (c *container) id() string {
	return fmt.Sprintf("lab://%s/%s/%d", c.pod.uid, c.spec.Name, c.restarts)
}
