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
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "nodeinit:", err)
		os.Exit(1)
	}
}

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
