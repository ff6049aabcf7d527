package load

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// maxLine is how long a line of the raw protocol may be.
const maxLine = 1 << 10

const (
	// keepWord after the id asks the server to keep the connection.
	keepWord = "keep"
	// lastWord after the pod tells that the server closes it all the same.
	lastWord = "last"
)

// raw makes an exchange of [Echo]'s protocol. It ends with ctx, provided that the
// dialer does.
func (o Options) raw(ctx context.Context, a arrival) answer {
	conn, err := o.Dial(ctx, schemeTCP, a.target.url.Host)
	if err != nil {
		return answer{class: classify(ctx, err), err: err}
	}
	defer conn.Close()
	result, _ := rawOn(ctx, conn, a)
	return result
}

// rawOn makes the exchange on a connection, and tells whether another may follow.
func rawOn(ctx context.Context, conn net.Conn, a arrival) (result answer, more bool) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer func() { result.from = conn.LocalAddr().String() }()
	question := a.id
	if a.kind == Flow {
		question += " " + keepWord
	}
	if _, err := io.WriteString(conn, question+"\n"); err != nil {
		return answer{class: classify(ctx, err), err: err}, false
	}
	line, err := readLine(conn)
	if err != nil {
		return answer{class: classify(ctx, err), err: err}, false
	}
	words := strings.Split(line, " ")
	if len(words) < 2 || len(words) > 3 || len(words) == 3 && words[2] != lastWord {
		return lost(Garbled, "", "the answer is %q", line), false
	}
	result = witness{Pod: words[1], Request: words[0]}.judge(a.id)
	return result, a.kind == Flow && len(words) == 2 && result.class == "" && stop()
}

// flows are the kept connections of requests of the kind [Flow].
type flows struct {
	options Options

	mu   sync.Mutex
	free map[string][]keptFlow // by address, the longest unused first
}

type keptFlow struct {
	net.Conn
	since time.Time
}

func newFlows(o Options) *flows { return &flows{options: o, free: map[string][]keptFlow{}} }

// exchange makes an exchange on the connection that has been unused for longest, so that
// each is used again soon, or on a new one.
func (f *flows) exchange(ctx context.Context, a arrival) answer {
	address := a.target.url.Host
	conn, reused := f.take(address)
	if !reused {
		var err error
		if conn, err = f.options.Dial(ctx, schemeTCP, address); err != nil {
			return answer{class: classify(ctx, err), err: err}
		}
	}
	result, more := rawOn(ctx, conn, a)
	result.reused = reused
	if !more {
		conn.Close()
		return result
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free[address] = append(f.free[address], keptFlow{conn, time.Now()})
	return result
}

// take a free connection, if there is one that was used not long ago.
func (f *flows) take(address string) (net.Conn, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.free[address]) > 0 {
		first := f.free[address][0]
		f.free[address] = f.free[address][1:]
		if time.Since(first.since) < f.options.Idle {
			return first.Conn, true
		}
		first.Close()
	}
	return nil, false
}

func (f *flows) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conns := range f.free {
		for _, c := range conns {
			c.Close()
		}
	}
	clear(f.free)
}

var errLongLine = errors.New("a line that does not end")

func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxLine)).ReadString('\n')
	if err == io.EOF && len(line) == maxLine {
		err = errLongLine
	}
	return strings.TrimSuffix(line, "\n"), err
}

const (
	// patience of [Echo] with connections that do not say anything.
	patience = 10 * time.Second
	// farewell is for how long it waits, once it is to end, for the next request on a
	// kept connection, to answer that as the last.
	farewell = 3 * time.Second
)

// Echo is the server of the protocol of [Raw] and [Flow] requests. The client connects
// and sends its id and a newline; the server sends the id, a space, the name of its
// pod and a newline, and closes the connection. If the word keep comes after the id,
// it keeps the connection for further requests, until it adds the word last to an
// answer.
type Echo struct {
	// Pod is the name to answer with.
	Pod string
	// Latency is how long it takes for each answer.
	Latency time.Duration
	// Collector hears of each request; may be nil.
	Collector *Collector
}

// Serve answers on a listener until it is closed, finishes what it has accepted,
// and returns why the listener ended. It never returns nil.
func (e *Echo) Serve(l net.Listener) error {
	ending, end := context.WithCancel(context.Background())
	var open sync.WaitGroup
	defer open.Wait()
	defer end()
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		open.Go(func() { e.serve(ending, conn) })
	}
}

func (e *Echo) serve(ending context.Context, conn net.Conn) {
	defer conn.Close()
	hurry := func() { conn.SetReadDeadline(time.Now().Add(farewell)) }
	defer context.AfterFunc(ending, hurry)()
	// A client sends its next request after the answer: nothing of it is read ahead.
	for more := true; more; more = e.answer(ending, conn) {
		conn.SetReadDeadline(time.Now().Add(patience))
		if ending.Err() != nil {
			hurry() // which may have been before
		}
	}
}

// answer one request, and tell whether another may follow.
func (e *Echo) answer(ending context.Context, conn net.Conn) (more bool) {
	line, err := readLine(conn)
	if err != nil {
		return false
	}
	id, word, _ := strings.Cut(line, " ")
	if e.Collector != nil {
		e.Collector.Reached(id, e.Pod)
	}
	time.Sleep(e.Latency)
	more = word == keepWord
	said := id + " " + e.Pod
	if more && ending.Err() != nil {
		more = false
		said += " " + lastWord
	}
	conn.SetWriteDeadline(time.Now().Add(patience))
	_, err = io.WriteString(conn, said+"\n")
	return more && err == nil
}
