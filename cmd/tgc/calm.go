package main

import (
	"context"
	"log/slog"
)

// leaseLost is the error by which controller-runtime says that it has the Lease no
// more, whether it lost it or gave it up.
const leaseLost = "leader election lost"

// calm is a handler that leaves out what controller-runtime logs as an error at
// every orderly stop: that it has given up the Lease, as it was told to.
type calm struct{ slog.Handler }

// Handle is slog.Handler's.
func (c calm) Handle(ctx context.Context, record slog.Record) error {
	if record.Message == "error received after stop sequence was engaged" && says(record, leaseLost) {
		return nil
	}
	return c.Handler.Handle(ctx, record)
}

// WithAttrs is slog.Handler's.
func (c calm) WithAttrs(attrs []slog.Attr) slog.Handler { return calm{c.Handler.WithAttrs(attrs)} }

// WithGroup is slog.Handler's.
func (c calm) WithGroup(name string) slog.Handler { return calm{c.Handler.WithGroup(name)} }

// says tells whether an attribute of the record has this text.
func says(record slog.Record, text string) bool {
	found := false
	record.Attrs(func(attr slog.Attr) bool {
		found = attr.Value.String() == text
		return !found
	})
	return found
}
