package model

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// BalancerSpec is what CreateLoadBalancer is given. Subnets are kept and told,
// but mean nothing to the model.
type BalancerSpec struct {
	Name    string
	Type    BalancerType // default application
	Scheme  string       // default internet-facing
	Subnets []string
	Tags    map[string]string
}

// BalancerView is a load balancer as DescribeLoadBalancers tells it. Its state
// is always active.
type BalancerView struct {
	ARN     string
	DNSName string
	Name    string
	Type    BalancerType
	Scheme  string
	Subnets []string
	Created time.Time
}

// BalancerFilter selects load balancers: all, or those of ARNs or Names.
type BalancerFilter struct {
	ARNs  []string
	Names []string
	Page  Page
}

// ListenerSpec is what a listener does. Groups are the ARNs of the target groups
// that its default actions forward to; none for a redirect or a fixed response.
type ListenerSpec struct {
	Balancer string // ARN
	Protocol string
	Port     int
	Groups   []string
}

// ListenerView is a listener as DescribeListeners tells it.
type ListenerView struct {
	ARN string
	ListenerSpec
}

type balancer struct {
	BalancerView
	tags      map[string]string
	listeners []*ListenerView
}

func (w *World) balancer(arn string) (*balancer, error) {
	if b, known := w.balancers[arn]; known {
		return b, nil
	}
	return nil, refuse("LoadBalancerNotFound", "Load balancer '%s' not found", arn)
}

// CreateLoadBalancer makes a load balancer that is active at once. Fails with
// DuplicateLoadBalancerName or ValidationError.
func (w *World) CreateLoadBalancer(now time.Time, spec BalancerSpec) (BalancerView, error) {
	w.advance(now)
	if spec.Type == "" {
		spec.Type = Application
	}
	if spec.Scheme == "" {
		spec.Scheme = "internet-facing"
	}
	if !resourceName.MatchString(spec.Name) || strings.HasPrefix(spec.Name, "internal-") {
		return BalancerView{}, invalid("Load balancer name '%s' must be 1 to 32 letters, digits and hyphens", spec.Name)
	}
	if spec.Type != Application && spec.Type != Network {
		return BalancerView{}, invalid("Load balancer type '%s' must be '%s' or '%s'", spec.Type, Application, Network)
	}
	for _, b := range w.balancerList {
		if b.Name == spec.Name {
			return BalancerView{}, refuse("DuplicateLoadBalancerName", "A load balancer with the same name '%s' exists", spec.Name)
		}
	}
	return w.addBalancer(spec).BalancerView, nil
}

func (w *World) addBalancer(spec BalancerSpec) *balancer {
	id := w.newID("loadbalancer", spec.Name)
	b := &balancer{
		BalancerView: BalancerView{
			ARN:     w.arn("loadbalancer/" + shortType[spec.Type] + "/" + spec.Name + "/" + id),
			DNSName: spec.Name + "-" + id + ".elb." + w.config.Region + ".amazonaws.com",
			Name:    spec.Name, Type: spec.Type, Scheme: spec.Scheme, Subnets: slices.Clone(spec.Subnets), Created: w.now,
		},
		tags: map[string]string{},
	}
	maps.Copy(b.tags, spec.Tags)
	w.balancers[b.ARN] = b
	w.balancerList = append(w.balancerList, b)
	return b
}

// shortType is how ARNs spell the type.
var shortType = map[BalancerType]string{Application: "app", Network: "net"}

// DeleteLoadBalancer deletes a load balancer with its listeners. One that does
// not exist counts as deleted.
func (w *World) DeleteLoadBalancer(now time.Time, arn string) {
	w.advance(now)
	b, exists := w.balancers[arn]
	if !exists {
		return
	}
	delete(w.balancers, arn)
	w.balancerList = slices.DeleteFunc(w.balancerList, func(other *balancer) bool { return other == b })
	w.reconsiderUse(b.forwards())
}

// LoadBalancers lists load balancers in the order they were made. next is as of
// TargetGroups. Fails with LoadBalancerNotFound or ValidationError.
func (w *World) LoadBalancers(now time.Time, filter BalancerFilter) (views []BalancerView, next string, err error) {
	w.advance(now)
	wanted := slices.Concat(filter.ARNs, filter.Names)
	found := w.balancerList
	if len(wanted) > 0 {
		found = slices.DeleteFunc(slices.Clone(found), func(b *balancer) bool {
			return !slices.Contains(filter.ARNs, b.ARN) && !slices.Contains(filter.Names, b.Name)
		})
	}
	if len(wanted) > len(found) {
		return nil, "", refuse("LoadBalancerNotFound", "One or more load balancers not found")
	}
	page, next, err := cut(found, filter.Page, func(b *balancer) string { return b.ARN })
	for _, b := range page {
		views = append(views, b.BalancerView)
	}
	return views, next, err
}

// CreateListener makes a listener, and the groups it forwards to come into use.
// Fails with LoadBalancerNotFound, TargetGroupNotFound, DuplicateListener,
// UnsupportedProtocol, InvalidConfigurationRequest or one of the quotas' codes.
func (w *World) CreateListener(now time.Time, spec ListenerSpec) (ListenerView, error) {
	w.advance(now)
	b, err := w.balancer(spec.Balancer)
	if err != nil {
		return ListenerView{}, err
	}
	for _, other := range b.listeners {
		if other.Port == spec.Port {
			return ListenerView{}, refuse("DuplicateListener", "A listener already exists on this port for this load balancer '%s'", b.ARN)
		}
	}
	if err := w.checkListener(b, spec); err != nil {
		return ListenerView{}, err
	}
	resource := strings.Replace(strings.SplitN(b.ARN, ":", 6)[5], "loadbalancer/", "listener/", 1)
	spec.Groups = slices.Clone(spec.Groups)
	l := &ListenerView{ARN: w.arn(resource + "/" + w.newID("listener", b.Name)), ListenerSpec: spec}
	b.listeners = append(b.listeners, l)
	w.reconsiderUse(l.Groups)
	return l.copied(), nil
}

