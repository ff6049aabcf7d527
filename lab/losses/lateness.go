package losses

import (
	"context"
	"fmt"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

// Lateness is how late deregistrations are. It is in real time, unlike what the load
// balancer takes: who is late is tgc, which waits, asks again and elects leaders in
// real time, and so are the lateSeconds of a binding that have to cover it.
type Lateness struct {
	Name, About string
	// Of is how late the first deregistration is at the least.
	Of time.Duration
	// fault makes calls late; its kind is empty if none is.
	fault elbsim.Fault
	// lasts is for how long from the first call on; 0 is to the end.
	lasts time.Duration
}

// Latenesses are all there are.
func Latenesses() []Lateness {
	return []Lateness{
		{Name: "normal", About: "AWS takes each call at once"},
		{
			Name: "2s", About: "AWS takes two seconds for each deregistration", Of: 2 * time.Second,
			fault: elbsim.Fault{Kind: elbsim.FaultHang, Duration: elbsim.Duration(2 * time.Second)},
		},
		{
			Name: "60s", About: "AWS throttles all deregistrations, for a minute from the first on", Of: time.Minute,
			fault: elbsim.Fault{Kind: elbsim.FaultThrottle}, lasts: time.Minute,
		},
	}
}

// impose makes deregistrations late. What it starts ends with ctx at the latest.
func (s *stage) impose(ctx context.Context) error {
	l := s.Lateness
	if l.fault.Kind == "" {
		return nil
	}
	l.fault.Action = "DeregisterTargets"
	fault, err := s.sim.AddFault(l.fault)
	if err != nil {
		return fmt.Errorf("make deregistrations late: %w", err)
	}
	if l.lasts > 0 {
		s.tasks.Go(func() { s.endFault(ctx, fault.ID, l.lasts) })
	}
	return nil
}

// endFault ends a fault some time after it struck first.
func (s *stage) endFault(ctx context.Context, id int, after time.Duration) {
	struck := func() bool {
		for _, f := range s.sim.Faults() {
			if f.ID == id && f.Selected > 0 {
				return true
			}
		}
		return false
	}
	for !struck() {
		if rest(ctx, glance) != nil {
			return
		}
	}
	_ = rest(ctx, after) // who is interrupted needs it no more either
	s.sim.RemoveFault(id)
}
