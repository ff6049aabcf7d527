package elbv2sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Admin is the admin API of a simulator: scripts, the log, and what AWS would not
// show or do. Its methods are safe for concurrent use. What they do takes no
// tokens, is not struck by faults and leaves no trace in the log of calls.
//
// Where a method takes a group it is meant by its ARN, or by its name if that is
// the name of one group only.
type Admin struct {
	url  string
	http *http.Client
}

// Connect gives the admin API at a URL, as the command tgc sim tells it in the
// line that begins with ready, and tells it to a command that it runs in the
// variable TGC_SIM_ADMIN: such as http://127.0.0.1:8480/_sim.
func Connect(url string) *Admin {
	return &Admin{url: strings.TrimRight(url, "/"), http: &http.Client{Transport: &http.Transport{}}}
}

// do makes a request. Body, unless nil, is sent as JSON; the answer is read into
// answer, unless that is nil.
func (a *Admin) do(ctx context.Context, method, path string, body, answer any) error {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, a.url+path, &content)
	if err != nil {
		return err
	}
	response, err := a.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return refusal(response.Status, data)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("%s %s: the answer is not that of a simulator: %w", method, a.url+path, err)
	}
	return nil
}

// refusal is what the simulator says was wrong with a request.
func refusal(status string, body []byte) error {
	var told struct{ Error string }
	if json.Unmarshal(body, &told) != nil || told.Error == "" {
		return fmt.Errorf("the simulator answered %s: %.200q", status, body)
	}
	return fmt.Errorf("the simulator refused: %s", told.Error)
}

// Calls lists the calls in the log, oldest first, those in flight included.
func (a *Admin) Calls(ctx context.Context) ([]Call, error) {
	list, err := a.callsAfter(ctx, 0, "0s")
	return list.Calls, err
}

type callList struct {
	Calls []Call `json:"calls"`
	Next  uint64 `json:"next"`
}

func (a *Admin) callsAfter(ctx context.Context, change uint64, wait string) (list callList, err error) {
	err = a.do(ctx, http.MethodGet, "/calls?wait="+wait+"&after="+strconv.FormatUint(change, 10), nil, &list)
	return list, err
}

// ClearCalls empties the log. Numbers go on.
func (a *Admin) ClearCalls(ctx context.Context) error {
	return a.do(ctx, http.MethodDelete, "/calls", nil, nil)
}

// AddFault puts a script in force and gives it back as it is, with its ID.
func (a *Admin) AddFault(ctx context.Context, fault Fault) (Fault, error) {
	var added Fault
	err := a.do(ctx, http.MethodPost, "/faults", fault, &added)
	return added, err
}

// Faults lists the scripts in force with their counts.
func (a *Admin) Faults(ctx context.Context) ([]Fault, error) {
	var list struct{ Faults []Fault }
	err := a.do(ctx, http.MethodGet, "/faults", nil, &list)
	return list.Faults, err
}

// RemoveFault ends a script.
func (a *Admin) RemoveFault(ctx context.Context, id int) error {
	return a.do(ctx, http.MethodDelete, "/faults/"+strconv.Itoa(id), nil, nil)
}

// ClearFaults ends all scripts. Calls that hang go on hanging.
func (a *Admin) ClearFaults(ctx context.Context) error {
	return a.do(ctx, http.MethodDelete, "/faults", nil, nil)
}

// Settings is how the simulator behaves now.
func (a *Admin) Settings(ctx context.Context) (Settings, error) {
	var settings Settings
	err := a.do(ctx, http.MethodGet, "/settings", nil, &settings)
	return settings, err
}

// Configure changes how the simulator behaves from now on: change gets the present
// settings and changes what it wants. An error names a setting that makes no sense,
// and then nothing has changed.
func (a *Admin) Configure(ctx context.Context, change func(*Settings)) error {
	settings, err := a.Settings(ctx)
	if err != nil {
		return err
	}
	change(&settings)
	return a.do(ctx, http.MethodPut, "/settings", settings, nil)
}

// Budgets tells how many calls of each class every account and region in use may
// still make. To ask costs none.
func (a *Admin) Budgets(ctx context.Context) ([]ScopeBudget, error) {
	var list struct{ Budgets []ScopeBudget }
	err := a.do(ctx, http.MethodGet, "/budget", nil, &list)
	return list.Budgets, err
}

