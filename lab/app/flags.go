package app

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// newFlags makes an empty set of flags that neither prints nor exits.
func newFlags(c *Container) *flag.FlagSet {
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

// parse reads the container's arguments; what they leave out may come from the
// environment: --on-term from LAB_ON_TERM.
func parse(flags *flag.FlagSet, c *Container) error {
	var wrong error
	flags.VisitAll(func(f *flag.Flag) {
		name := "LAB_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value := c.Getenv(name); value != "" {
			if err := f.Value.Set(value); err != nil {
				wrong = errors.Join(wrong, fmt.Errorf("%s=%s: %w", name, value, err))
			}
		}
	})
	if wrong != nil {
		return wrong
	}
	if err := flags.Parse(c.Args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown arguments %q", flags.Args())
	}
	return nil
}
