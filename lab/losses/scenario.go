package losses

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/load"
)

// Scenario is what ends pods. Zero fields stand for what most have: one target group,
// one replica of tgc, the requests of the profile, nodes that are shared.
type Scenario struct {
	Name, About string
	// Replicas at first.
	Replicas int32
	// Surge is how many more pods there may be during an update.
	Surge intstr.IntOrString
	// Claims are what must come of it with the strategies of these names, where that
	// does not follow from how late deregistrations are.
	Claims map[string]Claim
	// Late is how late it makes deregistrations by itself, in real time.
	Late time.Duration
	// Punctual: nothing is deregistered that could be late.
	Punctual bool
	// Groups is how many target groups hold the pods, each behind a load balancer of
	// its own.
	Groups int
	// Controllers is how many replicas of tgc there are. More than one have a Lease
	// of the shortest duration.
	Controllers int
	// Nodes is how many nodes it has to itself.
	Nodes int
	// StartsIn is how long a pod takes to start, in the load balancer's time.
	StartsIn time.Duration
	// Probed: the pods have a liveness probe.
	Probed bool
	// Crashes: the sidecars of pods that leave are killed.
	Crashes bool
	// traffic is what is sent.
	traffic func(Profile, float64) Traffic
	// furnish makes more objects. May be nil.
	furnish func(*stage) []client.Object
	// act does it, and gives how many pods it tells to end. It is followed by the wait
	// for calm.
	act func(context.Context, *stage) (int, error)
}

// Traffic is what is sent.
type Traffic struct {
	Mix load.Mix
	// Answer is how long a request takes, Long those of the kind [load.Long].
	Answer, Long time.Duration
}

// Scenarios are all there are.
func Scenarios() []Scenario {
	one, all := intstr.FromInt32(1), intstr.FromString("100%")
	return []Scenario{
		{
			Name: "rolling-update", About: "every pod of a Deployment is replaced, one more at a time",
			Replicas: 4, Surge: one, act: rollingUpdate,
		},
		{
			Name: "surge-all", About: "every pod of a Deployment is replaced, all at a time",
			Replicas: 4, Surge: all, act: rollingUpdate,
		},
		{
			Name: "scale-down", About: "ten pods become two at once",
			Replicas: 10, Surge: one, act: func(ctx context.Context, s *stage) (int, error) { return 8, s.scale(ctx, 2) },
		},
		{
			Name: "scale-to-zero", About: "all pods go, and come back. While none is wanted an answer 503 is no loss",
			Replicas: 3, Surge: one, act: toZeroAndBack,
		},
		{
			Name: "node-drain", About: "a node is drained, as far as a PodDisruptionBudget of one pod lets it",
			Replicas: 4, Surge: one, Nodes: 2, furnish: budget, act: drainNode,
		},
		{
			Name: "single-eviction", About: "the only pod is evicted, and the next takes 40 s to start",
			Replicas: 1, Surge: one, StartsIn: 40 * time.Second, act: evict,
			// Nothing makes the load balancer wait for the next pod. It may be fast
			// enough, and the last node slow enough.
			Claims: map[string]Claim{"plain-sleep": Anything},
		},
		{
			Name: "new-leader", About: "the leading tgc is killed amid a rolling update, and another takes over",
			Replicas: 4, Surge: one, Controllers: 2, Late: leaderTakes, act: killLeader,
		},
		{
			Name: "long-requests", About: "a rolling update under requests as long as the deregistration delay allows",
			Replicas: 4, Surge: one, traffic: longest, act: rollingUpdate,
		},
		{
			Name: "persistent", About: "a rolling update under clients that keep their connections",
			Replicas: 4, Surge: one, traffic: persistent, act: rollingUpdate,
		},
		{
			Name: "two-groups", About: "a rolling update of pods that two target groups hold, behind two load balancers",
			Replicas: 4, Surge: one, Groups: 2, act: rollingUpdate,
		},
		{
			Name: "sidecar-crash", About: "a rolling update in which each sidecar is killed as soon as it has deregistered its pod",
			Replicas: 4, Surge: one, Crashes: true, act: crashSidecars,
			// Its pods stop while load balancers may have learned already.
			Claims: map[string]Claim{"sidecar-httpget": Anything},
		},
		{
			Name: "restart-storm", About: "every container is restarted by its liveness probe, one after the other; no pod ends",
			Replicas: 3, Surge: one, Probed: true, Punctual: true, act: restartAll,
			// A container that restarts serves nobody, whoever protects its pod. No
			// more than that may be lost, and no hook may delay it.
			Claims: map[string]Claim{"none": Anything, "gate": Anything, "plain-sleep": Anything, "sleep": Anything, "hold": Anything},
		},
	}
}

// rollingUpdate does what kubectl rollout restart does.
func rollingUpdate(ctx context.Context, s *stage) (int, error) {
	deployment := s.deployment()
	before := client.MergeFrom(deployment.DeepCopy())
	deployment.Spec.Template.Annotations = map[string]string{
		"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339),
	}
	return int(s.replicas), s.rig.API.Patch(ctx, deployment, before)
}

