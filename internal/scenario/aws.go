package scenario

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// faults are the commands that make calls go wrong.
var faults = map[string]elbsim.FaultKind{
	"fail": elbsim.FaultFail, "lose-reply": elbsim.FaultLose, "drop": elbsim.FaultDrop, "hang": elbsim.FaultHang,
	"throttle": elbsim.FaultThrottle,
}

// aws makes AWS behave otherwise.
func (w *World) aws(c command) ([]string, error) {
	if kind, is := faults[c.word(0)]; is {
		return nil, w.addFault(kind, c)
	}
	switch c.word(0) {
	case "":
		return nil, w.configure(c)
	case "well":
		w.sim.ClearFaults()
		return nil, nil
	case "vanish":
		return nil, w.sim.VanishGroup(w.group.ARN)
	case "add", "remove":
		return nil, w.meddle(c)
	}
	return nil, fmt.Errorf("aws %q is unknown", c.word(0))
}

func (w *World) addFault(kind elbsim.FaultKind, c command) error {
	f := elbsim.Fault{Kind: kind, Action: c.word(1), Message: "as scripted"}
	count, err := strconv.Atoi(c.option("count", "1"))
	if err != nil {
		return err
	}
	f.Count = count
	switch kind {
	case elbsim.FaultFail:
		f.Code = c.word(2)
	case elbsim.FaultHang:
		d, err := time.ParseDuration(c.word(2))
		if err != nil {
			return err
		}
		f.Duration = elbsim.Duration(d)
	}
	_, err = w.sim.AddFault(f)
	return err
}

func (w *World) configure(c command) error {
	settings := w.sim.Settings()
	var err error
	for name, values := range c.options {
		value := values[0]
		switch name {
		case "quota":
			settings.Quotas.TargetsPerGroup, err = strconv.Atoi(value)
		case "reregister":
			settings.Reregister = model.Reregister(value)
		case "lag", "registration":
			var d time.Duration
			d, err = time.ParseDuration(value)
			*map[string]*elbsim.Duration{"lag": &settings.VisibilityLag, "registration": &settings.ALBRegistration}[name] = elbsim.Duration(d)
		case "inside":
			var prefix netip.Prefix
			prefix, err = netip.ParsePrefix(value)
			settings.VPCs = map[string][]model.Subnet{"": {{CIDR: prefix}}}
		default:
			err = fmt.Errorf("aws %s= is unknown", name)
		}
		if err != nil {
			return err
		}
	}
	return w.sim.Configure(settings)
}

// meddle changes the group as somebody else would.
func (w *World) meddle(c command) error {
	var refs []model.TargetRef
	for _, text := range c.names(1) {
		key, err := target.ParseKey(text)
		if err != nil {
			return err
		}
		refs = append(refs, model.TargetRef{ID: key.Addr.String(), Port: int(key.Port)})
	}
	return w.sim.With(elbsim.DefaultAccount, elbsim.DefaultRegion, func(world *model.World, now time.Time) error {
		if c.word(0) == "add" {
			return world.RegisterTargets(now, w.group.ARN.String(), refs)
		}
		return world.DeregisterTargets(now, w.group.ARN.String(), refs)
	})
}