func (w *World) checkListener(b *balancer, spec ListenerSpec) error {
	if !slices.Contains(protocolsOf[b.Type], spec.Protocol) {
		return refuse("UnsupportedProtocol", "Protocol '%s' is not supported by a load balancer of type '%s'", spec.Protocol, b.Type)
	}
	if spec.Port < 1 || spec.Port > 65535 {
		return invalid("Port '%d' must be between 1 and 65535 inclusive", spec.Port)
	}
	return w.checkForward(b, spec.Groups)
}

func (w *World) checkForward(b *balancer, arns []string) error {
	added := 0
	for _, arn := range arns {
		g, err := w.group(arn)
		if err != nil {
			return err
		}
		if g.balancerType() != b.Type {
			return refuse("InvalidConfigurationRequest", "Target group '%s' with protocol '%s' cannot be used by a load balancer of type '%s'", arn, g.Protocol, b.Type)
		}
		if slices.Contains(g.users, b.ARN) {
			continue
		}
		added++
		if limit := w.config.Quotas.BalancersPerGroup; limit > 0 && len(g.users) >= limit {
			return refuse("TargetGroupAssociationLimit", "The following target groups cannot be associated with more than one load balancer: %s", arn)
		}
	}
	used, _ := w.usedBy(b.ARN)
	if limit := w.config.Quotas.GroupsPerALB; b.Type == Application && limit > 0 && len(used)+added > limit {
		return refuse("TooManyUniqueTargetGroupsPerLoadBalancer", "The maximum number of target groups per load balancer '%d' has been reached", limit)
	}
	return nil
}

func (l *ListenerView) copied() ListenerView {
	view := *l
	view.Groups = slices.Clone(l.Groups)
	return view
}

// DeleteListener deletes a listener; groups that no other uses go out of use.
// Fails with ListenerNotFound.
func (w *World) DeleteListener(now time.Time, arn string) error {
	w.advance(now)
	for _, b := range w.balancerList {
		i := slices.IndexFunc(b.listeners, func(l *ListenerView) bool { return l.ARN == arn })
		if i >= 0 {
			groups := b.listeners[i].Groups
			b.listeners = slices.Delete(b.listeners, i, i+1)
			w.reconsiderUse(groups)
			return nil
		}
	}
	return refuse("ListenerNotFound", "One or more listeners not found")
}

// ModifyListener makes a listener forward to other groups. Fails with
// ListenerNotFound or as CreateListener.
func (w *World) ModifyListener(now time.Time, arn string, groups []string) (ListenerView, error) {
	w.advance(now)
	for _, b := range w.balancerList {
		for _, l := range b.listeners {
			if l.ARN != arn {
				continue
			}
			if err := w.checkForward(b, groups); err != nil {
				return ListenerView{}, err
			}
			affected := slices.Concat(l.Groups, groups)
			l.Groups = slices.Clone(groups)
			w.reconsiderUse(affected)
			return l.copied(), nil
		}
	}
	return ListenerView{}, refuse("ListenerNotFound", "One or more listeners not found")
}

// Listeners lists the listeners of a load balancer, or those that arns name.
// Fails with LoadBalancerNotFound or ListenerNotFound.
func (w *World) Listeners(now time.Time, balancerARN string, arns []string) ([]ListenerView, error) {
	w.advance(now)
	if balancerARN != "" {
		if _, err := w.balancer(balancerARN); err != nil {
			return nil, err
		}
	}
	var views []ListenerView
	for _, b := range w.balancerList {
		for _, l := range b.listeners {
			if b.ARN == balancerARN || slices.Contains(arns, l.ARN) {
				views = append(views, l.copied())
			}
		}
	}
	if len(views) < len(arns) {
		return nil, refuse("ListenerNotFound", "One or more listeners not found")
	}
	return views, nil
}

// reconsiderUse finds out anew which load balancers use these groups, and starts
// or stops those whose answer changed.
func (w *World) reconsiderUse(arns []string) {
	for _, arn := range slices.Compact(slices.Sorted(slices.Values(arns))) {
		g, exists := w.groups[arn]
		if !exists {
			continue
		}
		was := len(g.users) > 0
		g.users = w.usersOf(arn)
		if was != (len(g.users) > 0) {
			w.restart(g)
		}
	}
}

// usersOf are the load balancers that have a listener which forwards to a group.
func (w *World) usersOf(arn string) []string {
	var users []string
	for _, b := range w.balancerList {
		if slices.Contains(b.forwards(), arn) {
			users = append(users, b.ARN)
		}
	}
	slices.Sort(users)
	return users
}

// forwards are the groups that a load balancer's listeners forward to.
func (b *balancer) forwards() []string {
	var arns []string
	for _, l := range b.listeners {
		arns = append(arns, l.Groups...)
	}
	return arns
}

// restart registers all targets of g anew, or puts them out of use. Those that
// drain go on draining.
func (w *World) restart(g *group) {
	for _, r := range g.records() {
		if r.registered() {
			w.admit(r, w.now)
		}
	}
}

// AllLoadBalancers lists every load balancer in the order they were made, on one
// page.
func (w *World) AllLoadBalancers(now time.Time) []BalancerView {
	w.advance(now)
	views := make([]BalancerView, 0, len(w.balancerList))
	for _, b := range w.balancerList {
		views = append(views, b.BalancerView)
	}
	return views
}
