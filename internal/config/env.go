package config

import (
	"errors"
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

// setBy is the annotation of a flag that was set by its environment twin.
const setBy = "tgc/environment"

// FromEnv sets flags that were not given from their environment twins. A flag
// that was set this way counts as given.
func FromEnv(set *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var failed error
	set.VisitAll(func(flag *pflag.Flag) {
		name := EnvName(flag.Name)
		value, found := lookup(name)
		if failed != nil || flag.Changed || !found || flag.Name == "help" || serviceLink(name, value) {
			return
		}
		if err := set.Set(flag.Name, value); err != nil {
			failed = errors.New(name + strings.TrimPrefix(Explain(err).Error(), "--"+flag.Name))
			return
		}
		failed = set.SetAnnotation(flag.Name, setBy, []string{name})
	})
	return failed
}

// serviceLink tells whether a variable is the kubelet's: to each pod it gives
// TGC_PORT=tcp://ADDRESS:PORT if a Service of the namespace is called tgc.
func serviceLink(name, value string) bool {
	return name == EnvPrefix+"PORT" && strings.Contains(value, "://")
}

// NameEnv adds to an error that names flags which of them were set by the
// environment, where the user has to look.
func NameEnv(set *pflag.FlagSet, err error) error {
	if err == nil {
		return nil
	}
	set.VisitAll(func(flag *pflag.Flag) {
		name := flag.Annotations[setBy]
		if name != nil && (strings.Contains(err.Error(), "--"+flag.Name+" ") || strings.Contains(err.Error(), "--"+flag.Name+":")) {
			err = fmt.Errorf("%w\n--%s was set by the environment variable %s", err, flag.Name, name[0])
		}
	})
	return err
}

// Explain words an error of a flag's value as the flag, the value and the remedy.
// Other errors come back unchanged.
func Explain(err error) error {
	invalid, is := errors.AsType[*pflag.InvalidValueError](err)
	if !is {
		return err
	}
	want, known := map[string]string{
		"bool": "true or false", "duration": "a duration such as 30s or 5m", "int": "a whole number",
	}[invalid.GetFlag().Value.Type()]
	if !known {
		return err
	}
	return fmt.Errorf("--%s %q: want %s", invalid.GetFlag().Name, invalid.GetValue(), want)
}

// DocumentEnv adds the name of its environment twin to the usage of each flag.
func DocumentEnv(set *pflag.FlagSet) {
	set.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "help" {
			flag.Usage += " [" + EnvName(flag.Name) + "]"
		}
	})
}
