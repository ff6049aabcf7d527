package demo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	labapp "github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
)

// Action is something that can be done to the world: by an act of the tour, or by
// a person with a button of the page.
type Action func(ctx context.Context, s *Stage, value string) (command string, err error)

// actions by their names in the page's forms. The value is what the form's field
// says, if it has one. The command is how a person would do the same.
func actions() map[string]Action {
	return map[string]Action{
		"roll":      func(ctx context.Context, s *Stage, _ string) (string, error) { return roll(ctx, s) },
		"scale":     scaleTo,
		"drain":     drain,
		"uncordon":  uncordon,
		"kill":      func(_ context.Context, s *Stage, _ string) (string, error) { return killController(s) },
		"throttle":  func(_ context.Context, s *Stage, _ string) (string, error) { return throttle(s) },
		"release":   func(_ context.Context, s *Stage, _ string) (string, error) { return release(s) },
		"break":     func(ctx context.Context, s *Stage, _ string) (string, error) { return sicken(ctx, s) },
		"heal":      func(ctx context.Context, s *Stage, _ string) (string, error) { return heal(ctx, s) },
		"vanish":    func(ctx context.Context, s *Stage, _ string) (string, error) { return deleteByForce(ctx, s) },
		"protect":   func(ctx context.Context, s *Stage, _ string) (string, error) { return protect(ctx, s, true) },
		"unprotect": func(ctx context.Context, s *Stage, _ string) (string, error) { return protect(ctx, s, false) },
	}
}

func roll(ctx context.Context, s *Stage) (string, error) {
	err := s.changeDeployment(ctx, func(d *appsv1.Deployment) {
		d.Spec.Template.Annotations = map[string]string{"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339Nano)}
	})
	return "kubectl rollout restart deployment/" + app, err
}

// protect gives new pods a preStop sleep that is longer than the load balancer
// takes to learn of a deregistration, or none. The pods that leave for it are of
// the former kind.
func protect(ctx context.Context, s *Stage, on bool) (string, error) {
	command := fmt.Sprintf("kubectl edit deployment/%s   # take lifecycle.preStop away", app)
	if on {
		command = fmt.Sprintf("kubectl edit deployment/%s   # lifecycle: {preStop: {sleep: {seconds: %.0f}}}", app, preStopSleep.Seconds())
	}
	return command, s.changeDeployment(ctx, func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Lifecycle = lifecycle(on)
	})
}

func scaleTo(ctx context.Context, s *Stage, value string) (string, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > maxReplicas {
		return "", fmt.Errorf("replicas %q: want a whole number from 0 to %d", value, maxReplicas)
	}
	return scale(ctx, s, int32(n))
}

func scale(ctx context.Context, s *Stage, to int32) (string, error) {
	err := s.changeDeployment(ctx, func(d *appsv1.Deployment) { d.Spec.Replicas = &to })
	return fmt.Sprintf("kubectl scale deployment/%s --replicas=%d", app, to), err
}

// changeDeployment changes what change touches and leaves the rest alone, since
// a person may be changing it as well.
func (s *Stage) changeDeployment(ctx context.Context, change func(*appsv1.Deployment)) error {
	var d appsv1.Deployment
	if err := s.Rig.API.Get(ctx, objectKey(), &d); err != nil {
		return err
	}
	before := d.DeepCopy()
	change(&d)
	return s.Rig.API.Patch(ctx, &d, client.MergeFrom(before))
}

func killController(s *Stage) (string, error) {
	if !s.controller.Kill() {
		return "", errors.New("tgc controller is not running: it starts again in a moment")
	}
	return "kill -9 $(pidof tgc)", nil
}

// throttle makes AWS refuse every call, as if another program had used up the
// account's budget.
func throttle(s *Stage) (string, error) {
	_, err := release(s)
	if err == nil {
		_, err = s.Rig.Sim.AddFault(elbsim.Fault{Kind: elbsim.FaultThrottle})
	}
	return fmt.Sprintf(`curl -d '{"kind":"throttle"}' %s%s/faults`, s.Rig.Endpoint, elbsim.AdminPath), err
}

func release(s *Stage) (string, error) {
	s.Rig.Sim.ClearFaults()
	return fmt.Sprintf("curl -X DELETE %s%s/faults", s.Rig.Endpoint, elbsim.AdminPath), nil
}

func sicken(ctx context.Context, s *Stage) (string, error) {
	pod, err := s.pickVictim(ctx)
	if err != nil {
		return "", err
	}
	before := pod.DeepCopy()
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, labapp.ReadyAnnotation, "false")
	return fmt.Sprintf("kubectl annotate pod %s %s=false", pod.Name, labapp.ReadyAnnotation),
		s.Rig.API.Patch(ctx, pod, client.MergeFrom(before))
}

// heal takes the annotation from all pods that have it: in a play that somebody
// disturbed there may be more than one, or none.
func heal(ctx context.Context, s *Stage) (string, error) {
	pods, err := s.pods(ctx)
	if err != nil {
		return "", err
	}
	for i := range pods {
		pod := &pods[i]
		if _, ill := pod.Annotations[labapp.ReadyAnnotation]; ill {
			before := pod.DeepCopy()
			delete(pod.Annotations, labapp.ReadyAnnotation)
			err = errors.Join(err, client.IgnoreNotFound(s.Rig.API.Patch(ctx, pod, client.MergeFrom(before))))
		}
	}
	return fmt.Sprintf("kubectl annotate pods --all %s-", labapp.ReadyAnnotation), err
}

func deleteByForce(ctx context.Context, s *Stage) (string, error) {
	pod, err := s.pickVictim(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("kubectl delete pod %s --grace-period=0 --force", pod.Name),
		s.Rig.API.Delete(ctx, pod, client.GracePeriodSeconds(0))
}

// pickVictim takes the first ready pod.
func (s *Stage) pickVictim(ctx context.Context) (*corev1.Pod, error) {
	pods, err := s.pods(ctx)
	if err != nil {
		return nil, err
	}
	for i := range pods {
		if pod := &pods[i]; pod.DeletionTimestamp == nil && ready(pod) {
			s.setVictim(pod.Name)
			return pod, nil
		}
	}
	return nil, errors.New("no pod is ready")
}