// AddLoadBalancer makes a load balancer and gives its ARN.
func (a *Admin) AddLoadBalancer(ctx context.Context, balancer LoadBalancer) (arn string, err error) {
	return a.plant(ctx, "/loadbalancers", balancer)
}

// AddGroup makes a target group, with all that it names, and gives its ARN.
func (a *Admin) AddGroup(ctx context.Context, group Group) (arn string, err error) {
	return a.plant(ctx, "/groups", group)
}

func (a *Admin) plant(ctx context.Context, path string, seed any) (string, error) {
	var made struct{ ARN string }
	err := a.do(ctx, http.MethodPost, path, seed, &made)
	return made.ARN, err
}

// RemoveGroup makes a group vanish with its targets, whether or not it is in use,
// as if somebody else had deleted it.
func (a *Admin) RemoveGroup(ctx context.Context, group string) error {
	state, err := a.Group(ctx, group)
	if err != nil {
		return err
	}
	return a.do(ctx, http.MethodDelete, "/groups?arn="+url.QueryEscape(state.ARN), nil, nil)
}

// Groups tells of every target group of every account and region.
func (a *Admin) Groups(ctx context.Context) ([]GroupState, error) {
	list, err := a.groupsAfter(ctx, 0, "0s")
	return list.Groups, err
}

type groupList struct {
	Groups []GroupState `json:"groups"`
	Next   uint64       `json:"next"`
}

func (a *Admin) groupsAfter(ctx context.Context, change uint64, wait string) (list groupList, err error) {
	err = a.do(ctx, http.MethodGet, "/groups?wait="+wait+"&after="+strconv.FormatUint(change, 10), nil, &list)
	return list, err
}

// Group tells of one target group.
func (a *Admin) Group(ctx context.Context, group string) (GroupState, error) {
	list, err := a.groupsAfter(ctx, 0, "0s")
	if err != nil {
		return GroupState{}, err
	}
	return list.find(group)
}

// find finds a group by ARN or name.
func (l groupList) find(group string) (GroupState, error) {
	var found []GroupState
	for _, g := range l.Groups {
		if g.ARN == group || g.Name == group {
			found = append(found, g)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return GroupState{}, fmt.Errorf("there is no group %q", group)
	}
	return GroupState{}, fmt.Errorf("there are %d groups %q: want the ARN", len(found), group)
}

// OverrideHealth forces the health of a registered target, address:port, to Healthy
// or Unhealthy whatever its checks say. The empty state leaves it to them again.
func (a *Admin) OverrideHealth(ctx context.Context, group, target string, state State) error {
	g, err := a.Group(ctx, group)
	if err != nil {
		return err
	}
	body := map[string]string{"group": g.ARN, "target": target, "state": string(state)}
	return a.do(ctx, http.MethodPut, "/health", body, nil)
}

// LoadBalancers tells where each load balancer listens; all their listeners are
// open when it returns. Without a data plane it fails.
func (a *Admin) LoadBalancers(ctx context.Context) ([]LoadBalancerState, error) {
	var list struct{ LoadBalancers []LoadBalancerState }
	err := a.do(ctx, http.MethodGet, "/loadbalancers", nil, &list)
	return list.LoadBalancers, err
}

// Traffic is the access log of the data plane: the requests and flows that ended
// after that number, oldest first. Without a data plane it fails.
func (a *Admin) Traffic(ctx context.Context, after uint64) ([]Traffic, error) {
	var list struct{ Entries []Traffic }
	err := a.do(ctx, http.MethodGet, "/traffic?after="+strconv.FormatUint(after, 10), nil, &list)
	return list.Entries, err
}

// TrafficCounts tells how many requests and flows ended in which way since the
// simulator was made. Without a data plane it fails.
func (a *Admin) TrafficCounts(ctx context.Context) ([]TrafficCount, error) {
	var list struct{ Counts []TrafficCount }
	err := a.do(ctx, http.MethodGet, "/traffic/counts", nil, &list)
	return list.Counts, err
}

// Reset puts everything back to how it was made: settings, seed, no faults, an
// empty log, full buckets.
func (a *Admin) Reset(ctx context.Context) error {
	return a.do(ctx, http.MethodPost, "/reset", nil, nil)
}
