package demo

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/rig"
)

// restartDelay is the pause before a controller that was killed starts again.
const restartDelay = time.Second

// controllerState is what there is to tell of a controller.
type controllerState struct {
	Running  bool
	Restarts int
}

func stateOf(controller *rig.Keeper) controllerState {
	running, restarts := controller.State()
	return controllerState{Running: running, Restarts: restarts}
}

// newController makes what keeps tgc running.
func newController(r *rig.Rig, log io.Writer) *rig.Keeper {
	return &rig.Keeper{
		Launch: func(ctx context.Context) (*rig.Process, error) {
			return r.Controller(ctx, rig.ProcessOptions{
				Args: []string{"--namespace=" + namespace, "--log-format=text", "--leader-elect-duration=" + leaseDuration.String()}, Log: log,
			})
		},
		Pause: restartDelay,
	}
}

// orFail is for a controller that must not end by itself: failed is told if it does.
func orFail(failed func(error)) func(*rig.Process, error) bool {
	return func(p *rig.Process, err error) bool {
		if err == nil {
			err = fmt.Errorf("tgc controller has ended by itself:\n%s", p.Log())
		}
		failed(err)
		return false
	}
}
