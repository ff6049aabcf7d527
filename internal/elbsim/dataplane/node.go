package dataplane

import (
	"fmt"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// node is one node of a load balancer: what it knows, and its connections.
type node struct {
	balancer string // name
	kind     model.BalancerType
	index    int
	zone     string
	seed     uint64
	profile  routing.Profile
	onNews   func(News) // may be nil
	closeLag time.Duration

	mu        sync.Mutex
	closed    bool
	routes    map[string]*route // by ARN of the group
	upstreams map[upstreamID]*upstream
}

// route is what a node knows of one group, and whose turn it is.
type route struct {
	group  Group
	policy routing.Policy
	table  *routing.Table
	turn   uint64
}

type upstreamID struct {
	group string
	key   target.Key
}

// name is what the node's delays depend on, besides the seed.
func (n *node) name() string { return fmt.Sprintf("%s/%d", n.balancer, n.index) }

// close cuts everything off, and lets nothing new begin.
func (n *node) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, u := range n.upstreams {
		u.cutAll(cutOff)
	}
}

// follow makes the node serve exactly these groups. Of those that are new to it,
// it is told what latest has.
func (n *node) follow(groups map[string]Group, latest map[string]map[target.Key]model.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for arn := range n.routes {
		if _, still := groups[arn]; !still {
			delete(n.routes, arn)
			n.cutGroup(arn)
		}
	}
	for arn, group := range groups {
		if r, exists := n.routes[arn]; exists {
			r.group, r.policy = group, group.policy()
			continue
		}
		table := routing.NewTable(n.seed, n.name(), n.zone, n.profile)
		for _, change := range latest[arn] {
			table.Tell(change)
		}
		turn := routing.Hash(fmt.Sprintf("%d/%s/%s", n.seed, n.name(), arn))
		n.routes[arn] = &route{group: group, policy: group.policy(), table: table, turn: turn}
	}
}

func (n *node) cutGroup(arn string) {
	for id, u := range n.upstreams {
		if id.group == arn {
			u.cutAll(cutOff)
			n.forget(id, u)
		}
	}
}

// tell puts changes on their way to the node.
func (n *node) tell(changes []model.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, change := range changes {
		if r, follows := n.routes[change.Group]; follows {
			r.table.Tell(change)
		}
	}
}

// advance lets the node learn and act on what has come through up to now, and
// tells when more does; the zero time if nothing is on its way.
func (n *node) advance(now time.Time) (next time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.routes {
		n.learn(r, now)
		if at := r.table.Next(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// learn acts on what the node learns of one group. n.mu is held.
func (n *node) learn(r *route, now time.Time) {
	for _, e := range r.table.Advance(now) {
		if n.onNews != nil {
			n.onNews(News{
				At: time.Now(), LoadBalancer: n.balancer, Node: n.index, Group: r.group.ARN, Target: e.Key.String(), State: e.State,
			})
		}
		id := upstreamID{group: r.group.ARN, key: e.Key}
		u, exists := n.upstreams[id]
		if !exists {
			continue
		}
		switch {
		case e.State == "" && r.group.cutsWhenGone(n.kind):
			u.cutAll(cutOff)
		case e.State == target.Unhealthy && r.group.cutsWhenUnhealthy(n.kind) && !r.table.FailsOpen(r.policy):
			u.cutAll(forgotten)
		case e.State == target.Draining || e.State == "":
			u.closeIdle()
		}
		n.forget(id, u)
	}
}

// forget lets go of an upstream that has nothing any more.
func (n *node) forget(id upstreamID, u *upstream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.outstanding == 0 && len(u.conns) == 0 {
		delete(n.upstreams, id)
	}
}

// flow is the hash that keeps a connection with its target; none is for requests,
// which go by turns or to the least busy target.
type flow struct {
	hash uint64
	is   bool
}

// pick chooses a target at now, or none. The caller gives it back by release.
func (n *node) pick(arn string, now time.Time, f flow) (*upstream, Group, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, follows := n.routes[arn]
	if n.closed || !follows {
		return nil, Group{}, false
	}
	n.learn(r, now)
	eligible := r.table.Eligible(r.policy)
	if len(eligible) == 0 {
		return nil, r.group, false
	}
	var chosen *upstream
	switch {
	case f.is:
		chosen = n.upstream(arn, eligible[f.hash%uint64(len(eligible))].Key)
	case r.group.leastOutstanding():
		chosen = n.leastBusy(r, eligible)
	default:
		chosen = n.upstream(arn, eligible[r.turn%uint64(len(eligible))].Key)
	}
	r.turn++
	chosen.outstanding++
	return chosen, r.group, true
}

// leastBusy is the target with the fewest requests under way; of several the one
// whose turn it is.
func (n *node) leastBusy(r *route, eligible []routing.Entry) *upstream {
	var best *upstream
	for i := range eligible {
		e := eligible[(r.turn+uint64(i))%uint64(len(eligible))]
		if u := n.upstream(r.group.ARN, e.Key); best == nil || u.outstanding < best.outstanding {
			best = u
		}
	}
	return best
}

func (n *node) upstream(arn string, key target.Key) *upstream {
	id := upstreamID{group: arn, key: key}
	u, exists := n.upstreams[id]
	if !exists {
		u = &upstream{group: arn, key: key, conns: map[*conn]struct{}{}, closeLag: n.closeLag}
		n.upstreams[id] = u
	}
	return u
}

// release gives back what pick chose.
func (n *node) release(u *upstream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	u.outstanding--
	id := upstreamID{group: u.group, key: u.key}
	if n.upstreams[id] == u && !n.sends(u) {
		u.closeIdle()
		n.forget(id, u)
	}
}

// sends tells whether the node may send anything new to u.
func (n *node) sends(u *upstream) bool {
	r, follows := n.routes[u.group]
	if !follows {
		return false
	}
	for _, e := range r.table.Eligible(r.policy) {
		if e.Key == u.key {
			return true
		}
	}
	return false
}
