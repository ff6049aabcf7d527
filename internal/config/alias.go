package config

import "github.com/spf13/pflag"

// addAliases makes a set understand other names of its flags: those by which users
// of earlier programs know them. They are not listed among the flags.
func addAliases(set *pflag.FlagSet, names map[string]string) {
	set.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if known, is := names[name]; is {
			name = known
		}
		return pflag.NormalizedName(name)
	})
}
