package dataplane

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What an Application Load Balancer takes from clients, in bytes.
const (
	maxRequestLine   = 16 << 10
	maxRequestHeader = 16 << 10 // one header
	maxRequestHead   = 64 << 10 // all of it
	maxForwarded     = 30       // addresses in X-Forwarded-For
)

// Statuses that only load balancers of AWS use.
const (
	statusClientGone      = 460
	statusForwardedTooFar = 463
)

// faultOf is the status of a request that is not forwarded to anyone; 0: it is.
func faultOf(r *http.Request) int {
	line := len(r.Method) + len(r.RequestURI) + len(r.Proto) + len("  ")
	head, largest := line+len("Host: ")+len(r.Host), 0
	for name, values := range r.Header {
		for _, value := range values {
			size := len(name) + len(": ") + len(value)
			head += size
			largest = max(largest, size)
		}
	}
	switch {
	case r.Method == http.MethodTrace:
		return http.StatusMethodNotAllowed
	case line > maxRequestLine:
		return http.StatusRequestURITooLong
	case largest > maxRequestHeader || head > maxRequestHead:
		return http.StatusBadRequest
	case strings.Count(strings.Join(r.Header["X-Forwarded-For"], ","), ",") >= maxForwarded:
		return statusForwardedTooFar
	}
	return 0
}

// connected is the key of the moment a client's connection was made.
type connected struct{}

// rememberConnected is an http.Server's ConnContext.
func (d *door) rememberConnected(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connected{}, time.Now())
}

// outlived tells whether a client's connection has been kept for long enough.
func (d *door) outlived(r *http.Request) bool {
	since, known := r.Context().Value(connected{}).(time.Time)
	return known && time.Since(since) >= d.plane.clock.Timeout(d.plane.options.ClientKeepAlive)
}

// body is a request's body on its way. It tells a client that stalls or leaves
// from a target that does.
type body struct {
	io.ReadCloser
	awaited atomic.Bool // it is the client's turn
	failed  func()      // called once the client failed

	mu  sync.Mutex
	err error
}

// Read reads from the client.
func (b *body) Read(p []byte) (int, error) {
	b.awaited.Store(true)
	n, err := b.ReadCloser.Read(p)
	b.awaited.Store(false)
	if err != nil && !errors.Is(err, io.EOF) {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
		b.failed()
	}
	return n, err
}

// failure is why the client's part of the exchange failed, if it did.
func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// bodyOutcome names how a client failed to send a body: it left, or what it sent
// makes no sense.
func bodyOutcome(err error) Outcome {
	if _, network := errors.AsType[net.Error](err); network || errors.Is(err, io.ErrUnexpectedEOF) {
		return ClientGone
	}
	return Rejected
}