// scale does what kubectl scale does.
func (s *stage) scale(ctx context.Context, replicas int32) error {
	deployment := s.deployment()
	before := client.MergeFrom(deployment.DeepCopy())
	deployment.Spec.Replicas = &replicas
	s.replicas = replicas
	return s.rig.API.Patch(ctx, deployment, before)
}

func toZeroAndBack(ctx context.Context, s *stage) (int, error) {
	replicas := s.replicas
	s.unwanted.from = time.Now()
	if err := s.scale(ctx, 0); err != nil {
		return 0, err
	}
	if err := s.await(ctx, "until no pod is left", s.calm); err != nil {
		return 0, err
	}
	if err := s.scale(ctx, replicas); err != nil {
		return 0, err
	}
	err := s.await(ctx, "until all pods are available again", s.rolledOut)
	s.unwanted.until = time.Now()
	return int(replicas), err
}

// budget lets one pod at a time be evicted.
func budget(s *stage) []client.Object {
	one := intstr.FromInt32(1)
	return []client.Object{&policyv1.PodDisruptionBudget{
		ObjectMeta: s.objectMeta(),
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: labels()}},
	}}
}

// drainNode drains the node that has more of the pods.
func drainNode(ctx context.Context, s *stage) (int, error) {
	pods, err := s.list(ctx)
	if err != nil {
		return 0, err
	}
	counts := map[string]int{}
	busiest := s.own[0]
	for i := range pods {
		on := pods[i].Spec.NodeName
		if counts[on]++; counts[on] > counts[busiest] {
			busiest = on
		}
	}
	limited, cancel := context.WithTimeout(ctx, s.patience())
	defer cancel()
	return counts[busiest], s.rig.Node(busiest).Drain(limited)
}

// evict evicts the first pod.
func evict(ctx context.Context, s *stage) (int, error) {
	pods, err := s.list(ctx)
	if err != nil {
		return 0, err
	}
	return 1, s.rig.Client().CoreV1().Pods(s.namespace).EvictV1(ctx, &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: pods[0].Name},
	})
}

// killLeader kills the tgc that was first when half of the pods have been told to end.
func killLeader(ctx context.Context, s *stage) (int, error) {
	ends, err := rollingUpdate(ctx, s)
	if err != nil {
		return 0, err
	}
	err = s.await(ctx, "until half of the pods have been told to end", func(context.Context) error {
		if told := len(s.ledger.leavers()); told < ends/2 {
			return fmt.Errorf("%d of %d pods", told, ends)
		}
		return nil
	})
	if err == nil {
		s.controllers[0].fell()
	}
	return ends, err
}

// restartAll makes the liveness probe of each pod fail until its container is
// restarted.
func restartAll(ctx context.Context, s *stage) (int, error) {
	pods, err := s.list(ctx)
	if err != nil {
		return 0, err
	}
	for i := range pods {
		before := s.ledger.runs(pods[i].Name)
		s.ledger.note(pods[i].Name, func(p *life) { p.ill = time.Now() })
		if err := s.sicken(ctx, &pods[i]); err != nil {
			return 0, err
		}
		restarted := func(ctx context.Context) error {
			if n := s.ledger.runs(pods[i].Name); n <= before {
				return fmt.Errorf("the container of %s was not restarted yet", pods[i].Name)
			}
			return s.calm(ctx)
		}
		if err := s.await(ctx, "until a container was restarted", restarted); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// sicken makes the liveness probe of a pod fail.
func (s *stage) sicken(ctx context.Context, pod *corev1.Pod) error {
	url := fmt.Sprintf("http://%s:%d/lab/live?to=false", pod.Status.PodIP, s.Profile.LivePort)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	response, err := s.venue.pods.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("make the liveness probe of %s fail: %w", pod.Name, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(response.Body) // what there is
		return fmt.Errorf("make the liveness probe of %s fail: %s: %s", pod.Name, response.Status, said)
	}
	return nil
}

// longest requests that are over when the deregistration delay is, even if the last
// node to learn of the deregistration sends them. A little is left for the machine.
func longest(p Profile, speed float64) Traffic {
	t := p.traffic()
	t.Long = p.longest(speed)
	if p.Protocol == "TCP" {
		t.Answer = t.Long // all are of one kind
		return t
	}
	t.Mix = load.Mix{load.Long: 90, load.KeepAlive: 10}
	return t
}

// persistent clients keep their connections for as long as the other side lets them.
// Answers take longer, so that there are many connections.
func persistent(p Profile, _ float64) Traffic {
	t := p.traffic()
	t.Answer = 2 * longRequest
	t.Mix = load.Mix{load.KeepAlive: 1}
	if p.Protocol == "TCP" {
		t.Mix = load.Mix{load.Flow: 1}
	}
	return t
}
