package elbsim

import (
	"fmt"
	"strings"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/routing"
)

// SetDelay puts one delay of load balancer nodes into o, which is to have both its
// profiles: TYPE.EVENT=MIN-MAX[+SHARE%-MAX], such as alb.deregister=500ms-5s+5%-40s.
func SetDelay(o *dataplane.Options, text string) (err error) {
	name, value, _ := strings.Cut(text, "=")
	spreads := map[string]*routing.Spread{
		"alb.register": &o.ALB.Register, "alb.deregister": &o.ALB.Deregister, "alb.health": &o.ALB.Health,
		"nlb.register": &o.NLB.Register, "nlb.deregister": &o.NLB.Deregister, "nlb.health": &o.NLB.Health,
	}
	into, known := spreads[name]
	if !known {
		return fmt.Errorf("delay %q: there is no %q: want alb or nlb, and register, deregister or health, as in alb.health=1s-2s", text, name)
	}
	if *into, err = routing.ParseSpread(value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
