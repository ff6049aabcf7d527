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
	// leaving is when the pods that are being deleted began to be, by the monotonic
	// clock of this process.
	leaving map[types.UID]time.Time
}

func newGone() *gone {
	return &gone{
		pods:     memory[types.UID]{keep: rememberPods, since: map[types.UID]time.Time{}},
		services: memory[types.NamespacedName]{keep: rememberServices, since: map[types.NamespacedName]time.Time{}},
		leaving:  map[types.UID]time.Time{},
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

// deletion is when the deletion of a pod was asked for, of which the API server tells by
// its clock. It is read once, when it is news: what the two clocks do from then on makes
// no difference.
func (g *gone) deletion(uid types.UID, told time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at, known := g.leaving[uid]; known {
		return at
	}
	now := time.Now()
	at := now.Add(-max(0, now.Sub(told)))
	if !g.pods.has(uid) { // whoever asks was not told yet that it is gone
		g.leaving[uid] = at
	}
	return at
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
	delete(c.gone.leaving, uid)
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
