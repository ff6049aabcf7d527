package scenario

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/report"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// cluster is what a Kubernetes cluster knows of Services, bindings and pods. It is
// safe for concurrent use.
type cluster struct {
	mu       sync.Mutex
	blind    bool
	services map[string]desired.Service
	bindings map[string]binding
	pods     map[string]pod
}

type binding struct {
	desired.Binding
	service  string
	takeover plan.Takeover
	// at, if not empty, says that the binding chooses the pods by itself.
	at desired.RegisterAt
}

type pod struct {
	desired.Pod
	service string
	addr    netip.Addr
	port    uint16
	sleep   time.Duration
	broken  bool // answers the kubelet's probes, but not the load balancer's
	mute    bool // the controller cannot write to the pod
}

func newCluster() *cluster {
	return &cluster{services: map[string]desired.Service{}, bindings: map[string]binding{}, pods: map[string]pod{}}
}

// facts gathers what is known of all bindings; false if nothing can be read.
func (c *cluster) facts() (facts desired.Facts, policy plan.Policy, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	facts.Family, policy.Takeover = target.IPv4, plan.Confirmed
	for _, name := range slices.Sorted(maps.Keys(c.bindings)) {
		b := c.bindings[name]
		if b.at != "" {
			b.Selection = &desired.Selection{Selector: b.service, RegisterAt: b.at, Pods: c.selected(b.service)}
		} else {
			b.Service = c.services[b.service]
			b.Service.Name = b.service
			b.Slices = c.slices(b.service)
		}
		b.Gate, b.Gated = name, c.gated(name)
		facts.Bindings = append(facts.Bindings, b.Binding)
		if b.takeover != plan.Confirmed {
			policy.Takeover = plan.Guarded
		}
	}
	return facts, policy, !c.blind && len(c.bindings) > 0
}

// slices makes one slice of each pod of a Service, since each may serve on a port
// of its own.
func (c *cluster) slices(service string) []desired.Slice {
	var slices []desired.Slice
	for _, p := range c.pods {
		if p.service != service {
			continue
		}
		slice := desired.Slice{Endpoints: []desired.Endpoint{{
			Addr: p.addr, Ready: p.Ready && p.Deleted.IsZero(), Terminating: !p.Deleted.IsZero(), Pod: p.Pod,
		}}}
		for _, port := range c.services[service].Ports {
			slice.Ports = append(slice.Ports, desired.SlicePort{Name: port.Name, Number: p.port})
		}
		slices = append(slices, slice)
	}
	return slices
}

// selected are the pods that are said to be of a service. Their port is called http.
func (c *cluster) selected(service string) []desired.Selected {
	var pods []desired.Selected
	for _, p := range c.pods {
		if p.service == service {
			pods = append(pods, desired.Selected{
				Pod: p.Pod, Addrs: []netip.Addr{p.addr}, Ports: []desired.ContainerPort{{Name: "http", Number: p.port}},
			})
		}
	}
	return pods
}

// gated lists the pods that have a gate.
func (c *cluster) gated(gate string) []desired.Pod {
	var pods []desired.Pod
	for _, p := range c.pods {
		if slices.ContainsFunc(p.Gates, func(g desired.Gate) bool { return g.Type == gate }) {
			pods = append(pods, p.Pod)
		}
	}
	return pods
}

// answer writes what a gate should say, unless it says so already or was opened; false
// if nothing was written. The kubelet looks at once.
func (c *cluster) answer(gate report.Gate) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pods[gate.Pod.Name]
	i := slices.IndexFunc(p.Gates, func(g desired.Gate) bool { return g.Type == gate.Type })
	if p.UID != gate.Pod.UID || p.mute || i < 0 || p.Gates[i].Open || !gate.True && p.Gates[i].Reason == string(gate.Reason) {
		return false
	}
	p.Gates = slices.Clone(p.Gates)
	p.Gates[i] = desired.Gate{
		Type: gate.Type, Ours: true, Open: gate.True, Since: time.Now(), Reason: string(gate.Reason), Message: gate.Message,
	}
	p.recheck()
	c.pods[p.Name] = p
	return true
}

// expectGates checks that all gates of pods are open, or all closed.
func (c *cluster) expectGates(pods []string, open bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range pods {
		p, exists := c.pods[name]
		if !exists || len(p.Gates) == 0 {
			return fmt.Errorf("there is no pod %s with a gate", name)
		}
		for _, gate := range p.Gates {
			if gate.Open != open {
				return fmt.Errorf("gate %s of %s: open is %v, which was not expected", gate.Type, name, gate.Open)
			}
		}
	}
	return nil
}

// serves tells whether a pod answers the load balancer at an address.
func (c *cluster) serves(addr netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		if p.addr == addr && p.ContainersReady && !p.broken {
			return true
		}
	}
	return false
}

// ids names the bindings in order.
func (c *cluster) ids() []desired.BindingID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []desired.BindingID
	for _, name := range slices.Sorted(maps.Keys(c.bindings)) {
		ids = append(ids, c.bindings[name].ID)
	}
	return ids
}

func (c *cluster) deleting(id desired.BindingID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bindings[id.Name].Deleting
}

func (c *cluster) drop(id desired.BindingID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.bindings, id.Name)
}

// change changes pods by name.
func (c *cluster) change(names []string, change func(*pod)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		p, exists := c.pods[name]
		if !exists {
			return fmt.Errorf("there is no pod %s", name)
		}
		change(&p)
		c.pods[name] = p
	}
	return nil
}

// recheck makes a pod ready as a kubelet would: when its containers and gates are.
func (p *pod) recheck() {
	open := !slices.ContainsFunc(p.Gates, func(g desired.Gate) bool { return !g.Open })
	was := p.Ready
	p.Ready = p.ContainersReady && open
	if was && !p.Ready {
		p.NotReadySince = time.Now()
	}
	if p.ContainersReady && p.ReadySince.IsZero() {
		p.ReadySince = time.Now()
	}
}

func (p *pod) terminate() {
	p.Deleted = time.Now()
	if p.sleep > 0 {
		p.ServesUntil = p.Deleted.Add(p.sleep)
	}
}
