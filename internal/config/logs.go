package config

import (
	"errors"
	"log/slog"
	"slices"

	"github.com/spf13/pflag"
)

// Logs is how a command logs.
type Logs struct {
	LogLevel  string
	LogFormat string
}

func (l *Logs) addFlags(set *pflag.FlagSet) {
	set.StringVar(&l.LogLevel, "log-level", "info", "debug, info, warn or error")
	set.StringVar(&l.LogFormat, "log-format", "json", "json or text")
}

func (l *Logs) check() error {
	_, err := l.Level()
	return errors.Join(
		unless(err == nil, "--log-level %q: want debug, info, warn or error", l.LogLevel),
		unless(slices.Contains([]string{"json", "text"}, l.LogFormat), "--log-format %q: want json or text", l.LogFormat),
	)
}

// Level is the log level.
func (l *Logs) Level() (slog.Level, error) {
	var level slog.Level
	err := level.UnmarshalText([]byte(l.LogLevel))
	return level, err
}
