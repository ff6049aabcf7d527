package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

// watch tells the narrator of everything that happens on the stage, until ctx
// ends. The function it gives returns when the watchers have ended.
func watch(ctx context.Context, s *Stage, n *narrator) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { n.run(ctx) })
	running.Go(func() { watchKubernetes(ctx, s, n) })
	running.Go(func() { watchCalls(ctx, s.Rig.Endpoint, n) })
	running.Go(func() { watchTargets(ctx, s, n) })
	running.Go(func() { watchRequests(ctx, s, n) })
	return func() {
		cancel()
		running.Wait()
	}
}

// watchKubernetes sees pods, nodes, the Deployment and the Events on the binding.
func watchKubernetes(ctx context.Context, s *Stage, n *narrator) {
	factory := informers.NewSharedInformerFactoryWithOptions(s.Rig.Client(), 0, informers.WithNamespace(namespace))
	handle := func(informer cache.SharedInformer, seen func(object any, gone bool)) {
		// It fails only for informers that have been stopped.
		_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { seen(object, false) },
			UpdateFunc: func(_, object any) { seen(object, false) },
			DeleteFunc: func(object any) { seen(object, true) },
		})
	}
	handle(factory.Core().V1().Pods().Informer(), func(object any, gone bool) {
		if unknown, lost := object.(cache.DeletedFinalStateUnknown); lost {
			object = unknown.Obj
		}
		if pod, is := object.(*corev1.Pod); is && pod.Labels["app"] == app {
			n.add(seePod(pod, gone))
		}
	})
	handle(factory.Events().V1().Events().Informer(), func(object any, gone bool) {
		if event, is := object.(*eventsv1.Event); is && !gone && event.Regarding.Kind == "TargetGroupBinding" {
			n.add(seeEvent(event))
		}
	})
	handle(factory.Core().V1().Nodes().Informer(), func(object any, gone bool) {
		if node, is := object.(*corev1.Node); is && !gone {
			n.add(nodeSeen{at: time.Now(), name: node.Name, zone: node.Labels[corev1.LabelTopologyZone], cordoned: node.Spec.Unschedulable})
		}
	})
	handle(factory.Apps().V1().Deployments().Informer(), func(object any, gone bool) {
		if d, is := object.(*appsv1.Deployment); is && !gone && d.Name == app {
			n.add(seeDeployment(d))
		}
	})
	factory.StartWithContext(ctx)
	<-ctx.Done()
	factory.Shutdown()
}

func seeEvent(event *eventsv1.Event) happening {
	seen := eventSeen{at: time.Now(), reason: event.Reason, note: event.Note, warning: event.Type == corev1.EventTypeWarning}
	if event.Series != nil {
		seen.times = int(event.Series.Count)
	}
	return seen
}

func seeDeployment(d *appsv1.Deployment) happening {
	return deploymentSeen{
		at: time.Now(), replicas: int(*d.Spec.Replicas), protected: d.Spec.Template.Spec.Containers[0].Lifecycle != nil,
	}
}

func seePod(pod *corev1.Pod, gone bool) happening {
	if gone {
		return podGone{at: time.Now(), name: pod.Name}
	}
	seen := podSeen{
		at: time.Now(), name: pod.Name, node: pod.Spec.NodeName, ip: pod.Status.PodIP,
		ready: ready(pod), leaving: pod.DeletionTimestamp != nil,
	}
	if grace := pod.DeletionGracePeriodSeconds; grace != nil {
		seen.grace = time.Duration(*grace) * time.Second
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			seen.notReadyBecause = c.Reason
		}
	}
	return seen
}

// watchCalls follows the simulator's call log, as anybody could with curl.
func watchCalls(ctx context.Context, endpoint string, n *narrator) {
	var next uint64
	for ctx.Err() == nil {
		list, err := fetchCalls(ctx, fmt.Sprintf("%s%s/calls?wait=10s&after=%d", endpoint, elbsim.AdminPath, next))
		if err != nil {
			rest(ctx, time.Second)
			continue
		}
		next = list.Next
		for _, call := range list.Calls {
			n.add(callSeen{call})
		}
	}
}

func fetchCalls(ctx context.Context, url string) (elbsim.CallList, error) {
	var list elbsim.CallList
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return list, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return list, err
	}
	defer response.Body.Close()
	return list, json.NewDecoder(response.Body).Decode(&list)
}

// watchTargets looks at the target group often enough for its states to be
// dated to the hundredth of a second.
func watchTargets(ctx context.Context, s *Stage, n *narrator) {
	var before []elbsim.TargetState
	for rest(ctx, 10*time.Millisecond) {
		now := s.targets()
		if !slices.Equal(before, now) {
			n.add(targetsSeen{at: time.Now(), targets: now})
			before = now
		}
	}
}

// watchRequests counts what becomes of the clients' requests, and reads from the
// load balancer's access log why some are lost.
func watchRequests(ctx context.Context, s *Stage, n *narrator) {
	var seen uint64
	for rest(ctx, 250*time.Millisecond) {
		result := s.requests()
		n.add(requestsSeen{at: time.Now(), answered: result.Answered, lost: result.Lost})
		entries := s.Rig.Sim.Traffic(seen)
		if len(entries) > 0 {
			seen = entries[len(entries)-1].Seq
		}
		for _, h := range lossesOf(entries, time.Now()) {
			n.add(h)
		}
	}
}
