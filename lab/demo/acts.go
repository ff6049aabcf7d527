package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	labapp "github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
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
				" to end, and go on serving while the load balancer drains them.",
			Do:    roll,
			Until: settled,
		},
		{
			Name:      "Scaling up",
			Narration: "Two more pods.",
			Do:        func(ctx context.Context, s *Stage) (string, error) { return scale(ctx, s, replicas+2) },
			Until:     settled,
		},
		{
			Name:      "Scaling down",
			Narration: "Two pods fewer. Watch the targets: healthy, draining, gone.",
			Do:        func(ctx context.Context, s *Stage) (string, error) { return scale(ctx, s, replicas) },
			Until:     settled,
		},
		{
			Name: "A pod falls ill",
			Narration: "One pod fails its readiness probe but stays. Kubernetes takes three failed probes to believe" +
				" it; then the pod must get no more requests.",
			Do:    sicken,
			Until: settledWithoutVictim,
		},
		{
			Name:      "It recovers",
			Narration: "The probe passes again, and the pod returns to the target group.",
			Do:        heal,
			Until:     settled,
		},
		{
			Name: "A pod vanishes",
			Narration: "It is deleted by force: no SIGTERM, no grace, as when a node is lost. Nobody could be told" +
				" beforehand, but its target leaves at once, and another pod takes its place.",
			Do:    deleteByForce,
			Until: settled,
		},
	}
}

func roll(ctx context.Context, s *Stage) (string, error) {
	err := s.changeDeployment(ctx, func(d *appsv1.Deployment) {
		d.Spec.Template.Annotations = map[string]string{"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339Nano)}
	})
	return "kubectl rollout restart deployment/" + app, err
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
			s.Victim = pod.Name
			return pod, nil
		}
	}
	return nil, errors.New("no pod is ready")
}
