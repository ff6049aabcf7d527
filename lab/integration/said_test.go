package integration

import (
	"context"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

// said is what the conditions of all pods say and have said. Pods that leave say things
// for seconds only, and are gone then: a test that looks now and then could miss them.
var said conditions

// conditions are the values that PodDeregistered took, by pod, oldest first.
type conditions struct {
	mu  sync.Mutex
	all map[types.UID][]corev1.PodCondition
}

// follow keeps what is said from now on.
func (s *conditions) follow(ctx context.Context) error {
	s.all = map[types.UID][]corev1.PodCondition{}
	factory := informers.NewSharedInformerFactory(shared.World.Client(), 0)
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(now any) { s.note(now.(*corev1.Pod)) },
		UpdateFunc: func(_, now any) { s.note(now.(*corev1.Pod)) },
	})
	factory.Start(ctx.Done())
	return err
}

func (s *conditions) note(pod *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := podCondition(pod, v1beta1.PodDeregistered)
	if before := s.all[pod.UID]; c.Status != "" && (len(before) == 0 || before[len(before)-1] != c) {
		s.all[pod.UID] = append(before, c)
	}
}

// of gives what a pod has said.
func (s *conditions) of(pod *corev1.Pod) []corev1.PodCondition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all[pod.UID])
}
