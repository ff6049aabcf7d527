package model

import (
	"container/heap"
	"time"
)

// timer is a moment at which something happens to a record. It is stale, and
// then ignored, when the record waits for another moment by now.
type timer struct {
	at     time.Time
	order  uint64 // of equal moments, the one set first comes first
	record *record
}

func (t timer) stale() bool { return !t.record.due.Equal(t.at) || t.record.dueOrder != t.order }

// timers is a heap of timers, soonest first.
type timers []timer

func (t timers) Len() int { return len(t) }

func (t timers) Less(i, j int) bool {
	if t[i].at.Equal(t[j].at) {
		return t[i].order < t[j].order
	}
	return t[i].at.Before(t[j].at)
}

func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i] }

// Push is for container/heap.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop is for container/heap.
func (t *timers) Pop() any {
	last := len(*t) - 1
	popped := (*t)[last]
	(*t)[last] = timer{}
	*t = (*t)[:last]
	return popped
}

// set makes at the moment that r waits for, in place of any other.
func (t *timers) set(w *World, r *record, at time.Time) {
	w.order++
	r.due, r.dueOrder = at, w.order
	heap.Push(t, timer{at: at, order: w.order, record: r})
}

// take removes and returns the soonest record that is due at now, or nil.
func (t *timers) take(now time.Time) *record {
	soonest, waiting := t.soonest()
	if !waiting || soonest.After(now) {
		return nil
	}
	return heap.Pop(t).(timer).record
}

// soonest is the soonest moment waited for. Stale timers are dropped on the way.
func (t *timers) soonest() (time.Time, bool) {
	for len(*t) > 0 && (*t)[0].stale() {
		heap.Pop(t)
	}
	if len(*t) == 0 {
		return time.Time{}, false
	}
	return (*t)[0].at, true
}
