package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
)

// Class is why a request counts as lost. Besides those named here there is one
// for each status that is not 2xx: status-502.
type Class string

const (
	// Refused means that nobody listened.
	Refused Class = "refused"
	// Reset means that the connection was reset, before or amid the answer.
	Reset Class = "reset"
	// EOF means that the connection was closed before the answer was complete.
	EOF Class = "eof"
	// Timeout means that there was no complete answer within [Options.Timeout].
	Timeout Class = "timeout"
	// Unanswered means that it was still out when [Options.Drain] was over.
	Unanswered Class = "unanswered"
	// WrongID means that the answer is one to another request.
	WrongID Class = "wrong-id"
	// NoProof means that the answer does not name a pod, or no id.
	NoProof Class = "no-proof"
	// Garbled means that the answer is no HTTP, contradicts itself or does not end.
	Garbled Class = "garbled"
	// Local means that this machine could not send it, for want of ports, files or memory.
	// It says nothing about the other side.
	Local Class = "local"
	// Other has its reason in [Loss.Error].
	Other Class = "other"
)

// statusClass is the class of an answer that is not 2xx.
func statusClass(code int) Class { return Class(fmt.Sprintf("status-%d", code)) }

var (
	errTimeout    = errors.New("no answer in time")
	errUnanswered = errors.New("no answer when the run ended")
)

// classify an error that an exchange in ctx ended with. What the network said
// goes before the end of the context, which may have come only just after.
func classify(ctx context.Context, err error) Class {
	for _, c := range []struct {
		class  Class
		causes []error
	}{
		{Refused, []error{syscall.ECONNREFUSED}},
		{Reset, []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED}},
		{Local, []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM}},
		{Garbled, []error{errLongLine}},
		{EOF, []error{io.EOF, io.ErrUnexpectedEOF}},
	} {
		for _, cause := range c.causes {
			if errors.Is(err, cause) {
				return c.class
			}
		}
	}
	var network net.Error
	switch {
	case errors.Is(context.Cause(ctx), errUnanswered):
		return Unanswered
	case ctx.Err() != nil, errors.As(err, &network) && network.Timeout():
		return Timeout
	// net/http exports no errors for these.
	case strings.Contains(err.Error(), "server closed idle connection"):
		return EOF
	case strings.Contains(err.Error(), "malformed"), strings.Contains(err.Error(), "invalid byte in chunk length"):
		return Garbled
	}
	return Other
}
