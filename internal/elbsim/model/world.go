package model

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// World is ELBv2 of one account and region. Methods take the present moment,
// which never goes back: an earlier one counts as the latest seen. A World is
// not safe for concurrent use.
type World struct {
	config Config
	now    time.Time
	levels map[Class]level

	groups     map[string]*group // by ARN
	groupNames map[string]*group
	groupList  []*group // oldest first

	balancers    map[string]*balancer // by ARN
	balancerList []*balancer

	transitions timers
	checks      timers
	order       uint64 // numbers timers
	serial      uint64 // numbers everything that is made
	visible     []time.Time

	keepChanges bool
	changes     []Change // not yet taken
}

// New makes an empty World. It keeps the maps of config.
func New(config Config) *World {
	return &World{
		config:     config,
		levels:     map[Class]level{},
		groups:     map[string]*group{},
		groupNames: map[string]*group{},
		balancers:  map[string]*balancer{},
	}
}

// Config is how the World behaves now.
func (w *World) Config() Config { return w.config }

// Reconfigure changes how the World behaves from now on. What is under way, such
// as a target's draining, ends when it would have ended. The partition, region
// and account stay as they are.
func (w *World) Reconfigure(now time.Time, config Config) {
	w.advance(now)
	config.Partition, config.Region, config.Account = w.config.Partition, w.config.Region, w.config.Account
	w.config = config
}

// Next is the next moment after now at which something changes by itself or a
// check falls due; the zero time if there is none. Checks that are due already
// and were not collected by ChecksDue make it now.
func (w *World) Next(now time.Time) time.Time {
	w.advance(now)
	var next time.Time
	consider := func(at time.Time, waiting bool) {
		if waiting && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	consider(w.transitions.soonest())
	consider(w.checks.soonest())
	if len(w.visible) > 0 {
		consider(w.visible[0], true)
	}
	if !next.IsZero() && next.Before(w.now) {
		return w.now
	}
	return next
}

// advance carries out, in order, all that falls due up to now.
func (w *World) advance(now time.Time) {
	if now.Before(w.now) {
		now = w.now
	}
	for r := w.transitions.take(now); r != nil; r = w.transitions.take(now) {
		at := r.due
		r.due = time.Time{}
		w.fire(r, at)
	}
	w.now = now
	for len(w.visible) > 0 && !w.visible[0].After(now) {
		w.visible = w.visible[1:]
	}
}

// newID makes the 16 hexadecimal digits of an ARN. Equal histories give equal ids.
func (w *World) newID(kind, name string) string {
	w.serial++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%s/%s/%d", w.config.Region, w.config.Account, kind, name, w.serial))
	return hex.EncodeToString(sum[:8])
}

func (w *World) arn(resource string) string {
	return "arn:" + w.config.Partition + ":elasticloadbalancing:" + w.config.Region + ":" + w.config.Account + ":" + resource
}
