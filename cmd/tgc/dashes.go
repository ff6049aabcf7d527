package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// doubleDashes makes -name of --name where the subcommand has a flag of that name:
// users of the earlier programs are used to one dash. Single letters, and what comes
// after a lone --, stay as they are.
func doubleDashes(root *cobra.Command, args []string) []string {
	command, _, err := root.Find(args)
	if err != nil {
		return args
	}
	doubled := make([]string, len(args))
	for i, arg := range args {
		if arg == "--" {
			copy(doubled[i:], args[i:])
			break
		}
		doubled[i] = arg
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && len(name) > 1 && command.Flags().Lookup(name) != nil {
			doubled[i] = "-" + arg
		}
	}
	return doubled
}
