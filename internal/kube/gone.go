package kube

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// rememberPods is how long a deleted pod is remembered: longer than any slice
// takes to forget it.
const rememberPods = 10 * time.Minute

// gone remembers what was seen to be deleted, as opposed to what is merely not
// in the cache. It is safe for concurrent use.
type gone struct {
	mu       sync.Mutex
	pods     map[types.UID]time.Time
	swept    time.Time
	services map[types.NamespacedName]bool
}

func newGone() *gone {
	return &gone{pods: map[types.UID]time.Time{}, services: map[types.NamespacedName]bool{}}
}

func (g *gone) pod(uid types.UID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, seen := g.pods[uid]
	return seen
}

func (g *gone) service(name types.NamespacedName) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.services[name]
}

// PodDeleted notes that a pod was seen to be deleted.
func (c *Cluster) PodDeleted(uid types.UID) {
	g, now := c.gone, time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pods[uid] = now
	if now.Sub(g.swept) < rememberPods {
		return
	}
	g.swept = now
	for old, at := range g.pods {
		if now.Sub(at) > rememberPods {
			delete(g.pods, old)
		}
	}
}

// ServiceDeleted notes that a Service was seen to be deleted.
func (c *Cluster) ServiceDeleted(name types.NamespacedName) {
	c.gone.mu.Lock()
	defer c.gone.mu.Unlock()
	c.gone.services[name] = true
}

// ServiceExists notes that a Service is there (again).
func (c *Cluster) ServiceExists(name types.NamespacedName) {
	c.gone.mu.Lock()
	defer c.gone.mu.Unlock()
	delete(c.gone.services, name)
}
