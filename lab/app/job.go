package app

import (
	"context"
	"fmt"
	"time"
)

// Job ends by itself.
//
//	--after=1s   how long it runs; default: not at all
//	--code=1     its exit code
func Job(kill context.Context, c *Container) int {
	flags := newFlags(c)
	after := flags.Duration("after", 0, "how long it runs")
	code := flags.Int("code", 0, "exit code")
	if err := parse(flags, c); err != nil {
		fmt.Fprintln(c.Output, err)
		return ExitUsage
	}
	c.Started()
	select {
	case <-kill.Done():
		return ExitKilled
	case <-c.Terminate:
		return ExitTerminated
	case <-time.After(*after):
		return *code
	}
}
