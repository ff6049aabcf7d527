package kube

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// rememberPods is how long a deleted pod is remembered: longer than any slice
	// takes to forget it.
	rememberPods = 10 * time.Minute
	// rememberServices is how long a deleted Service is remembered after it was last
	// asked for, as it is in every round of a group whose binding names it.
	rememberServices = 24 * time.Hour
)

// gone remembers what was seen to be deleted, as opposed to what is merely not
// in the cache. It is safe for concurrent use.
type gone struct {
	mu       sync.Mutex
	pods     memory[types.UID]
	services memory[types.NamespacedName]
}

func newGone() *gone {
	return &gone{
		pods:     memory[types.UID]{keep: rememberPods, since: map[types.UID]time.Time{}},
		services: memory[types.NamespacedName]{keep: rememberServices, since: map[types.NamespacedName]time.Time{}},
	}
}

// memory is what was noted within the time to keep it, and perhaps what was before.
type memory[K comparable] struct {
	keep  time.Duration
	since map[K]time.Time
	swept time.Time
}

func (m *memory[K]) note(key K, now time.Time) {
	m.since[key] = now
	if now.Sub(m.swept) < m.keep {
		return
	}
	m.swept = now
	maps.DeleteFunc(m.since, func(_ K, at time.Time) bool { return now.Sub(at) > m.keep })
}

func (m *memory[K]) has(key K) bool {
	_, noted := m.since[key]
	return noted
}

func (g *gone) pod(uid types.UID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pods.has(uid)
}

func (g *gone) service(name types.NamespacedName) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.services.has(name) {
		return false
	}
	g.services.note(name, time.Now())
	return true
}

// PodDeleted notes that a pod was seen to be deleted.
func (c *Cluster) PodDeleted(uid types.UID) {
	c.gone.mu.Lock()
	defer c.gone.mu.Unlock()
	c.gone.pods.note(uid, time.Now())
}

// ServiceDeleted notes that a Service was seen to be deleted.
func (c *Cluster) ServiceDeleted(name types.NamespacedName) {
	c.gone.mu.Lock()
	defer c.gone.mu.Unlock()
	c.gone.services.note(name, time.Now())
}

// ServiceExists notes that a Service is there (again).
func (c *Cluster) ServiceExists(name types.NamespacedName) {
	c.gone.mu.Lock()
	defer c.gone.mu.Unlock()
	delete(c.gone.services.since, name)
}
