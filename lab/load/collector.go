package load

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// pageSize is how many requests of a run share one allocation.
	pageSize = 1 << 12
	// maxReaches is how many pods of one duplicate are named.
	maxReaches = 8
	// maxDuplicates of a run are described one by one.
	maxDuplicates = 1000
	// repeated marks a request that reached pods more than once.
	repeated = 1 << 31
)

// Duplicate is a request that reached pods more than once.
type Duplicate struct {
	ID string `json:"id"`
	// Pods that it reached, in order; the first 8. The same one may be there twice.
	Pods []string `json:"pods"`
}

// Duplicates of a run.
type Duplicates struct {
	// Reached is how many requests reached a pod at all.
	Reached int `json:"reached"`
	// Count is how many requests reached pods more than once.
	Count int `json:"count"`
	// First of them, at most 1000, in order of their discovery.
	First []Duplicate `json:"first,omitempty"`
}

// Collector is where servers report which request reached them. It takes 4 bytes
// for each request of a run. Make one with [NewCollector]; any number of
// goroutines may use it.
type Collector struct {
	mu      sync.Mutex
	pods    []string // a slot holds the index of the first pod, from 1
	numbers map[string]uint32
	runs    map[string]*reaches
}

// reaches of one run.
type reaches struct {
	pages      map[uint32]*[pageSize]uint32
	duplicates Duplicates
}

// NewCollector makes an empty one.
func NewCollector() *Collector {
	return &Collector{numbers: map[string]uint32{}, runs: map[string]*reaches{}}
}

// Reached says that a request has arrived at a pod. The pod should say so before
// it answers, so that the report is there when the answer is. Ids that are not of
// the form that this package gives to requests are ignored.
func (c *Collector) Reached(id, pod string) {
	run, n, ok := parseID(id)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.runs[run]
	if r == nil {
		r = &reaches{pages: map[uint32]*[pageSize]uint32{}}
		c.runs[run] = r
	}
	page := r.pages[n/pageSize]
	if page == nil {
		page = &[pageSize]uint32{}
		r.pages[n/pageSize] = page
	}
	slot := &page[n%pageSize]
	if *slot == 0 {
		*slot = c.number(pod)
		r.duplicates.Reached++
		return
	}
	c.again(r, slot, Duplicate{id, []string{pod}})
}

// again notes that a request of which a slot knows has reached another pod.
func (c *Collector) again(r *reaches, slot *uint32, d Duplicate) {
	if *slot&repeated == 0 {
		first := c.pods[*slot-1]
		*slot |= repeated
		r.duplicates.Count++
		if len(r.duplicates.First) < maxDuplicates {
			d.Pods = append([]string{first}, d.Pods...)
			r.duplicates.First = append(r.duplicates.First, d)
		}
		return
	}
	i := slices.IndexFunc(r.duplicates.First, func(known Duplicate) bool { return known.ID == d.ID })
	if i >= 0 && len(r.duplicates.First[i].Pods) < maxReaches {
		r.duplicates.First[i].Pods = append(r.duplicates.First[i].Pods, d.Pods...)
	}
}

// number of a pod, from 1.
func (c *Collector) number(pod string) uint32 {
	n, known := c.numbers[pod]
	if !known {
		c.pods = append(c.pods, pod)
		n = uint32(len(c.pods))
		c.numbers[pod] = n
	}
	return n
}

// Pod that a request reached first, if any.
func (c *Collector) Pod(id string) (string, bool) {
	run, n, ok := parseID(id)
	if !ok {
		return "", false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.runs[run]
	if r == nil || r.pages[n/pageSize] == nil {
		return "", false
	}
	slot := r.pages[n/pageSize][n%pageSize] &^ repeated
	if slot == 0 {
		return "", false
	}
	return c.pods[slot-1], true
}

// Duplicates of the run of that name, so far.
func (c *Collector) Duplicates(run string) Duplicates {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.runs[run]
	if r == nil {
		return Duplicates{}
	}
	found := r.duplicates
	found.First = slices.Clone(found.First)
	for i := range found.First {
		found.First[i].Pods = slices.Clone(found.First[i].Pods)
	}
	return found
}

// parseID takes an id apart: run-number.
func parseID(id string) (run string, n uint32, ok bool) {
	dash := strings.LastIndexByte(id, '-')
	if dash < 0 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(id[dash+1:], 10, 32)
	return id[:dash], uint32(number), err == nil
}
