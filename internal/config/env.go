package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// EnvPrefix begins the names of the environment variables that set flags.
const EnvPrefix = "TGC_"

// EnvName is the environment twin of a flag: TGC_LOG_LEVEL for log-level.
func EnvName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// FromEnv sets flags that were not given from their environment twins. A flag
// that was set this way counts as given.
func FromEnv(set *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var failed error
	set.VisitAll(func(flag *pflag.Flag) {
		value, found := lookup(EnvName(flag.Name))
		if failed != nil || flag.Changed || !found || flag.Name == "help" {
			return
		}
		if err := set.Set(flag.Name, value); err != nil {
			failed = fmt.Errorf("environment variable %s: %w", EnvName(flag.Name), err)
		}
	})
	return failed
}

// DocumentEnv adds the name of its environment twin to the usage of each flag.
func DocumentEnv(set *pflag.FlagSet) {
	set.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "help" {
			flag.Usage += " [" + EnvName(flag.Name) + "]"
		}
	})
}
