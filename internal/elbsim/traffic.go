package elbsim

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/clock"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// traffic is the data plane and what keeps it in step with the models. Methods
// that say so may be called on nil, where there is no data plane.
type traffic struct {
	plane *dataplane.Plane
	wake  chan struct{}

	mu   sync.Mutex // held from reading the models until the plane has it
	anew bool       // guarded by Sim.mu
}

func newTraffic(options dataplane.Options, c clock.Clock) *traffic {
	return &traffic{plane: dataplane.New(options, c), wake: make(chan struct{}, 1)}
}

// nudge wakes carryTraffic. It may be called on nil.
func (t *traffic) nudge() {
	if t == nil {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// startAnew voids what the plane knows. It may be called on nil. Sim.mu is held.
func (t *traffic) startAnew() {
	if t != nil {
		t.anew = true
		t.nudge()
	}
}

// carryTraffic keeps the data plane in step until ctx ends, then closes it.
func (s *Sim) carryTraffic(ctx context.Context) {
	defer s.traffic.plane.Close()
	for ctx.Err() == nil {
		if err := s.updatePlane(); err != nil {
			slog.Warn("A listener cannot be opened", "error", err)
		}
		wait := time.Hour
		if next := s.traffic.plane.Advance(); !next.IsZero() {
			wait = s.clock.Until(next)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.traffic.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// updatePlane tells the plane all that changed in the models.
func (s *Sim) updatePlane() error {
	s.traffic.mu.Lock()
	defer s.traffic.mu.Unlock()
	return s.traffic.plane.Update(s.planeState())
}

// planeState is what the plane has to know now.
func (s *Sim) planeState() dataplane.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := dataplane.State{Anew: s.traffic.anew}
	s.traffic.anew = false
	now := s.clock.Now()
	for _, at := range s.scopes() {
		world := s.worlds[at]
		state.Changes = append(state.Changes, world.TakeChanges(now)...)
		state.Balancers = append(state.Balancers, planeBalancers(world, now)...)
	}
	return state
}

// planeBalancers lists the load balancers of one model with their listeners. What
// was just listed is there, so nothing about it can fail.
func planeBalancers(w *model.World, now time.Time) (balancers []dataplane.Balancer) {
	for _, view := range w.AllLoadBalancers(now) {
		b := dataplane.Balancer{ARN: view.ARN, Name: view.Name, DNSName: view.DNSName, Type: view.Type}
		for _, zone := range "abc" {
			b.Zones = append(b.Zones, w.Config().Region+string(zone))
		}
		listeners, _ := w.Listeners(now, view.ARN, nil)
		for _, l := range listeners {
			b.Listeners = append(b.Listeners, planeListener(w, now, l))
		}
		balancers = append(balancers, b)
	}
	return balancers
}

func planeListener(w *model.World, now time.Time, l model.ListenerView) dataplane.Listener {
	listener := dataplane.Listener{Port: l.Port, Protocol: l.Protocol}
	for _, arn := range l.Groups {
		views, _, _ := w.TargetGroups(now, model.GroupFilter{ARNs: []string{arn}})
		attributes, _ := w.GroupAttributes(now, arn)
		for _, view := range views {
			listener.Groups = append(listener.Groups, dataplane.Group{ARN: arn, Protocol: view.Protocol, Attributes: attributes})
		}
	}
	return listener
}

// errNoDataPlane is the answer where load balancers carry no traffic.
var errNoDataPlane = notFound{errors.New("there is no data plane: it is off")}

// CarriesTraffic tells whether there is a data plane.
func (s *Sim) CarriesTraffic() bool { return s.traffic != nil }

// LoadBalancers tells where each load balancer listens. All listeners that there
// should be are open when it returns; the error names those that could not be.
// Who calls it also calls Run, which closes them. Without a data plane it fails.
func (s *Sim) LoadBalancers() ([]dataplane.BalancerView, error) {
	if s.traffic == nil {
		return nil, errNoDataPlane
	}
	err := s.updatePlane()
	return s.traffic.plane.Balancers(), err
}

// Traffic lists what the data plane's access log keeps of the requests and flows
// that ended after seq, oldest first; nothing without a data plane.
func (s *Sim) Traffic(after uint64) []dataplane.Entry {
	if s.traffic == nil {
		return nil
	}
	return s.traffic.plane.Entries(after)
}

// TrafficCounts tells how many requests and flows ended in which way since the
// simulator was made; nothing without a data plane.
func (s *Sim) TrafficCounts() map[dataplane.CountKey]uint64 {
	if s.traffic == nil {
		return nil
	}
	return s.traffic.plane.Counts()
}

type balancerList struct {
	LoadBalancers []dataplane.BalancerView `json:"loadBalancers"`
}

func (s *Sim) adminLoadBalancers(*http.Request) (any, error) {
	views, err := s.LoadBalancers()
	return balancerList{views}, err
}

// TrafficList is a part of the access log. Next is what to ask for after to get
// what ended since.
type TrafficList struct {
	Entries []dataplane.Entry `json:"entries"`
	Next    uint64            `json:"next"`
}

func (s *Sim) adminTraffic(r *http.Request) (any, error) {
	after, err := number(r, "after")
	if err != nil {
		return nil, err
	}
	if s.traffic == nil {
		return nil, errNoDataPlane
	}
	list := TrafficList{Entries: s.Traffic(after), Next: after}
	if n := len(list.Entries); n > 0 {
		list.Next = list.Entries[n-1].Seq
	}
	return list, nil
}

// TrafficCount is how often something happened.
type TrafficCount struct {
	dataplane.CountKey
	Count uint64 `json:"count"`
}

type countList struct {
	Counts []TrafficCount `json:"counts"`
}

func (s *Sim) adminCounts(*http.Request) (any, error) {
	if s.traffic == nil {
		return nil, errNoDataPlane
	}
	list := countList{[]TrafficCount{}}
	for key, n := range s.TrafficCounts() {
		list.Counts = append(list.Counts, TrafficCount{CountKey: key, Count: n})
	}
	slices.SortFunc(list.Counts, func(a, b TrafficCount) int {
		return cmp.Or(cmp.Compare(a.LoadBalancer, b.LoadBalancer), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Target, b.Target),
			cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Status, b.Status))
	})
	return list, nil
}
