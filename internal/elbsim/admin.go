package elbsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/web"
)

// AdminHandler serves the simulator's own API, JSON over HTTP, and at its root a
// page for people; docs/simulator.md describes both. It needs no credentials, so it
// belongs on loopback. What a browser sends from another site's page is refused, also
// if that site's name has been made to point here.
func (s *Sim) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { answerJSON(w, r, h) })
	}
	handle("GET /calls", s.adminCalls)
	handle("DELETE /calls", func(*http.Request) (any, error) { s.ClearCalls(); return nil, nil })
	handle("GET /faults", func(*http.Request) (any, error) { return faultList{s.Faults()}, nil })
	handle("POST /faults", s.adminAddFault)
	handle("DELETE /faults", func(*http.Request) (any, error) { s.ClearFaults(); return nil, nil })
	handle("DELETE /faults/{id}", s.adminRemoveFault)
	handle("GET /settings", func(*http.Request) (any, error) { return s.Settings(), nil })
	handle("PATCH /settings", s.adminConfigure)
	handle("PUT /settings", s.adminReplace)
	handle("GET /groups", s.adminGroups)
	handle("POST /groups", s.adminPlant)
	handle("DELETE /groups", s.adminVanish)
	handle("PUT /health", s.adminOverride)
	handle("GET /loadbalancers", s.adminLoadBalancers)
	handle("POST /loadbalancers", s.adminPlantBalancer)
	handle("GET /traffic", s.adminTraffic)
	handle("GET /traffic/counts", s.adminCounts)
	handle("GET /budget", func(*http.Request) (any, error) { return budgetList{s.Budgets()}, nil })
	handle("POST /reset", func(*http.Request) (any, error) { return nil, s.Reset() })
	page := s.page()
	for _, pattern := range []string{"GET /{$}", "GET /events", "GET /style.css", "GET /live.js", "POST /do/"} {
		mux.Handle(pattern, page)
	}
	return http.NewCrossOriginProtection().Handler(fromOwnHost(mux))
}

