// Command nodeinit is the first process of a real node of the lab. Its argument
// is the node's folder; it begins at the end of its input.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/realnode/machine"
)

func main() {
	fmt.Fprintln(os.Stderr, "nodeinit:", run(os.Args))
	os.Exit(1)
}

// run returns when the node has come to an end, which is never in order: its owner
// kills it.
func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: nodeinit FOLDER")
	}
	plan, err := machine.Read(args[1])
	if err != nil {
		return err
	}
	return machine.Run(context.Background(), plan, os.Stdin)
}
