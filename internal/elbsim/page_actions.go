package elbsim

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/web"
)

// pageActions are what the forms of the page do.
func (s *Sim) pageActions() map[string]web.Action {
	return map[string]web.Action{
		"fault":       s.doFault,
		"end-fault":   s.doEndFault,
		"end-faults":  s.doEndFaults,
		"throttle":    s.doThrottle,
		"deny":        s.doDeny,
		"allow":       s.doAllow,
		"health":      s.doHealth,
		"clear-calls": s.doClearCalls,
		"reset":       s.doReset,
	}
}

// value is what a form says in a field, without what people paste along with it.
func value(r *http.Request, field string) string { return strings.TrimSpace(r.PostForm.Get(field)) }

func (s *Sim) doFault(r *http.Request) (string, error) {
	f := Fault{Kind: FaultKind(value(r, "kind")), Action: value(r, "action"), Code: value(r, "code")}
	if f.Action != "" {
		if err := knownAction(f.Action); err != nil {
			return "", err
		}
	}
	if text := value(r, "group"); text != "" {
		group, err := s.groupNamed(text)
		if err != nil {
			return "", err
		}
		f.Group = group.ARN
	}
	if text := value(r, "count"); text != "" {
		count, err := strconv.Atoi(text)
		if err != nil || count < 1 {
			return "", fmt.Errorf("how often %q: want a whole number of calls, at least 1, or nothing for always", text)
		}
		f.Count = count
	}
	if text := value(r, "duration"); text != "" {
		duration, err := time.ParseDuration(text)
		if err != nil || duration < 0 {
			return "", fmt.Errorf("hang for %q: want a number with its unit, such as 5s or 500ms, or nothing to hang until the client leaves", text)
		}
		f.Duration = Duration(duration)
	}
	added, err := s.AddFault(f)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Fault %d is in force: %s of %s calls.", added.ID, added.Kind, cmp.Or(added.Action, "all")), nil
}

func knownAction(action string) error {
	if _, known := operations[action]; !known {
		return fmt.Errorf("action %q: want one of %s", action, strings.Join(slices.Sorted(maps.Keys(operations)), ", "))
	}
	return nil
}

// groupNamed finds a group by its ARN, or by a name that is the only one of its kind.
func (s *Sim) groupNamed(text string) (GroupState, error) {
	var found []GroupState
	var names []string
	for _, g := range s.Groups() {
		if g.ARN == text || g.Name == text {
			found = append(found, g)
		}
		names = append(names, g.Name)
	}
	switch len(found) {
	case 0:
		const named = 10
		if len(names) > named {
			names = append(names[:named], "...")
		}
		return GroupState{}, fmt.Errorf("group %q: there is none of that name or ARN; there is %s", text, cmp.Or(strings.Join(names, ", "), "no group at all"))
	case 1:
		return found[0], nil
	}
	return GroupState{}, fmt.Errorf("group %q: there are %d of that name, in different accounts or regions; give the ARN", text, len(found))
}

func (s *Sim) doEndFault(r *http.Request) (string, error) {
	text := value(r, "id")
	id, err := strconv.Atoi(text)
	if err != nil || !s.RemoveFault(id) {
		return "", fmt.Errorf("fault %q: there is none of that number any more", text)
	}
	return fmt.Sprintf("Fault %d is ended.", id), nil
}

func (s *Sim) doEndFaults(*http.Request) (string, error) {
	s.ClearFaults()
	return "All faults are ended.", nil
}

// scarce are the buckets of an account that hardly gets a call through.
func scarce() map[model.Class]model.Bucket {
	buckets := model.DefaultBuckets()
	for class := range buckets {
		buckets[class] = model.Bucket{Capacity: 1, PerSecond: 1}
	}
	return buckets
}

func (s *Sim) doThrottle(r *http.Request) (string, error) {
	switch on := value(r, "throttle"); on {
	case "on":
		return "Every account may make one call a second.", s.amend(func(settings *Settings) { settings.Buckets = scarce() })
	case "off":
		return "Throttling is as it was at the start.", s.amend(func(settings *Settings) { settings.Buckets = s.initial().Buckets })
	default:
		return "", fmt.Errorf("throttle %q: want on or off", on)
	}
}

func (s *Sim) doDeny(r *http.Request) (string, error) {
	action := value(r, "action")
	if action != "*" {
		if err := knownAction(action); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s is answered with AccessDenied.", actionName(action)), s.amend(func(settings *Settings) {
		if !slices.Contains(settings.Deny, action) {
			settings.Deny = append(slices.Clone(settings.Deny), action)
		}
	})
}

func (s *Sim) doAllow(r *http.Request) (string, error) {
	action := value(r, "action")
	if !slices.Contains(s.Settings().Deny, action) {
		return "", fmt.Errorf("action %q: it is not denied", action)
	}
	return fmt.Sprintf("%s is allowed again.", actionName(action)), s.amend(func(settings *Settings) {
		settings.Deny = slices.DeleteFunc(slices.Clone(settings.Deny), func(denied string) bool { return denied == action })
	})
}

func actionName(action string) string {
	if action == "*" {
		return "Every action"
	}
	return action
}

func (s *Sim) doHealth(r *http.Request) (string, error) {
	group, err := s.groupNamed(value(r, "group"))
	if err != nil {
		return "", err
	}
	key, err := target.ParseKey(value(r, "target"))
	if err != nil {
		return "", err
	}
	arn, err := target.ParseARN(group.ARN)
	if err != nil {
		return "", err
	}
	state, outcome := target.State(value(r, "state")), ""
	switch state {
	case target.Healthy, target.Unhealthy:
		outcome = fmt.Sprintf("%s is %s in %s, whatever its checks find.", key, state, group.Name)
	case "real":
		state, outcome = "", fmt.Sprintf("%s in %s is left to its health checks again.", key, group.Name)
	default:
		return "", fmt.Errorf("health %q: want healthy, unhealthy or real", state)
	}
	return outcome, s.Override(arn, key, state)
}

func (s *Sim) doClearCalls(*http.Request) (string, error) {
	s.ClearCalls()
	return "The log of calls is empty.", nil
}

func (s *Sim) doReset(*http.Request) (string, error) {
	return "Everything is as it was at the start.", s.Reset()
}
