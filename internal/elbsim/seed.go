package elbsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// Seed is what exists before the first call.
type Seed struct {
	// VPCs are subnets by VPC, put over those of the settings.
	VPCs          map[string][]model.Subnet `json:"vpcs,omitempty"`
	LoadBalancers []SeedBalancer            `json:"loadBalancers,omitempty"`
	Groups        []SeedGroup               `json:"groups,omitempty"`
}

// SeedScope is the account and region of something seeded. Empty fields are
// DefaultAccount and DefaultRegion.
type SeedScope struct {
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
}

// DefaultRegion is the region of everything that does not name one.
const DefaultRegion = "eu-central-1"

func (s SeedScope) scope() scope {
	return scope{account: cmp.Or(s.Account, DefaultAccount), region: cmp.Or(s.Region, DefaultRegion)}
}

// SeedBalancer is a load balancer to make.
type SeedBalancer struct {
	SeedScope `json:",inline"`
	Name      string             `json:"name"`
	Type      model.BalancerType `json:"type,omitempty"`
	Tags      map[string]string  `json:"tags,omitempty"`
}

// SeedGroup is a target group to make. Its type is ip and its protocol HTTP
// unless told otherwise.
type SeedGroup struct {
	SeedScope `json:",inline"`
	Name      string        `json:"name"`
	Type      target.Type   `json:"type,omitempty"`
	Family    target.Family `json:"family,omitempty"`
	Protocol  string        `json:"protocol,omitempty"`
	Port      int           `json:"port,omitempty"` // default 80
	VPC       string        `json:"vpc,omitempty"`
	// LoadBalancer is the name of the load balancer that uses the group. One that
	// is not there yet is made, of the type that fits the protocol. The listener
	// gets the first free port from 80 on. Empty leaves the group unused.
	LoadBalancer string            `json:"loadBalancer,omitempty"`
	HealthCheck  SeedCheck         `json:"healthCheck,omitzero"`
	Attributes   map[string]string `json:"attributes,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	Targets      []string          `json:"targets,omitempty"` // address:port
}

// SeedCheck is a group's health check. Zero fields take AWS's defaults.
type SeedCheck struct {
	Protocol           string   `json:"protocol,omitempty"`
	Port               string   `json:"port,omitempty"`
	Path               string   `json:"path,omitempty"`
	Matcher            string   `json:"matcher,omitempty"`
	Interval           Duration `json:"interval,omitempty"`
	Timeout            Duration `json:"timeout,omitempty"`
	HealthyThreshold   int      `json:"healthyThreshold,omitempty"`
	UnhealthyThreshold int      `json:"unhealthyThreshold,omitempty"`
}

// seedFile is the form of a seed file: a Seed, and settings beside it.
type seedFile struct {
	Seed     `json:",inline"`
	Settings json.RawMessage `json:"settings,omitempty"`
}

// ReadSeed reads a seed file, YAML or JSON: the fields of Seed, and under the key
// settings any of Settings, which are put over base. Unknown fields are errors.
func ReadSeed(data []byte, base Settings) (Seed, Settings, error) {
	object, err := yaml.YAMLToJSON(data)
	if err != nil {
		return Seed{}, base, fmt.Errorf("reading YAML: %w", err)
	}
	file := seedFile{Settings: json.RawMessage("{}")}
	if err := decodeStrict(object, &file); err != nil {
		return Seed{}, base, err
	}
	settings, err := base.merged(file.Settings)
	return file.Seed, settings, err
}

// DefaultVPC is the VPC of groups that do not name one.
const DefaultVPC = "vpc-0123456789abcdef0"

func (g SeedGroup) spec() model.GroupSpec {
	return model.GroupSpec{
		Name: g.Name, Type: cmp.Or(g.Type, target.TypeIP), Family: g.Family,
		Protocol: cmp.Or(g.Protocol, "HTTP"), Port: cmp.Or(g.Port, 80), VPCID: cmp.Or(g.VPC, DefaultVPC),
		Tags: g.Tags,
		Check: model.CheckSettings{
			Protocol: g.HealthCheck.Protocol, Port: g.HealthCheck.Port, Path: g.HealthCheck.Path, Matcher: g.HealthCheck.Matcher,
			Interval: time.Duration(g.HealthCheck.Interval), Timeout: time.Duration(g.HealthCheck.Timeout),
			HealthyThreshold: g.HealthCheck.HealthyThreshold, UnhealthyThreshold: g.HealthCheck.UnhealthyThreshold,
		},
	}
}

// Plant makes what seed names, without throttling and without a trace in the log.
// Load balancers are made before groups. What was made before an error stays.
func (s *Sim) Plant(seed Seed) error {
	for _, b := range seed.LoadBalancers {
		if _, err := s.PlantBalancer(b); err != nil {
			return err
		}
	}
	for _, g := range seed.Groups {
		if _, err := s.PlantGroup(g); err != nil {
			return err
		}
	}
	return nil
}

// PlantBalancer makes one load balancer and gives its ARN.
func (s *Sim) PlantBalancer(b SeedBalancer) (arn string, err error) {
	at := b.scope()
	err = s.With(at.account, at.region, func(w *model.World, now time.Time) error {
		view, err := w.CreateLoadBalancer(now, model.BalancerSpec{Name: b.Name, Type: b.Type, Tags: b.Tags})
		arn = view.ARN
		return err
	})
	if err != nil {
		return "", fmt.Errorf("seeding load balancer %q: %w", b.Name, err)
	}
	return arn, nil
}

// PlantGroup makes one group and gives its ARN.
func (s *Sim) PlantGroup(g SeedGroup) (target.ARN, error) {
	var arn target.ARN
	at := g.scope()
	err := s.With(at.account, at.region, func(w *model.World, now time.Time) error {
		view, err := w.CreateTargetGroup(now, g.spec())
		if err != nil {
			return err
		}
		arn = view.ARN
		return g.furnish(w, now, arn.String())
	})
	if err != nil {
		return arn, fmt.Errorf("seeding group %q: %w", g.Name, err)
	}
	return arn, nil
}

// furnish gives a group that was just made all that its seed names besides.
func (g SeedGroup) furnish(w *model.World, now time.Time, arn string) error {
	if err := w.ModifyGroupAttributes(now, arn, g.Attributes); err != nil {
		return err
	}
	if err := g.listen(w, now, arn); err != nil {
		return err
	}
	var refs []model.TargetRef
	for _, text := range g.Targets {
		key, err := target.ParseKey(text)
		if err != nil {
			return err
		}
		refs = append(refs, model.TargetRef{ID: key.Addr.String(), Port: int(key.Port)})
	}
	if len(refs) == 0 {
		return nil
	}
	return w.RegisterTargets(now, arn, refs)
}

// listen makes the group's load balancer use it.
func (g SeedGroup) listen(w *model.World, now time.Time, arn string) error {
	if g.LoadBalancer == "" {
		return nil
	}
	protocol := cmp.Or(g.Protocol, "HTTP")
	balancer, err := balancerFor(w, now, g.LoadBalancer, protocol)
	if err != nil {
		return err
	}
	listeners, err := w.Listeners(now, balancer, nil)
	if err != nil {
		return err
	}
	port := 80
	for _, l := range listeners {
		port = max(port, l.Port+1)
	}
	_, err = w.CreateListener(now, model.ListenerSpec{Balancer: balancer, Protocol: protocol, Port: port, Groups: []string{arn}})
	return err
}

// balancerFor finds the load balancer of that name, or makes it.
func balancerFor(w *model.World, now time.Time, name, protocol string) (arn string, err error) {
	views, _, err := w.LoadBalancers(now, model.BalancerFilter{Names: []string{name}})
	if err == nil {
		return views[0].ARN, nil
	}
	kind := model.Network
	if protocol == "HTTP" || protocol == "HTTPS" {
		kind = model.Application
	}
	view, err := w.CreateLoadBalancer(now, model.BalancerSpec{Name: name, Type: kind})
	return view.ARN, err
}