// fromOwnHost holds what pages send to the names that are ours. Browsers say with
// an Origin where a request that may change something comes from; programs do not,
// and may call the simulator by any name, such as that of a container.
func fromOwnHost(next http.Handler) http.Handler {
	guarded := web.OwnHost(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" {
			guarded.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// notFound is an admin error that is answered with 404.
type notFound struct{ error }

// answerJSON runs h and writes its answer, 204 where there is none to write.
func answerJSON(w http.ResponseWriter, r *http.Request, h func(*http.Request) (any, error)) {
	answer, err := h(r)
	status := http.StatusOK
	if err != nil {
		status, answer = http.StatusBadRequest, map[string]string{"error": err.Error()}
	}
	if _, is := errors.AsType[notFound](err); is {
		status = http.StatusNotFound
	}
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func readJSON(r *http.Request, into any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	return decodeStrict(body, into)
}

// CallList is a part of the log. Next is what to ask for after to get what
// changed since.
type CallList struct {
	Calls []Call `json:"calls"`
	Next  uint64 `json:"next"`
}

// adminCalls answers at once with what changed since ?after=, or with ?wait=
// holds the request until something does.
func (s *Sim) adminCalls(r *http.Request) (any, error) {
	after, wait, err := afterAndWait(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	calls, next := s.log.await(ctx, after)
	answer := CallList{Calls: []Call{}, Next: next}
	for _, call := range calls {
		if selected(r, "action", call.Action) && selected(r, "group", call.Group) && selected(r, "code", call.Code) {
			answer.Calls = append(answer.Calls, call)
		}
	}
	return answer, nil
}

// afterAndWait reads which change a client knows, and how long it would wait for
// the next.
func afterAndWait(r *http.Request) (after uint64, wait time.Duration, err error) {
	if after, err = number(r, "after"); err != nil {
		return 0, 0, err
	}
	wait, err = time.ParseDuration(defaulted(r.FormValue("wait"), "0s"))
	if err != nil {
		return 0, 0, fmt.Errorf("wait: %w", err)
	}
	return after, min(wait, time.Minute), nil
}

func number(r *http.Request, name string) (uint64, error) {
	n, err := strconv.ParseUint(defaulted(r.FormValue(name), "0"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}

func defaulted(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func selected(r *http.Request, name, value string) bool {
	wanted := r.FormValue(name)
	return wanted == "" || wanted == value
}

type faultList struct {
	Faults []Fault `json:"faults"`
}

func (s *Sim) adminAddFault(r *http.Request) (any, error) {
	var f Fault
	if err := readJSON(r, &f); err != nil {
		return nil, err
	}
	return s.AddFault(f)
}

func (s *Sim) adminRemoveFault(r *http.Request) (any, error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || !s.RemoveFault(id) {
		return nil, notFound{fmt.Errorf("there is no fault %q", r.PathValue("id"))}
	}
	return nil, nil
}

// adminConfigure puts what the body says over the present settings.
func (s *Sim) adminConfigure(r *http.Request) (any, error) {
	var patch json.RawMessage
	if err := readJSON(r, &patch); err != nil {
		return nil, err
	}
	merged, err := s.Settings().merged(patch)
	if err != nil {
		return nil, err
	}
	return merged, s.Configure(merged)
}

// adminReplace puts settings in the place of all present ones.
func (s *Sim) adminReplace(r *http.Request) (any, error) {
	var settings Settings
	if err := readJSON(r, &settings); err != nil {
		return nil, err
	}
	return settings, s.Configure(settings)
}

// GroupState is a target group with all its targets.
type GroupState struct {
	Account       string            `json:"account"`
	Region        string            `json:"region"`
	ARN           string            `json:"arn"`
	Name          string            `json:"name"`
	Type          target.Type       `json:"type"`
	Protocol      string            `json:"protocol"`
	Port          uint16            `json:"port"`
	LoadBalancers []string          `json:"loadBalancers"`
	Attributes    map[string]string `json:"attributes"`
	Tags          map[string]string `json:"tags"`
	Targets       []TargetState     `json:"targets"`
}

// TargetState is one target, as the answers about target health show it.
type TargetState struct {
	Target      string       `json:"target"` // address:port
	Zone        string       `json:"zone,omitempty"`
	State       target.State `json:"state"`
	Reason      string       `json:"reason,omitempty"`
	Description string       `json:"description,omitempty"`
	// Since is when the state began, by the simulator's clock.
	Since time.Time `json:"since"`
	// Forced tells that an override decides, and not the health checks.
	Forced bool `json:"forced,omitempty"`
}

// groupList is what GET /groups answers. Next is what to ask for after to wait for
// a change.
type groupList struct {
	Now    time.Time    `json:"now"` // by the simulator's clock
	Groups []GroupState `json:"groups"`
	Next   uint64       `json:"next"`
}

// adminGroups answers at once, or with ?after= and ?wait= once something may have
// changed.
func (s *Sim) adminGroups(r *http.Request) (any, error) {
	after, wait, err := afterAndWait(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	s.awaitChange(ctx, after)
	s.mu.Lock()
	defer s.mu.Unlock()
	return groupList{Now: s.Now(), Groups: s.groups(), Next: s.change}, nil
}

// Groups tells of every group of every account and region.
func (s *Sim) Groups() []GroupState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups()
}

// groups is Groups while s.mu is held.
func (s *Sim) groups() []GroupState {
	states, now := []GroupState{}, s.clock.Now()
	for _, at := range s.scopes() {
		world := s.worlds[at]
		for _, view := range world.AllTargetGroups(now) {
			states = append(states, groupState(world, now, at, view))
		}
	}
	return states
}

// groupState tells of one group. The group was just listed, so nothing about it
// can be missing.
func groupState(w *model.World, now time.Time, at scope, view model.GroupView) GroupState {
	arn := view.ARN.String()
	attributes, _ := w.GroupAttributes(now, arn)
	tags, _ := w.Tags(now, []string{arn})
	views, _ := w.Targets(now, arn)
	state := GroupState{
		Account: at.account, Region: at.region, ARN: arn, Name: view.ARN.Name,
		Type: view.Type, Protocol: view.Protocol, Port: view.Port, LoadBalancers: append([]string{}, view.LoadBalancers...),
		Attributes: attributes, Tags: tags[0], Targets: []TargetState{},
	}
	for _, v := range views {
		state.Targets = append(state.Targets, TargetState{
			Target: v.Key.String(), Zone: v.Zone, State: v.Health.State, Reason: v.Health.Reason, Description: v.Health.Description,
			Since: v.Since, Forced: v.Forced,
		})
	}
	return state
}

// ScopeBudget is what one account and region may still call. Without throttling
// there are no buckets.
type ScopeBudget struct {
	Account string         `json:"account"`
	Region  string         `json:"region"`
	Buckets []model.Budget `json:"buckets"`
}

type budgetList struct {
	Budgets []ScopeBudget `json:"budgets"`
}

// Budgets tells how many calls of each class every account and region in use may
// still make. To ask costs none.
func (s *Sim) Budgets() []ScopeBudget {
	s.mu.Lock()
	defer s.mu.Unlock()
	budgets, now := []ScopeBudget{}, s.clock.Now()
	for _, at := range s.scopes() {
		budgets = append(budgets, ScopeBudget{Account: at.account, Region: at.region, Buckets: s.worlds[at].Budgets(now)})
	}
	return budgets
}

func (s *Sim) adminPlant(r *http.Request) (any, error) {
	var seed SeedGroup
	if err := readJSON(r, &seed); err != nil {
		return nil, err
	}
	arn, err := s.PlantGroup(seed)
	return map[string]string{"arn": arn.String()}, err
}

func (s *Sim) adminPlantBalancer(r *http.Request) (any, error) {
	var seed SeedBalancer
	if err := readJSON(r, &seed); err != nil {
		return nil, err
	}
	arn, err := s.PlantBalancer(seed)
	return map[string]string{"arn": arn}, err
}

func (s *Sim) adminVanish(r *http.Request) (any, error) {
	arn, err := target.ParseARN(r.FormValue("arn"))
	if err != nil {
		return nil, err
	}
	return nil, s.VanishGroup(arn)
}

// VanishGroup deletes a group with its targets, whether or not it is in use, as
// if somebody else had.
func (s *Sim) VanishGroup(arn target.ARN) error {
	return s.With(arn.Account, arn.Region, func(w *model.World, now time.Time) error {
		return w.VanishGroup(now, arn.String())
	})
}

// HealthOverride is the body of PUT /health.
type HealthOverride struct {
	Group  string `json:"group"`  // ARN
	Target string `json:"target"` // address:port
	// State is healthy or unhealthy; empty leaves the target to its checks again.
	State target.State `json:"state"`
}

func (s *Sim) adminOverride(r *http.Request) (any, error) {
	var o HealthOverride
	if err := readJSON(r, &o); err != nil {
		return nil, err
	}
	arn, err := target.ParseARN(o.Group)
	if err != nil {
		return nil, err
	}
	key, err := target.ParseKey(o.Target)
	if err != nil {
		return nil, err
	}
	return nil, s.Override(arn, key, o.State)
}

// Override forces the health of a registered target to target.Healthy or
// target.Unhealthy; an empty state leaves it to its checks again.
func (s *Sim) Override(group target.ARN, key target.Key, state target.State) error {
	return s.With(group.Account, group.Region, func(w *model.World, now time.Time) error {
		return w.Override(now, group.String(), key, state)
	})
}
