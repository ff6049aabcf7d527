// Command tgc-wait is the preStop hook of pods with the drain mode Hold, which
// `tgc install` puts into them under the name tgc, and of pods with `tgc sidecar
// --hook-dir`: `tgc wait` and, after "--", the hook that was there before. It is a
// program of its own because it runs within the memory limits of other people's
// containers.
package main

import (
	"fmt"
	"os"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/drain/wait"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 || args[0] != "wait" || len(args) > 1 && args[1] != "--" {
		fmt.Fprintln(os.Stderr, "usage: tgc wait [-- COMMAND [ARGUMENT ...]]")
		os.Exit(2)
	}
	os.Exit(wait.Main(args[min(2, len(args)):], os.Stdout))
}
